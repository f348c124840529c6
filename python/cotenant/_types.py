"""What goes to a store and comes from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, Optional, Protocol, Tuple, TypedDict, Union

__all__ = [
    "Claimed",
    "ClaimedItem",
    "Entry",
    "Event",
    "Guard",
    "Guards",
    "Holding",
    "Signed",
    "Status",
    "Unclaimed",
    "Updated",
    "Written",
]


class Held(Protocol):
    """Something that is held under a fence, such as a lease."""

    @property
    def resource(self) -> str: ...

    @property
    def fence(self) -> int: ...


#: What must still be held for a write to happen: a lease, or the name of a resource and its fence.
Guard = Union[Held, Tuple[str, int]]
Guards = Iterable[Guard]


@dataclass(frozen=True)
class Entry:
    """A key with its value and where that comes from."""

    scope: str
    key: str
    value: Any
    #: The event that last wrote it; 0 if nobody stored it and an operation answers for it.
    rev: int
    #: How often it was written since it was last absent.
    ver: int
    #: The name of the session that wrote it.
    writer: str
    #: How far the writer is trusted: ``human``, ``agent``, ``tool`` or ``external``.
    trust: str
    #: Wall time, in UTC.
    at: str
    #: When it expires, in seconds from then.
    expires_in: Optional[float] = None
    #: Whether it goes with the session that wrote it.
    ephemeral: bool = False
    #: Whether nobody stored it.
    projected: bool = False

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Entry":
        expires_in_ms = data.get("expires_in_ms")
        return cls(
            scope=data["scope"],
            key=data["key"],
            value=data["value"],
            rev=data["rev"],
            ver=data["ver"],
            writer=data["writer"],
            trust=data["trust"],
            at=data["at"],
            expires_in=None if expires_in_ms is None else expires_in_ms / 1000,
            ephemeral=data.get("ephemeral", False),
            projected=data.get("projected", False),
        )


@dataclass(frozen=True)
class Event:
    """A line of the log."""

    seq: int
    #: Wall time, in UTC.
    at: str
    #: What happened, e.g. ``claim.granted`` or ``user.note``.
    kind: str
    #: What it is about.
    scope: str
    #: The id of the session that did it; empty for the store itself.
    session: str
    #: That session's name.
    name: str
    #: The account of the person it worked for.
    user: str
    #: How far the writer is trusted.
    trust: str
    #: The facts; ``None`` also when they were erased.
    payload: Any
    #: Goes on behind this event when given to ``events`` or ``watch``.
    cursor: str
    #: The hash of the chain up to here, in hex.
    hash: str = field(repr=False)

    @classmethod
    def of(cls, data: Mapping[str, Any], history: str) -> "Event":
        return cls(
            seq=data["seq"],
            at=data["at"],
            kind=data["kind"],
            scope=data["scope"],
            session=data["session"],
            name=data["name"],
            user=data["user"],
            trust=data["trust"],
            payload=data.get("payload"),
            cursor=f"{history}.{data['seq']}.{data['hash'][:8]}",
            hash=data["hash"],
        )


class Signed(TypedDict, total=False):
    """A session that was signed on."""

    session: str
    name: str
    ns: str
    existing: bool
    parent: str
    relation: str
    forked_from: str
    inherited: List[Dict[str, Any]]
    expires_in_ms: int


class Written(TypedDict, total=False):
    """What became of a write."""

    rev: int
    ver: int
    overwrote: int


class Updated(TypedDict, total=False):
    """What became of an update: the new number after an addition, the new length after an append."""

    rev: int
    ver: int
    value: int
    length: int


class Holding(TypedDict, total=False):
    """Who holds or waits for something, since when and until when."""

    resource: str
    tree: str
    state: str
    mode: str
    session: str
    name: str
    kind: str
    user: str
    fence: int
    since: str
    held_for_ms: int
    expires_in_ms: int
    heartbeat_age_ms: int
    automatic: bool
    note: str
    purpose: str
    host: str
    pid: int


class ClaimedItem(TypedDict):
    """An item that is claimed now; ``resource`` and ``fence`` make a guard."""

    item: str
    resource: str
    fence: int
    already_held: bool


class Claimed(TypedDict, total=False):
    """What was claimed, who else is at work nearby, and what others keep by hand."""

    items: List[ClaimedItem]
    overlaps: List[Holding]
    warnings: List[str]


class Unclaimed(TypedDict):
    """What was given back, and what was not held."""

    released: List[str]
    not_held: List[str]


class Status(TypedDict, total=False):
    """Who is here, on what, holding what."""

    sessions: List[Dict[str, Any]]
    sessions_live: int
    sessions_ever: int
    holdings: List[Holding]
    keys: int
    seq: int
    tick: int
    history: str
