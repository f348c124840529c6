"""What each function asks of a store, without asking.

An operation is a generator: it yields requests, is given their answers or has their errors raised, and
returns its result. One driver runs it in a thread, another one in an event loop.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from typing import (
    Any,
    Callable,
    Dict,
    Generator,
    Iterable,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
    Union,
)

from ._errors import (
    BusyError,
    CursorError,
    InvalidError,
    NotFoundError,
    SessionError,
    TakenError,
)
from ._types import (
    Accepted,
    Acknowledged,
    AddedTask,
    Arrived,
    Attempt,
    CancelledTask,
    Claimed,
    Conflict,
    Entry,
    Event,
    FailedTask,
    FinishedTask,
    Guards,
    Holding,
    Instruction,
    InstructionAdded,
    InstructionRuled,
    Message,
    Metrics,
    NewTask,
    OfferView,
    Progress,
    Sent,
    ShownTask,
    Signed,
    Status,
    Task,
    TaskGraph,
    TaskView,
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
    #: What is to be done with an answer that comes when nobody waits for it any more, such as after an
    #: interrupt from the keyboard: the request that gives back what was granted, if there is one.
    undo: "Optional[Callable[[Any], Optional[Request]]]" = None


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
    session: Optional[str],
) -> Request:
    def give_back(answer: Any) -> Request:
        args = {"resource": resource, "fence": answer["fence"]}
        return Request("lease.release", args, session=session)

    args = _given(
        resource=resource,
        ttl_ms=milliseconds(ttl),
        wait_ms=milliseconds(wait),
        slots=slots,
        lock_delay_ms=milliseconds(lock_delay),
        note=note,
    )
    return Request("lease.acquire", args, session=session, undo=give_back)


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


def _new_task(task: Any) -> Dict[str, Any]:
    if not isinstance(task, NewTask):
        return {"payload": task}
    fields = _given(
        queue=task.queue,
        priority=task.priority,
        needs=list(task.needs),
        needs_new=list(task.needs_new),
        on_dep_fail=task.on_dep_fail,
        max_attempts=task.max_attempts,
        visibility_ms=milliseconds(task.visibility),
        delay_ms=milliseconds(task.delay),
        not_before=task.not_before,
        dedupe_key=task.dedupe_key,
    )
    return {"payload": task.payload, **fields}


def _attempt(task: Attempt) -> Dict[str, int]:
    if isinstance(task, tuple):
        return {"task": task[0], "fence": task[1]}
    return {"task": task.task, "fence": task.fence}


def add_tasks(tasks: Iterable[Any], guards: Guards) -> Steps[List[AddedTask]]:
    answer = yield Request("task.add", {"tasks": [_new_task(task) for task in tasks]}, guards)
    added: List[AddedTask] = answer["tasks"]
    return added


def next_task(
    queues: Sequence[str],
    *,
    visibility: Optional[float],
    wait: Optional[float],
    session: Optional[str],
) -> Steps[Optional[Task]]:
    def untake(answer: Any) -> Optional[Request]:
        taken = answer.get("task")
        if taken is None:
            return None
        return Request("task.release", _attempt(Task.of(taken)), session=session)

    args = _given(
        queues=list(queues), visibility_ms=milliseconds(visibility), wait_ms=milliseconds(wait)
    )
    taken = (yield Request("task.next", args, session=session, undo=untake)).get("task")
    return None if taken is None else Task.of(taken)


def extend_task(task: Attempt, visibility: Optional[float]) -> Steps[float]:
    args = {**_attempt(task), **_given(visibility_ms=milliseconds(visibility))}
    extended = yield Request("task.extend", args)
    return float(extended["visible_for_ms"]) / 1000


def finish_task(task: Attempt, result: Any, guards: Guards) -> Steps[FinishedTask]:
    args = {**_attempt(task), **_given(result=result)}
    finished: FinishedTask = yield Request("task.done", args, guards)
    return finished


def fail_task(task: Attempt, reason: str, permanent: bool) -> Steps[FailedTask]:
    kind = "permanent" if permanent else "transient"
    args = {**_attempt(task), "reason": reason, "class": kind}
    failed: FailedTask = yield Request("task.fail", args)
    return failed


def release_task(task: Attempt) -> Steps[None]:
    yield Request("task.release", _attempt(task))


def _number(task: Union[int, Task]) -> int:
    return task.task if isinstance(task, Task) else task


def cancel_task(task: Union[int, Task], reason: Optional[str]) -> Steps[CancelledTask]:
    args = {"task": _number(task), **_given(reason=reason)}
    cancelled: CancelledTask = yield Request("task.cancel", args)
    return cancelled


def requeue_task(task: Union[int, Task]) -> Steps[str]:
    state: str = (yield Request("task.requeue", {"task": _number(task)}))["state"]
    return state


def show_task(task: Union[int, Task]) -> Steps[ShownTask]:
    shown: ShownTask = yield Request("task.show", {"task": _number(task)})
    return shown


def list_tasks(
    queue: Optional[str], *, states: Sequence[str], session: Optional[str]
) -> Steps[List[TaskView]]:
    found: List[TaskView] = yield from _pages(
        "task.list", "tasks", queue=queue, states=list(states), session=session
    )
    return found


def task_graph(
    task: Union[int, Task, None], *, queue: Optional[str], all: bool, limit: Optional[int]
) -> Steps[TaskGraph]:
    number = None if task is None else _number(task)
    args = {"all": all, **_given(task=number, queue=queue, limit=limit)}
    graph: TaskGraph = yield Request("task.graph", args)
    return graph


def report_progress(
    subject: str, phase: str, percent: int, message: Optional[str], guards: Guards
) -> Steps[Optional[Progress]]:
    args = {"subject": subject, "phase": phase, "percent": percent, **_given(message=message)}
    before: Optional[Progress] = (yield Request("progress.set", args, guards)).get("before")
    return before


def progress(pattern: Optional[str]) -> Steps[List[Progress]]:
    found: List[Progress] = yield from _pages("progress.show", "progress", pattern=pattern)
    return found


def _pages(op: str, field: str, **args: Any) -> Steps[List[Any]]:
    """All pages of a list."""
    found: List[Any] = []
    after: Any = None
    while True:
        page = yield Request(op, _given(**args, limit=PAGE_MAX, after=after))
        found.extend(page[field])
        after = page.get("next")
        if after is None:
            return found


def _addressee(to: str) -> Any:
    """A session's name or id, ``label:WORD`` or ``everybody``, as a request has it."""
    if to == "everybody":
        return to
    if to.startswith("label:"):
        return {"label": to[len("label:") :]}
    return {"session": to}


