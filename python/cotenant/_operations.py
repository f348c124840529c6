"""What each function asks of a store, without asking.

An operation is a generator: it yields requests, is given their answers or has their errors raised, and
returns its result. One driver runs it in a thread, another one in an event loop.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from typing import Any, Dict, Generator, Iterable, List, Mapping, Optional, Sequence, TypeVar

from ._errors import (
    BusyError,
    CursorError,
    InvalidError,
    NotFoundError,
    SessionError,
    TakenError,
)
from ._types import (
    Claimed,
    Entry,
    Event,
    Guards,
    Holding,
    Signed,
    Status,
    Unclaimed,
    Updated,
    Written,
)

T = TypeVar("T")

#: The largest page of a list.
PAGE_MAX = 1000
#: How long one request waits at most for events, in seconds.
WAIT_MAX = 30.0
#: How long somebody who waits for a claim sleeps at most, in seconds.
SLEEP_MAX = 10.0
#: The scope of the events that sessions write, and the longest kind of such an event.
EVENTS = "events"
KIND_CHARACTERS_MAX = 64


@dataclass(frozen=True)
class Request:
    """One operation of the table, as ``cotenant rpc --schema`` lists them."""

    op: str
    args: Mapping[str, Any] = field(default_factory=dict)
    guards: Guards = ()
    #: Makes a repeat harmless; drawn when absent.
    request_id: Optional[str] = None
    #: Whether it runs in the session's name, if there is one.
    acts: bool = True
    #: The session that it runs for, if not the client's.
    session: Optional[str] = None


Steps = Generator[Request, Any, T]


def guard_fields(guards: Guards) -> List[Dict[str, Any]]:
    """Guards as a request has them."""
    fields = []
    for guard in guards:
        if isinstance(guard, tuple):
            resource, fence = guard
        else:
            resource, fence = guard.resource, guard.fence
        fields.append({"resource": resource, "fence": fence})
    return fields


def _given(**fields: Any) -> Dict[str, Any]:
    """The fields that say something."""
    return {name: value for name, value in fields.items() if value is not None}


def milliseconds(seconds: Optional[float]) -> Optional[int]:
    """A duration as requests have it."""
    return None if seconds is None else round(seconds * 1000)


def call(op: str, args: Mapping[str, Any], guards: Guards, request_id: Optional[str]) -> Steps[Any]:
    return (yield Request(op, args, guards, request_id))


def sign_on(
    name: Optional[str],
    *,
    kind: Optional[str],
    purpose: Optional[str],
    labels: Sequence[str],
    ttl: Optional[float],
    parent: Optional[str],
    relation: Optional[str],
    native_id: Optional[str],
    pid: Optional[int],
) -> Steps[Signed]:
    process = {"library": os.getpid()} if pid is None else {"pid": pid}
    args = _given(
        name=name,
        kind=kind,
        purpose=purpose,
        labels=list(labels) or None,
        ttl_ms=milliseconds(ttl),
        parent=parent,
        relation=relation,
        native_id=native_id,
    )
    signed: Signed = yield Request("session.sign_on", {**args, **process}, acts=False)
    return signed


def sign_off(outcome: Optional[str], note: Optional[str]) -> Steps[Dict[str, Any]]:
    ended: Dict[str, Any] = yield Request("session.sign_off", _given(outcome=outcome, note=note))
    return ended


def heartbeat() -> Steps[float]:
    beat = yield Request("session.heartbeat")
    return float(beat["expires_in_ms"]) / 1000


def get(scope: str, key: str) -> Steps[Optional[Entry]]:
    try:
        return Entry.of((yield Request("data.get", {"scope": scope, "key": key})))
    except NotFoundError:
        return None


def retrieve(scope: str, key: str) -> Steps[Any]:
    entry = yield from get(scope, key)
    return None if entry is None else entry.value


def put(
    scope: str,
    key: str,
    value: Any,
    *,
    expect: Optional[int],
    ephemeral: bool,
    ttl: Optional[float],
    guards: Guards,
) -> Steps[Written]:
    lifetime = _given(expect=expect, ephemeral=ephemeral or None, ttl_ms=milliseconds(ttl))
    args = {"scope": scope, "key": key, "value": value, **lifetime}
    written: Written = yield Request("data.put", args, guards)
    return written


def update(
    scope: str,
    key: str,
    op: str,
    value: Any,
    *,
    expect: Optional[int],
    keep: Optional[int],
    guards: Guards,
) -> Steps[Updated]:
    if op == "cas":
        if expect is None:
            raise InvalidError("INVALID", "`cas` needs `expect`", hint="the rev of `get`, or 0")
        written = yield from put(
            scope, key, value, expect=expect, ephemeral=False, ttl=None, guards=guards
        )
        return {"rev": written["rev"], "ver": written["ver"]}
    if expect is not None:
        raise InvalidError("INVALID", "`expect` goes with `cas` only")
    args = {"scope": scope, "key": key, "change": {op: value}, **_given(keep=keep)}
    updated: Updated = yield Request("data.update", args, guards)
    return updated


def delete(scope: str, key: str, *, expect: Optional[int], guards: Guards) -> Steps[bool]:
    args = {"scope": scope, "key": key, **_given(expect=expect)}
    deleted = yield Request("data.delete", args, guards)
    return bool(deleted["existed"])


def delete_scope(scope: str, *, recursive: bool, guards: Guards) -> Steps[int]:
    deleted = yield Request("scope.delete", {"scope": scope, "recursive": recursive}, guards)
    return int(deleted["deleted"])


def list_scopes(pattern: str) -> Steps[List[str]]:
    scopes: List[str] = []
    after: Optional[str] = None
    while True:
        args = {"pattern": pattern, "limit": PAGE_MAX, **_given(after=after)}
        page = yield Request("scope.list", args)
        scopes.extend(page["scopes"])
        after = page.get("next")
        if after is None:
            return scopes


def claim(
    items: Iterable[str],
    *,
    mode: str,
    intent: Optional[str],
    ttl: Optional[float],
    wait: Optional[float],
    guards: Guards,
) -> Steps[Claimed]:
    args = {"items": list(items), "mode": mode, **_given(intent=intent, ttl_ms=milliseconds(ttl))}
    if not wait:
        claimed: Claimed = yield Request("claim", args, guards)
        return claimed
    end = time.monotonic() + wait
    # Taken before the first try, so that what is given back meanwhile is not missed.
    cursor: str = (yield Request("event.head"))["cursor"]
    while True:
        try:
            claimed = yield Request("claim", args, guards)
            return claimed
        except TakenError as error:
            left = end - time.monotonic()
            if left <= 0:
                raise BusyError(
                    "TIMEOUT",
                    f"waited in vain: {error.message}",
                    hint=error.hint,
                    details=error.details,
                    retryable=True,
                ) from error
            sleep = min(max(error.retry_after or SLEEP_MAX, 0.01), SLEEP_MAX, left)
        page = {"after": cursor, "limit": PAGE_MAX, "wait_ms": milliseconds(sleep)}
        try:
            cursor = (yield Request("event.read", page))["cursor"]
        except CursorError:
            cursor = (yield Request("event.head"))["cursor"]


def unclaim(items: Iterable[str], *, all: bool) -> Steps[Unclaimed]:
    given: Unclaimed = yield Request("unclaim", {"items": list(items), "all": all})
    return given


def who(item: Optional[str], *, session: Optional[str]) -> Steps[List[Holding]]:
    pattern = item if item is not None and "*" in item else None
    one = None if pattern is not None else item
    found = yield Request("who", _given(item=one, pattern=pattern, session=session))
    holdings: List[Holding] = found["holdings"]
    return holdings


def acquire(
    resource: str,
    *,
    ttl: float,
    wait: Optional[float],
    slots: Optional[int],
    lock_delay: Optional[float],
    note: Optional[str],
) -> Request:
    args = _given(
        resource=resource,
        ttl_ms=milliseconds(ttl),
        wait_ms=milliseconds(wait),
        slots=slots,
        lock_delay_ms=milliseconds(lock_delay),
        note=note,
    )
    return Request("lease.acquire", args)


def renew(resource: str, fence: int, ttl: float, session: Optional[str]) -> Request:
    args = {"resource": resource, "fence": fence, "ttl_ms": milliseconds(ttl)}
    return Request("lease.renew", args, session=session)


def release(resource: str, fence: int, session: Optional[str]) -> Steps[None]:
    args = {"resource": resource, "fence": fence}
    try:
        yield Request("lease.release", args, session=session)
    except SessionError as error:
        # It was given back when the session signed off.
        if error.code != "SESSION_ENDED":
            raise


def log_event(event_type: str, message: str, metadata: Any, guards: Guards) -> Steps[int]:
    kind = re.sub(r"[^A-Za-z0-9.-]", "_", event_type.strip()[:KIND_CHARACTERS_MAX])
    if not re.search("[A-Za-z0-9]", kind):
        raise InvalidError("INVALID", "`event_type` needs a letter or a digit")
    payload = {"type": event_type, "message": message, **_given(metadata=metadata)}
    args = {"kind": f"user.{kind}", "scope": EVENTS, "payload": payload}
    appended = yield Request("event.append", args, guards)
    return int(appended["seq"])


@dataclass(frozen=True)
class Page:
    """Events that follow one another, and whether there are more at once."""

    events: List[Event]
    cursor: str
    more: bool


@dataclass(frozen=True)
class Filter:
    """Which events are wanted."""

    kind: Optional[str] = None
    scope: Optional[str] = None
    session: Optional[str] = None


def read(
    wanted: Filter,
    *,
    after: Optional[str],
    last: Optional[int] = None,
    wait: Optional[float] = None,
) -> Steps[Page]:
    args = _given(
        after=after,
        last=last,
        kind=wanted.kind,
        scope=wanted.scope,
        session=wanted.session,
        limit=PAGE_MAX,
        wait_ms=milliseconds(wait),
    )
    page = yield Request("event.read", args)
    history = page["cursor"].split(".")[0]
    events = [Event.of(event, history) for event in page["events"]]
    return Page(events, page["cursor"], page["more"])


def status() -> Steps[Status]:
    shown: Status = yield Request("status")
    return shown
