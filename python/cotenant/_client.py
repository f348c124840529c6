"""The client for threads."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import TimeoutError as FutureTimeout
from types import TracebackType
from typing import (
    Any,
    Dict,
    Iterator,
    List,
    Mapping,
    Optional,
    Sequence,
    Tuple,
    Type,
    TypeVar,
    Union,
)

from . import _operations as operations
from ._core import RENEW_EVERY, Core, Term
from ._errors import Error, FencedError
from ._operations import WAIT_MAX, Filter, Request, Steps
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


class Client:
    """A store, and the session that acts in it.

    One process, ``cotenant rpc``, carries its requests out, side by side where they come from several
    threads. It may be used from any thread, and after a fork from both processes. As a context manager it
    signs off a session that it signed on, and closes.

    Durations are in seconds. Values are JSON: tuples come back as lists, and keys of objects as strings.
    """

    def __init__(
        self,
        *,
        store: Optional[str] = None,
        directory: "Optional[Union[str, os.PathLike[str]]]" = None,
        binary: Optional[str] = None,
        environment: Optional[Mapping[str, str]] = None,
    ) -> None:
        """Makes a client; nothing is started before the first request.

        ``store`` is an address as in ``COTENANT_STORE`` instead of the project's of the working
        directory, or of ``directory``. ``binary`` is the program instead of ``COTENANT_BIN`` or the one in
        the path, ``environment`` its variables instead of this process's.
        """
        self._core = Core(
            binary=binary, store=store, directory=directory, environment=environment
        )

    def _ask(self, request: Request) -> Any:
        asked = self._core.send(request)
        try:
            return asked.result()
        except BaseException:
            # Such as an interrupt from the keyboard.
            self._core.give_up(asked, request)
            raise

    def _run(self, steps: Steps[T]) -> T:
        try:
            request = next(steps)
            while True:
                try:
                    answer = self._ask(request)
                except Error as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(answer)
        except StopIteration as end:
            result: T = end.value
            return result

    # Sessions.

    @property
    def session(self) -> Optional[Signed]:
        """The session that this client signed on and acts for."""
        return self._core.session

    def sign_on(
        self,
        session_id: Optional[str] = None,
        *,
        kind: Optional[str] = None,
        purpose: Optional[str] = None,
        labels: Sequence[str] = (),
        ttl: Optional[float] = None,
        parent: Optional[str] = None,
        relation: Optional[str] = None,
        native_id: Optional[str] = None,
        pid: Optional[int] = None,
    ) -> Signed:
        """Signs a session on, by this name, and acts for it from now on.

        It lives with the agent that runs this program, else with the terminal, else with this process; or
        with the process ``pid``. A name used again after its session ended goes on where that one stopped.
        Raises :class:`TakenError` if another live process has the name.
        """
        signed = self._run(
            operations.sign_on(
                session_id,
                kind=kind,
                purpose=purpose,
                labels=labels,
                ttl=ttl,
                parent=parent,
                relation=relation,
                native_id=native_id,
                pid=pid,
            )
        )
        self._core.signed_on(signed)
        return signed

    def sign_off(
        self, outcome: Optional[str] = None, note: Optional[str] = None
    ) -> Dict[str, Any]:
        """Ends the session; all that it holds is free at once. Tells what was given back."""
        ended = self._run(operations.sign_off(outcome, note))
        self._core.signed_off()
        return ended

    def heartbeat(self) -> float:
        """Says that the session is still there; a client does so by itself. Answers until when it counts."""
        return self._run(operations.heartbeat())

    # Data.

    def get(self, scope: str, key: str) -> Optional[Entry]:
        """The key with its value, rev and writer; ``None`` if there is none."""
        return self._run(operations.get(scope, key))

    def put(
        self,
        scope: str,
        key: str,
        value: Any,
        *,
        expect: Optional[int] = None,
        ephemeral: bool = False,
        ttl: Optional[float] = None,
        guards: Guards = (),
    ) -> Written:
        """Stores a value.

        With ``expect`` only if the key still has that rev, 0 for none, else :class:`ConflictError`. An
        ephemeral key goes with the session, one with a ``ttl`` after that time. With guards only while
        those are held, else :class:`FencedError`.
        """
        return self._run(
            operations.put(
                scope, key, value, expect=expect, ephemeral=ephemeral, ttl=ttl, guards=guards
            )
        )

    def store_data(self, scope: str, key: str, value: Any, *, guards: Guards = ()) -> Written:
        """Stores a value; the last writer wins."""
        return self.put(scope, key, value, guards=guards)

    def retrieve_data(self, scope: str, key: str) -> Any:
        """The value of a key; ``None`` if there is none."""
        return self._run(operations.retrieve(scope, key))

    def update_data(
        self,
        scope: str,
        key: str,
        op: str,
        value: Any,
        *,
        expect: Optional[int] = None,
        keep: Optional[int] = None,
        guards: Guards = (),
    ) -> Updated:
        """Changes a value in one step, so that no other session's write is lost.

        ``op`` is ``"add"`` a whole number, ``"append"`` to a list (with ``keep``, of the newest so many),
        ``"merge"`` an object (RFC 7396), or ``"cas"``: replace if the rev is still ``expect``. An absent
        key counts as 0, ``[]`` or ``{}``.
        """
        return self._run(
            operations.update(scope, key, op, value, expect=expect, keep=keep, guards=guards)
        )

    def delete_data(
        self, scope: str, key: str, *, expect: Optional[int] = None, guards: Guards = ()
    ) -> bool:
        """Deletes a key; answers whether it was there."""
        return self._run(operations.delete(scope, key, expect=expect, guards=guards))

    def list_scopes(self, pattern: str = "*") -> List[str]:
        """All scopes that match, where ``*`` is any run of characters, in order."""
        return self._run(operations.list_scopes(pattern))

    def delete_scope(self, scope: str, *, recursive: bool = False, guards: Guards = ()) -> int:
        """Deletes all keys of exactly this scope; answers how many there were."""
        return self._run(operations.delete_scope(scope, recursive=recursive, guards=guards))

    # Claims and leases.

    def claim(
        self,
        *items: str,
        mode: str = "exclusive",
        intent: Optional[str] = None,
        ttl: Optional[float] = None,
        wait: Optional[float] = None,
        guards: Guards = (),
    ) -> Claimed:
        """Claims items such as ``issue:15``, ``path:src/`` or ``branch:x``, all or none.

        They are the session's until it gives them back or ends. Raises :class:`TakenError`, which names
        the holder, if another session has one; with ``wait``, once that time is over.
        """
        return self._run(
            operations.claim(
                items, mode=mode, intent=intent, ttl=ttl, wait=wait, guards=guards
            )
        )

    def unclaim(self, *items: str, all: bool = False) -> Unclaimed:
        """Gives claims back."""
        return self._run(operations.unclaim(items, all=all))

    def who(
        self, item: Optional[str] = None, *, session: Optional[str] = None
    ) -> List[Holding]:
        """Who has claimed an item, or what a pattern with ``*`` matches, or anything at all."""
        return self._run(operations.who(item, session=session))

    def lease(
        self,
        resource: str,
        *,
        ttl: float = 60.0,
        wait: Optional[float] = None,
        slots: Optional[int] = None,
        lock_delay: Optional[float] = None,
        note: Optional[str] = None,
    ) -> "Lease":
        """A lease, to be held by ``with``; a thread renews it meanwhile."""
        return Lease(
            self, resource, ttl=ttl, wait=wait, slots=slots, lock_delay=lock_delay, note=note
        )

    # Tasks.

    def add_tasks(self, *tasks: Any, guards: Guards = ()) -> List[AddedTask]:
        """Adds tasks, all or none: each a :class:`NewTask`, or what is to be done as any other value."""
        return self._run(operations.add_tasks(tasks, guards))

    def next_task(
        self, *queues: str, visibility: Optional[float] = None, wait: Optional[float] = None
    ) -> Optional[Task]:
        """Takes the next task that is ready, of these queues or of any; ``None`` if there is none.

        Nobody else gets it until its attempt is over: finished, failed, released, or not extended for
        ``visibility`` seconds. With ``wait`` it waits so long for one.
        """
        return self._run(
            operations.next_task(
                queues, visibility=visibility, wait=wait, session=self._core.session_id
            )
        )

    def extend_task(self, task: Attempt, visibility: Optional[float] = None) -> float:
        """Gives the attempt more time, and answers how much. Raises :class:`FencedError` if it is over,
        :class:`ConflictError` if the task was called off."""
        return self._run(operations.extend_task(task, visibility))

    def finish_task(
        self, task: Attempt, result: Any = None, *, guards: Guards = ()
    ) -> FinishedTask:
        """Finishes a task; what waited for it can begin. Raises :class:`FencedError` if somebody else has
        taken it since."""
        return self._run(operations.finish_task(task, result, guards))

    def fail_task(self, task: Attempt, reason: str, *, permanent: bool = False) -> FailedTask:
        """Says that the attempt failed; the task is tried again later, unless that cannot help."""
        return self._run(operations.fail_task(task, reason, permanent))

    def release_task(self, task: Attempt) -> None:
        """Gives a task back; the attempt is not counted."""
        return self._run(operations.release_task(task))

    def cancel_task(
        self, task: Union[int, Task], reason: Optional[str] = None
    ) -> CancelledTask:
        """Calls a task off; whoever works on it learns when it extends or finishes it."""
        return self._run(operations.cancel_task(task, reason))

    def requeue_task(self, task: Union[int, Task]) -> str:
        """Queues a task again that failed for good or was called off, from its first attempt; answers where
        it stands. Raises :class:`ConflictError` if it is neither."""
        return self._run(operations.requeue_task(task))

    def show_task(self, task: Union[int, Task]) -> ShownTask:
        """A task as others see it, what it waits for, and which others need it."""
        return self._run(operations.show_task(task))

    def list_tasks(
        self,
        queue: Optional[str] = None,
        *,
        states: Sequence[str] = (),
        session: Optional[str] = None,
    ) -> List[TaskView]:
        """The tasks, oldest first: of a queue, in some ``states``, or whose newest attempt is a session's.

        Without ``states``, all that are neither done nor cancelled.
        """
        return self._run(operations.list_tasks(queue, states=states, session=session))

    def task_graph(
        self,
        task: Union[int, Task, None] = None,
        *,
        queue: Optional[str] = None,
        all: bool = False,
        limit: Optional[int] = None,
    ) -> TaskGraph:
        """Which tasks need which: around one task, of a queue, or of all queues; with ``all`` also those
        that are done or cancelled."""
        return self._run(operations.task_graph(task, queue=queue, all=all, limit=limit))

    # Progress and handoff.

    def report_progress(
        self,
        subject: str,
        phase: str,
        percent: int,
        message: Optional[str] = None,
        *,
        guards: Guards = (),
    ) -> Optional[Progress]:
        """Says how far something such as ``issue:15`` is; answers what was reported before.

        Raises :class:`TakenError` if another session has claimed it.
        """
        return self._run(
            operations.report_progress(subject, phase, percent, message, guards)
        )

    def progress(self, pattern: Optional[str] = None) -> List[Progress]:
        """How far things are: those that match a pattern with ``*``, or all."""
        return self._run(operations.progress(pattern))

    def offer(
        self,
        *items: str,
        to: str = "everybody",
        payload: Optional[Mapping[str, Any]] = None,
        ttl: Optional[float] = None,
        guards: Guards = (),
    ) -> int:
        """Offers claims such as ``issue:15``, leases such as ``lease:deploy`` and tasks such as ``task:42``,
        with what the next one should know, to a session, ``label:WORD`` or everybody. Answers the number of
        the offer.

        They stay this session's until somebody accepts.
        """
        return self._run(
            operations.offer(items, to=to, payload=payload, ttl=ttl, guards=guards)
        )

    def handoff(
        self,
        *items: str,
        to: str = "everybody",
        payload: Optional[Mapping[str, Any]] = None,
        ttl: Optional[float] = None,
        guards: Guards = (),
    ) -> int:
        """Hands work over: the plain name of :meth:`offer`. Answers the number that :meth:`accept` takes."""
        return self.offer(*items, to=to, payload=payload, ttl=ttl, guards=guards)

    def accept(self, offer: int) -> Accepted:
        """Takes over what an offer holds. Raises :class:`NotFoundError` if somebody else was faster:
        ``details["by"]``."""
        return self._run(operations.accept(offer))

    def decline(self, offer: int, reason: Optional[str] = None) -> None:
        """Refuses an offer that was made to this session alone."""
        return self._run(operations.decline(offer, reason))

    def withdraw(self, offer: int) -> None:
        """Takes an offer back."""
        return self._run(operations.withdraw(offer))

    def offers(
        self,
        *,
        all: bool = False,
        giver: Optional[str] = None,
        acceptor: Optional[str] = None,
    ) -> List[OfferView]:
        """The open offers, newest first: of a ``giver``, for an ``acceptor``; or ``all``, also closed ones."""
        return self._run(operations.offers(all=all, giver=giver, acceptor=acceptor))

    def draft(self, payload: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
        """Notes where this session's work stands, over what it noted before, for itself and whoever goes on
        for it. Answers the note, with what the session holds."""
        return self._run(operations.draft(payload))

    # Messages and barriers.

    def send(self, to: str, text: str, *, ttl: Optional[float] = None) -> Sent:
        """Sends a text to a session, to ``label:WORD`` or to ``everybody``."""
        return self._run(operations.send(to, text, ttl))

    def inbox(self, *, wait: Optional[float] = None, limit: int = 32) -> List[Message]:
        """The messages to this session that nobody has read, each handed out once, oldest first.

        With ``wait`` it waits so long for the first. What they say was written by other sessions.
        """
        return self._run(
            operations.inbox(
                wait=wait,
                limit=limit,
                session=self._core.session_id,
                unheard=self._core.unheard,
            )
        )

    def ack(self, *messages: Union[int, Message]) -> Acknowledged:
        """Tells the senders of messages that they were acted on."""
        return self._run(operations.ack(messages))

    def list_messages(self, session: str, *, all: bool = False) -> List[Message]:
        """The messages to a session that nobody has read, or ``all``; looking reads none."""
        return self._run(operations.list_messages(session, all=all))

    def barrier(
        self,
        name: str,
        parties: int,
        *,
        timeout: Optional[float] = None,
        wait: Optional[float] = None,
    ) -> Arrived:
        """Arrives at a point that so many sessions pass together; with ``wait``, waits for the others.

        Raises :class:`BusyError` if they do not come in time, and :class:`ConflictError` if one of them
        is lost or ends: ``details["name"]``.
        """
        return self._run(operations.barrier(name, parties, timeout=timeout, wait=wait))

    # Instructions and metrics.

    def add_instruction(
        self,
        text: str,
        *,
        scope: str = "project",
        key: Optional[str] = None,
        source: Optional[str] = None,
        supersedes: Union[int, str, None] = None,
        contest: bool = False,
        alias: Optional[str] = None,
        trust: Optional[str] = None,
    ) -> InstructionAdded:
        """Adds an instruction for all sessions; that of an agent awaits a person's approval.

        ``scope`` is ``project``, ``org`` or ``path:DIRECTORY``. Of those with one ``key`` one wins.
        """
        return self._run(
            operations.add_instruction(
                text,
                scope=scope,
                key=key,
                source=source,
                supersedes=supersedes,
                contest=contest,
                alias=alias,
                trust=trust,
            )
        )

    def instructions(
        self, path: Optional[str] = None, *, history: bool = False
    ) -> List[Instruction]:
        """The instructions in force, all or those for a path; or the whole ``history``, oldest first."""
        return self._run(operations.instructions(path, history=history))

    def approve_instruction(self, instruction: Union[int, str]) -> InstructionRuled:
        """Puts an instruction in force that no person wrote, by its number or alias; people only, else
        :class:`RightsError`."""
        return self._run(operations.approve_instruction(instruction))

    def revoke_instruction(
        self, instruction: Union[int, str], reason: Optional[str] = None
    ) -> InstructionRuled:
        """Takes an instruction out of force for good; people only, else :class:`RightsError`."""
        return self._run(operations.revoke_instruction(instruction, reason))

    def instruction_conflicts(self) -> List[Conflict]:
        """The instructions that contradict each other."""
        return self._run(operations.instruction_conflicts())

    def report_metrics(
        self,
        source: str,
        *,
        counters: Mapping[str, int] = {},
        gauges: Mapping[str, int] = {},
        model: Optional[str] = None,
        seq: Optional[int] = None,
        thresholds: Mapping[str, Tuple[str, int]] = {},
    ) -> List[str]:
        """Reports what this session has used. Of each counter the greatest is kept, of each gauge that of
        the highest ``seq``, which is the time when absent.

        ``thresholds`` are names of marks with the metric and from where on it is crossed. Answers those
        that this report crossed; a session crosses each once.
        """
        return self._run(
            operations.report_metrics(
                source,
                counters=counters,
                gauges=gauges,
                model=model,
                seq=seq,
                thresholds=thresholds,
            )
        )

    def metrics(
        self, session: Optional[str] = None, *, all: bool = False, by: Optional[str] = None
    ) -> Metrics:
        """What each session has used; with ``all`` also those that are over, with ``by`` also totals by
        ``user``, ``day``, ``model`` or ``label``."""
        return self._run(operations.metrics(session, all=all, by=by))

    # The log.

    def log_event(
        self, event_type: str, message: str, metadata: Any = None, *, guards: Guards = ()
    ) -> int:
        """Writes a line to the shared, append-only log; answers its number."""
        return self._run(operations.log_event(event_type, message, metadata, guards))

    def events(
        self,
        after: Optional[str] = None,
        *,
        last: Optional[int] = None,
        kind: Optional[str] = None,
        scope: Optional[str] = None,
        session: Optional[str] = None,
    ) -> Iterator[Event]:
        """The events there are: from the first, behind a cursor, or the ``last`` so many that match.

        ``kind`` and ``scope`` may have ``*``; ``session`` is an id.
        """
        wanted = Filter(kind, scope, session)
        if last is not None:
            yield from self._run(operations.read(wanted, after=None, last=last)).events
            return
        cursor, more = after or "start", True
        while more:
            page = self._run(operations.read(wanted, after=cursor))
            cursor, more = page.cursor, page.more
            yield from page.events

    def watch(
        self,
        after: str = "head",
        *,
        kind: Optional[str] = None,
        scope: Optional[str] = None,
        session: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> Iterator[Event]:
        """Events as they happen, from now on or behind a cursor; without end unless a ``timeout`` is over.

        To go on later, keep the ``cursor`` of the last event that was dealt with.
        """
        wanted = Filter(kind, scope, session)
        end = None if timeout is None else time.monotonic() + timeout
        if after == "head":
            # Fixed now, not when the first event is asked for.
            after = self._run(operations.read(wanted, after="head")).cursor
        return self._watch(after, end, wanted)

    def _watch(self, cursor: str, end: Optional[float], wanted: Filter) -> Iterator[Event]:
        while True:
            left = WAIT_MAX if end is None else min(WAIT_MAX, max(0.0, end - time.monotonic()))
            page = self._run(operations.read(wanted, after=cursor, wait=left))
            cursor = page.cursor
            yield from page.events
            if end is not None and time.monotonic() >= end and not page.more:
                return

    # Everything else.

    def status(self) -> Status:
        """Who is here, on what, holding what; from one snapshot."""
        return self._run(operations.status())

    def call(
        self,
        op: str,
        *,
        guards: Guards = (),
        request_id: Optional[str] = None,
        **args: Any,
    ) -> Any:
        """Carries out any operation of ``cotenant rpc --schema`` by its name and arguments."""
        return self._run(operations.call(op, args, guards, request_id))

    def close(self) -> None:
        """Ends the process of this client. The session goes on as long as the process it lives with."""
        self._core.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        try:
            if self._core.owns_session:
                self.sign_off("failed" if error else None)
        except Error:
            if error is None:
                raise
        finally:
            self.close()


class Lease:
    """A named right that one session has at a time, renewed by a thread while it is held.

    ``fence`` is a number greater than that of every earlier grant: a lease is a guard of writes,
    ``client.put(…, guards=[lease])``, which are refused once it is lost.
    """

    def __init__(
        self,
        client: Client,
        resource: str,
        *,
        ttl: float,
        wait: Optional[float],
        slots: Optional[int],
        lock_delay: Optional[float],
        note: Optional[str],
    ) -> None:
        self._client = client
        self._term = Term(resource, ttl)
        self._wait = wait
        self._slots = slots
        self._lock_delay = lock_delay
        self._note = note
        self._released = threading.Event()
        #: Set once it is known to be lost. ``is_lost`` also knows by the clock.
        self.lost = threading.Event()

    @property
    def resource(self) -> str:
        """What is held."""
        return self._term.resource

    @property
    def fence(self) -> int:
        """The number of the grant. Raises :class:`FencedError` once it cannot be relied on."""
        return self._term.require()

    @property
    def is_lost(self) -> bool:
        """Whether it must be considered lost: it could not be renewed in time, or is somebody else's."""
        return self._term.fence is not None and self._term.left <= 0

    def acquire(self) -> "Lease":
        """Takes the lease, waiting as long as it was made to, else :class:`TakenError`."""
        term = self._term
        term.session = self._client._core.session_id
        asked = time.monotonic()
        request = operations.acquire(
            term.resource,
            ttl=term.ttl,
            wait=self._wait,
            slots=self._slots,
            lock_delay=self._lock_delay,
            note=self._note,
            session=term.session,
        )
        granted = self._client._ask(request)
        if self._wait:
            # Since when it is ours is not known: the whole time to live counts from the first renewal.
            asked = time.monotonic()
            self._client._core.send(
                operations.renew(term.resource, granted["fence"], term.ttl, term.session)
            ).result()
        term.granted(granted["fence"], asked)
        self.lost.clear()
        self._released = threading.Event()
        threading.Thread(
            target=self._keep, args=(self._released,), name="cotenant", daemon=True
        ).start()
        return self

    def _keep(self, released: threading.Event) -> None:
        term = self._term
        every = term.ttl * RENEW_EVERY
        while not released.wait(min(every, term.left)) and not self.is_lost:
            fence = term.fence
            if fence is None:
                return
            asked = time.monotonic()
            request = operations.renew(term.resource, fence, term.ttl, term.session)
            try:
                self._client._core.send(request).result(term.left)
                term.granted(fence, asked)
                every = term.ttl * RENEW_EVERY
            except Error as error:
                term.failed(error)
                every = term.ttl / 20
            except FutureTimeout:
                every = term.ttl / 20
        if not released.is_set():
            self.lost.set()

    def release(self) -> None:
        """Gives it back. Raises :class:`FencedError` if it was lost before."""
        term = self._term
        self._released.set()
        if not term.is_ours or term.fence is None:
            return
        fence, term.fence = term.fence, None
        self._client._run(operations.release(term.resource, fence, term.session))

    def __enter__(self) -> "Lease":
        return self.acquire()

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        try:
            self.release()
        except Error:
            # What went wrong inside says more.
            if error is None:
                raise


__all__ = ["Client", "FencedError", "Lease"]
