"""Plain functions on one client of this process, for programs that sign on once."""

from __future__ import annotations

import threading
from typing import Any, Dict, Iterator, List, Mapping, Optional, Union

from ._client import Client, Lease
from ._types import (
    Accepted,
    Acknowledged,
    AddedTask,
    Arrived,
    Attempt,
    CancelledTask,
    Claimed,
    Conflict,
    Event,
    FailedTask,
    FinishedTask,
    Holding,
    Instruction,
    InstructionAdded,
    InstructionRuled,
    Message,
    Metrics,
    OfferView,
    Progress,
    Sent,
    ShownTask,
    Status,
    Task,
    TaskGraph,
    TaskView,
    Unclaimed,
    Updated,
)

#: The session that this program signed on: ``session_id`` is its name, ``id`` the store's id for it, ``ns``
#: a short name unique in the store. Empty while it is nobody. It is changed in place.
current_session: Dict[str, Any] = {}

_lock = threading.Lock()
_client: Optional[Client] = None


def default_client() -> Client:
    """The client of these functions."""
    global _client
    with _lock:
        if _client is None:
            _client = Client()
        return _client


def sign_on(session_id: Optional[str] = None, **options: Any) -> Dict[str, Any]:
    """Signs a session on, by this name; see :meth:`Client.sign_on`. Answers ``current_session``."""
    signed = default_client().sign_on(session_id, **options)
    current_session.clear()
    current_session.update(
        session_id=signed["name"], id=signed["session"], ns=signed["ns"]
    )
    return current_session


def sign_off(outcome: Optional[str] = None, note: Optional[str] = None) -> None:
    """Ends the session; all that it holds is free at once."""
    default_client().sign_off(outcome, note)
    current_session.clear()


def store_data(scope: str, key: str, value: Any) -> None:
    """Stores a value; the last writer wins."""
    default_client().store_data(scope, key, value)


def retrieve_data(scope: str, key: str) -> Any:
    """The value of a key; ``None`` if there is none."""
    return default_client().retrieve_data(scope, key)


def delete_data(scope: str, key: str) -> bool:
    """Deletes a key; answers whether it was there."""
    return default_client().delete_data(scope, key)


def list_scopes(pattern: str = "*") -> List[str]:
    """All scopes that match, where ``*`` is any run of characters, in order."""
    return default_client().list_scopes(pattern)


def delete_scope(scope: str) -> int:
    """Deletes all keys of exactly this scope; answers how many there were."""
    return default_client().delete_scope(scope)


def update_data(scope: str, key: str, op: str, value: Any, **options: Any) -> Updated:
    """Changes a value in one step: ``add``, ``append``, ``merge`` or ``cas``; see :meth:`Client.update_data`."""
    return default_client().update_data(scope, key, op, value, **options)


def claim(*items: str, **options: Any) -> Claimed:
    """Claims items such as ``issue:15``, all or none; see :meth:`Client.claim`."""
    return default_client().claim(*items, **options)


def unclaim(*items: str, **options: Any) -> Unclaimed:
    """Gives claims back."""
    return default_client().unclaim(*items, **options)


def who(item: Optional[str] = None, **options: Any) -> List[Holding]:
    """Who has claimed an item, or what a pattern with ``*`` matches, or anything at all."""
    return default_client().who(item, **options)


def lease(resource: str, **options: Any) -> Lease:
    """A lease, to be held by ``with``; see :meth:`Client.lease`."""
    return default_client().lease(resource, **options)


def add_tasks(*tasks: Any, **options: Any) -> List[AddedTask]:
    """Adds tasks to queues, all or none; see :meth:`Client.add_tasks`."""
    return default_client().add_tasks(*tasks, **options)


def next_task(*queues: str, **options: Any) -> Optional[Task]:
    """Takes the next task that is ready; ``None`` if there is none; see :meth:`Client.next_task`."""
    return default_client().next_task(*queues, **options)


def extend_task(task: Attempt, visibility: Optional[float] = None) -> float:
    """Gives the attempt at a task more time."""
    return default_client().extend_task(task, visibility)


def finish_task(task: Attempt, result: Any = None, **options: Any) -> FinishedTask:
    """Finishes a task; what waited for it can begin."""
    return default_client().finish_task(task, result, **options)


def fail_task(task: Attempt, reason: str, **options: Any) -> FailedTask:
    """Says that the attempt at a task failed; see :meth:`Client.fail_task`."""
    return default_client().fail_task(task, reason, **options)


def release_task(task: Attempt) -> None:
    """Gives a task back; the attempt is not counted."""
    default_client().release_task(task)


def cancel_task(task: Union[int, Task], reason: Optional[str] = None) -> CancelledTask:
    """Calls a task off."""
    return default_client().cancel_task(task, reason)


def requeue_task(task: Union[int, Task]) -> str:
    """Queues a task again that failed for good or was called off."""
    return default_client().requeue_task(task)