def offer(
    items: Iterable[str],
    *,
    to: str,
    payload: Optional[Mapping[str, Any]],
    ttl: Optional[float],
    guards: Guards,
) -> Steps[int]:
    args = _given(payload=payload, ttl_ms=milliseconds(ttl))
    args = {"to": _addressee(to), "items": list(items), **args}
    offered = yield Request("handoff.offer", args, guards)
    return int(offered["offer"])


def accept(number: int) -> Steps[Accepted]:
    accepted: Accepted = yield Request("handoff.accept", {"offer": number})
    accepted["tasks"] = [Task.of(item["task"]) for item in accepted["items"] if "task" in item]
    return accepted


def decline(number: int, reason: Optional[str]) -> Steps[None]:
    yield Request("handoff.decline", {"offer": number, **_given(reason=reason)})


def withdraw(number: int) -> Steps[None]:
    yield Request("handoff.withdraw", {"offer": number})


def offers(
    *, all: bool, giver: Optional[str], acceptor: Optional[str]
) -> Steps[List[OfferView]]:
    wanted = {"all": all, "from": giver, "acceptor": acceptor}
    found: List[OfferView] = yield from _pages("handoff.list", "offers", **wanted)
    return found


def draft(payload: Optional[Mapping[str, Any]]) -> Steps[Dict[str, Any]]:
    noted: Dict[str, Any] = (yield Request("handoff.draft", _given(payload=payload)))["payload"]
    return noted


def send(to: str, text: str, ttl: Optional[float]) -> Steps[Sent]:
    args = {"to": _addressee(to), "text": text, **_given(ttl_ms=milliseconds(ttl))}
    sent: Sent = yield Request("message.send", args)
    return sent


