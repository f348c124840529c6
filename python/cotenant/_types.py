"""What goes to a store and comes from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import (
    Any,
    Dict,
    Iterable,
    List,
    Mapping,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    TypedDict,
    Union,
)

__all__ = [
    "Accepted",
    "Acknowledged",
    "AddedTask",
    "Arrived",
    "Attempt",
    "CancelledTask",
    "Claimed",
    "ClaimedItem",
    "Conflict",
    "Entry",
    "Event",
    "FailedTask",
    "FinishedTask",
    "Guard",
    "Guards",
    "Holding",
    "Instruction",
    "InstructionAdded",
    "InstructionRuled",
    "Message",
    "Metrics",
    "NewTask",
    "OfferView",
    "Progress",
    "Sent",
    "ShownTask",
    "Signed",
    "Status",
    "Task",
    "TaskGraph",
    "TaskView",
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


@dataclass(frozen=True)
class NewTask:
    """A task to add, with more to say than what is to be done."""

    payload: Any
    queue: str = "default"
    #: Higher ones first, -1000 to 1000.
    priority: int = 0
    #: Ids of tasks that must be over first.
    needs: Sequence[int] = ()
    #: The same of tasks that are added together: their places, from 0.
    needs_new: Sequence[int] = ()
    #: If one of them fails for good: ``block``, ``cancel`` or ``run``.
    on_dep_fail: str = "block"
    #: How often it is tried.
    max_attempts: int = 3
    #: How many seconds an attempt may take without being extended; 15 minutes when absent.
    visibility: Optional[float] = None
    #: Not before so many seconds have passed.
    delay: Optional[float] = None
    #: Not before this calendar time, e.g. ``2026-12-01T09:30:00Z``.
    not_before: Optional[str] = None
    #: If a task of the queue with this key is not over yet, nothing is added.
    dedupe_key: Optional[str] = None


@dataclass(frozen=True)
class Task:
    """A task that was taken. It is a guard of writes, which are refused once the attempt is over."""

    #: Its id.
    task: int
    #: The number of this attempt, greater than that of every earlier one.
    fence: int
    payload: Any
    queue: str
    priority: int
    #: Which attempt this is, of how many.
    attempt: int
    max_attempts: int
    #: How many seconds it may take without being extended, from when it was taken.
    visible_for: float
    #: The session that added it, and how far that one is trusted.
    creator: str
    trust: str
    #: Why the attempt before failed.
    reason: Optional[str] = None

    @property
    def resource(self) -> str:
        """What a guard calls it."""
        return f"task:{self.task}"

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> "Task":
        return cls(
            task=data["task"],
            fence=data["fence"],
            payload=data["payload"],
            queue=data["queue"],
            priority=data["priority"],
            attempt=data["attempt"],
            max_attempts=data["max_attempts"],
            visible_for=data["visible_for_ms"] / 1000,
            creator=data["creator"],
            trust=data["trust"],
            reason=data.get("reason"),
        )


#: A task that was taken, or its id and fence.
Attempt = Union[Task, Tuple[int, int]]


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


class AddedTask(TypedDict, total=False):
    """A task that was added, or was there before under the same key."""

    task: int
    state: str
    deduplicated: bool


class FinishedTask(TypedDict, total=False):
    """What became of a task that was finished, and how many others can begin now."""

    state: str
    already: bool
    unblocked: int


class FailedTask(TypedDict, total=False):
    """What became of a task whose attempt failed."""

    state: str
    already: bool
    retry_in_ms: int


class CancelledTask(TypedDict, total=False):
    """What became of a task that was called off, and how many others were with it."""

    already: bool
    followed: int


class TaskView(TypedDict, total=False):
    """A task as others see it."""

    task: int
    queue: str
    state: str
    priority: int
    payload: Any
    attempts: int
    max_attempts: int
    rescues: int
    needs: List[int]
    on_dep_fail: str
    due_in_ms: int
    not_before: str
    fence: int
    session: str
    name: str
    result: Any
    reason: str
    dedupe_key: str
    creator: str
    trust: str
    added: str
    since: str


class ShownTask(TypedDict):
    """A task, what it waits for, and which others need it."""

    task: TaskView
    waits_for: List[int]
    needed_by: List[int]


class TaskGraph(TypedDict):
    """Tasks and which of them need which; ``more`` if there are more than were asked for."""

    nodes: List[Dict[str, Any]]
    edges: List[Dict[str, int]]
    more: bool


class Progress(TypedDict, total=False):
    """How far something is, who said so and when."""

    subject: str
    phase: str
    percent: int
    message: str
    updated_at: str
    updated_by: str
    session: str
    age_ms: int


class OfferView(TypedDict, total=False):
    """An offer to take work over."""

    offer: int
    state: str
    from_name: str
    from_is_live: bool
    trust: str
    to: Any
    payload: Dict[str, Any]
    items: List[Dict[str, Any]]
    at: str
    expires_in_ms: int
    closed_by: str


class Accepted(TypedDict, total=False):
    """What was taken over: the payload, and what is held now under new fences."""

    offer: int
    from_name: str
    trust: str
    payload: Dict[str, Any]
    items: List[Dict[str, Any]]
    #: Of the items, the tasks to go on with, as :meth:`Client.next_task` gives them.
    tasks: List[Task]
    #: What others hold or run by now, and tasks that are over, with their ``state``.
    not_moved: List[Dict[str, Any]]


class Sent(TypedDict, total=False):
    """In whose inboxes a message is, and whom it did not reach."""

    message: int
    delivered: List[str]
    undelivered: List[Dict[str, Any]]


class Message(TypedDict, total=False):
    """A message. What it says was written by another session."""

    message: int
    from_name: str
    trust: str
    to: Any
    text: str
    state: str
    at: str
    age_ms: int


class Acknowledged(TypedDict, total=False):
    """What is acknowledged now, what was before, and what is not in the inbox."""

    acknowledged: List[int]
    already: List[int]
    unknown: List[int]


class Arrived(TypedDict, total=False):
    """Whether all have arrived, and who has."""

    name: str
    generation: int
    open: bool
    parties: int
    arrived: List[str]


class Instruction(TypedDict, total=False):
    """An instruction, who gave it and where it stands."""

    id: int
    text: str
    scope: str
    key: str
    alias: str
    source: str
    trust: str
    standing: str
    session: str
    name: str
    user: str
    at: str
    supersedes: int
    superseded_by: int
    approved_by: str
    revoked_by: str
    reason: str


class InstructionAdded(TypedDict, total=False):
    """Its number, and whether it is in force or awaits a person's approval."""

    id: int
    trust: str
    in_force: bool
    already: bool


class InstructionRuled(TypedDict):
    """An instruction that was approved or revoked, and whether it had been before."""

    id: int
    already: bool


class Conflict(TypedDict):
    """Instructions that contradict each other, the one that wins first, and why it does."""

    about: Dict[str, Any]
    entries: List[Instruction]
    why: str


class Metrics(TypedDict, total=False):
    """What each session has used, and the totals that were asked for."""

    sessions: List[Dict[str, Any]]
    totals: List[Dict[str, Any]]