def show_task(task: Union[int, Task]) -> ShownTask:
    """A task as others see it, what it waits for, and which others need it."""
    return default_client().show_task(task)


def list_tasks(queue: Optional[str] = None, **options: Any) -> List[TaskView]:
    """The tasks, oldest first; see :meth:`Client.list_tasks`."""
    return default_client().list_tasks(queue, **options)


def task_graph(task: Union[int, Task, None] = None, **options: Any) -> TaskGraph:
    """Which tasks need which; see :meth:`Client.task_graph`."""
    return default_client().task_graph(task, **options)


def report_progress(
    subject: str, phase: str, percent: int, message: Optional[str] = None
) -> Optional[Progress]:
    """Says how far something such as ``issue:15`` is; answers what was reported before."""
    return default_client().report_progress(subject, phase, percent, message)


def progress(pattern: Optional[str] = None) -> List[Progress]:
    """How far things are."""
    return default_client().progress(pattern)


def offer(*items: str, **options: Any) -> int:
    """Offers what the session holds, with what the next one should know; see :meth:`Client.offer`."""
    return default_client().offer(*items, **options)


def handoff(*items: str, **options: Any) -> int:
    """Hands over what the session holds, with what the next one should know; see :meth:`Client.handoff`."""
    return default_client().handoff(*items, **options)


def accept(offer: int) -> Accepted:
    """Takes over what an offer holds."""
    return default_client().accept(offer)


def decline(offer: int, reason: Optional[str] = None) -> None:
    """Refuses an offer that was made to this session alone."""
    default_client().decline(offer, reason)


def withdraw(offer: int) -> None:
    """Takes an offer back."""
    default_client().withdraw(offer)


def offers(**options: Any) -> List[OfferView]:
    """The open offers, newest first; see :meth:`Client.offers`."""
    return default_client().offers(**options)


def draft(payload: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
    """Notes where this session's work stands; see :meth:`Client.draft`."""
    return default_client().draft(payload)


def send(to: str, text: str, **options: Any) -> Sent:
    """Sends a text to a session, to ``label:WORD`` or to ``everybody``."""
    return default_client().send(to, text, **options)


def inbox(**options: Any) -> List[Message]:
    """The messages to this session, each handed out once; see :meth:`Client.inbox`."""
    return default_client().inbox(**options)


def ack(*messages: Union[int, Message]) -> Acknowledged:
    """Tells the senders of messages that they were acted on."""
    return default_client().ack(*messages)


def list_messages(session: str, **options: Any) -> List[Message]:
    """The messages to a session; looking reads none; see :meth:`Client.list_messages`."""
    return default_client().list_messages(session, **options)


def barrier(name: str, parties: int, **options: Any) -> Arrived:
    """Arrives at a point that sessions pass together; see :meth:`Client.barrier`."""
    return default_client().barrier(name, parties, **options)


def add_instruction(text: str, **options: Any) -> InstructionAdded:
    """Adds an instruction for all sessions; see :meth:`Client.add_instruction`."""
    return default_client().add_instruction(text, **options)


def instructions(path: Optional[str] = None, **options: Any) -> List[Instruction]:
    """The instructions in force; see :meth:`Client.instructions`."""
    return default_client().instructions(path, **options)


def approve_instruction(instruction: Union[int, str]) -> InstructionRuled:
    """Puts an instruction in force that no person wrote; people only."""
    return default_client().approve_instruction(instruction)


def revoke_instruction(
    instruction: Union[int, str], reason: Optional[str] = None
) -> InstructionRuled:
    """Takes an instruction out of force for good; people only."""
    return default_client().revoke_instruction(instruction, reason)


def instruction_conflicts() -> List[Conflict]:
    """The instructions that contradict each other."""
    return default_client().instruction_conflicts()


def report_metrics(source: str, **options: Any) -> List[str]:
    """Reports what this session has used; see :meth:`Client.report_metrics`."""
    return default_client().report_metrics(source, **options)


def metrics(session: Optional[str] = None, **options: Any) -> Metrics:
    """What each session has used; see :meth:`Client.metrics`."""
    return default_client().metrics(session, **options)


def log_event(event_type: str, message: str, metadata: Any = None) -> int:
    """Writes a line to the shared, append-only log; answers its number."""
    return default_client().log_event(event_type, message, metadata)


def events(after: Optional[str] = None, **options: Any) -> Iterator[Event]:
    """The events there are; see :meth:`Client.events`."""
    return default_client().events(after, **options)


def watch(after: str = "head", **options: Any) -> Iterator[Event]:
    """Events as they happen; see :meth:`Client.watch`."""
    return default_client().watch(after, **options)


def status() -> Status:
    """Who is here, on what, holding what."""
    return default_client().status()


def call(op: str, **args: Any) -> Any:
    """Carries out any operation by its name and arguments; see :meth:`Client.call`."""
    return default_client().call(op, **args)