def inbox(
    *, wait: Optional[float], limit: int, session: Optional[str], unheard: List[Tuple[Any, Message]]
) -> Steps[List[Message]]:
    """``unheard`` keeps what was handed out to somebody who did not wait for it, with whose it is."""
    kept: List[Message] = []
    for one in list(unheard):
        if one[0] == session and len(kept) < limit:
            try:
                unheard.remove(one)
            except ValueError:
                # Another thread was faster.
                continue
            kept.append(one[1])
    if kept:
        return kept

    def keep(answer: Any) -> None:
        unheard.extend((session, message) for message in answer["messages"])

    args = {"limit": limit, **_given(wait_ms=milliseconds(wait))}
    read = yield Request("message.inbox", args, session=session, undo=keep)
    messages: List[Message] = read["messages"]
    return messages


def ack(messages: Iterable[Union[int, Message]]) -> Steps[Acknowledged]:
    numbers = [one if isinstance(one, int) else one["message"] for one in messages]
    acknowledged: Acknowledged = yield Request("message.ack", {"messages": numbers})
    return acknowledged


def list_messages(session: str, *, all: bool) -> Steps[List[Message]]:
    found: List[Message] = yield from _pages("message.list", "messages", session=session, all=all)
    return found


def barrier(
    name: str, parties: int, *, timeout: Optional[float], wait: Optional[float]
) -> Steps[Arrived]:
    limits = _given(timeout_ms=milliseconds(timeout), wait_ms=milliseconds(wait))
    arrived: Arrived = yield Request("barrier.arrive", {"name": name, "parties": parties, **limits})
    return arrived


def add_instruction(
    text: str,
    *,
    scope: str,
    key: Optional[str],
    source: Optional[str],
    supersedes: Union[int, str, None],
    contest: bool,
    alias: Optional[str],
    trust: Optional[str],
) -> Steps[InstructionAdded]:
    args = _given(
        text=text,
        scope=scope,
        key=key,
        source=source,
        supersedes=None if supersedes is None else str(supersedes),
        contest=contest,
        alias=alias,
        trust=trust,
    )
    added: InstructionAdded = yield Request("instruction.add", args)
    return added


def instructions(path: Optional[str], *, history: bool) -> Steps[List[Instruction]]:
    found: List[Instruction]
    if not history:
        rulings = (yield Request("instruction.effective", _given(path=path)))["rulings"]
        found = [ruling["instruction"] for ruling in rulings]
        return found
    if path is not None:
        raise InvalidError("INVALID", "the history is of all paths", hint="leave `path` away")
    found = yield from _pages("instruction.list", "entries", history=True)
    return found


def approve_instruction(instruction: Union[int, str]) -> Steps[InstructionRuled]:
    ruled: InstructionRuled = yield Request("instruction.approve", {"id": str(instruction)})
    return ruled


def revoke_instruction(
    instruction: Union[int, str], reason: Optional[str]
) -> Steps[InstructionRuled]:
    args = {"id": str(instruction), **_given(reason=reason)}
    ruled: InstructionRuled = yield Request("instruction.revoke", args)
    return ruled


def instruction_conflicts() -> Steps[List[Conflict]]:
    found: List[Conflict] = (yield Request("instruction.conflicts"))["conflicts"]
    return found


def report_metrics(
    source: str,
    *,
    counters: Mapping[str, int],
    gauges: Mapping[str, int],
    model: Optional[str],
    seq: Optional[int],
    thresholds: Mapping[str, Tuple[str, int]],
) -> Steps[List[str]]:
    if seq is None:
        # A report is newer than the one before.
        seq = time.time_ns() // 1_000_000
    marks = [
        {"name": name, "metric": metric, "at_least": least}
        for name, (metric, least) in thresholds.items()
    ]
    numbers = {"counters": dict(counters), "gauges": dict(gauges), "thresholds": marks}
    args = {"source": source, "seq": seq, **numbers, **_given(model=model)}
    crossed: List[str] = (yield Request("metrics.report", args)).get("crossed", [])
    return crossed


def metrics(session: Optional[str], *, all: bool, by: Optional[str]) -> Steps[Metrics]:
    shown: Metrics = yield Request("metrics.show", {"all": all, **_given(session=session, by=by)})
    return shown
