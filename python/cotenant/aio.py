"""The client for event loops: the same operations, to be awaited."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import Future
from types import TracebackType
from typing import (
    Any,
    AsyncIterator,
    Dict,
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
from ._errors import Error
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

__all__ = ["Client", "Lease"]

T = TypeVar("T")


def _heard(answer: "Future[Any]") -> "asyncio.Future[Any]":
    """An answer in this loop. Who is cancelled does not hear it; it comes all the same."""
    loop = asyncio.get_running_loop()
    heard = loop.create_future()

    def tell() -> None:
        if heard.done():
            return
        error = answer.exception()
        if error is None:
            heard.set_result(answer.result())
        else:
            heard.set_exception(error)

    def come(_: "Future[Any]") -> None:
        try:
            loop.call_soon_threadsafe(tell)
        except RuntimeError:
            # The loop is closed.
            pass

    answer.add_done_callback(come)
    return heard


class Client:
    """A store, and the session that acts in it; see :class:`cotenant.Client`."""

    def __init__(
        self,
        *,
        store: Optional[str] = None,
        directory: "Optional[Union[str, os.PathLike[str]]]" = None,
        binary: Optional[str] = None,
        environment: Optional[Mapping[str, str]] = None,
    ) -> None:
        """Makes a client; nothing is started before the first request."""
        self._core = Core(
            binary=binary, store=store, directory=directory, environment=environment
        )

    async def _send(self, request: Request) -> Any:
        # Starting a process or filling a pipe can take a while, which must not hold up the loop.
        loop = asyncio.get_running_loop()
        sending = loop.run_in_executor(None, self._core.send, request)
        try:
            return await _heard(await asyncio.shield(sending))
        except Error:
            raise
        except BaseException:
            # Such as the end of the task, perhaps before it is sent.
            sending.add_done_callback(lambda sent: self._give_up(sent, request))
            raise

    def _give_up(self, sent: "asyncio.Future[Future[Any]]", request: Request) -> None:
        if not sent.cancelled() and sent.exception() is None:
            self._core.give_up(sent.result(), request)

    async def _run(self, steps: Steps[T]) -> T:
        try:
            request = next(steps)
            while True:
                try:
                    answer = await self._send(request)
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

    async def sign_on(
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
        """Signs a session on, by this name, and acts for it from now on."""
        signed = await self._run(
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

    async def sign_off(
        self, outcome: Optional[str] = None, note: Optional[str] = None
    ) -> Dict[str, Any]:
        """Ends the session; all that it holds is free at once. Tells what was given back."""
        ended = await self._run(operations.sign_off(outcome, note))
        self._core.signed_off()
        return ended

    async def heartbeat(self) -> float:
        """Says that the session is still there; a client does so by itself."""
        return await self._run(operations.heartbeat())

    # Data.

    async def get(self, scope: str, key: str) -> Optional[Entry]:
        """The key with its value, rev and writer; ``None`` if there is none."""
        return await self._run(operations.get(scope, key))

    async def put(
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
        """Stores a value; with ``expect`` only if the key still has that rev, 0 for none."""
        return await self._run(
            operations.put(
                scope, key, value, expect=expect, ephemeral=ephemeral, ttl=ttl, guards=guards
            )
        )

    async def store_data(
        self, scope: str, key: str, value: Any, *, guards: Guards = ()
    ) -> Written:
        """Stores a value; the last writer wins."""
        return await self.put(scope, key, value, guards=guards)

    async def retrieve_data(self, scope: str, key: str) -> Any:
        """The value of a key; ``None`` if there is none."""
        return await self._run(operations.retrieve(scope, key))

    async def update_data(
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
        """Changes a value in one step: ``add``, ``append``, ``merge`` or ``cas``."""
        return await self._run(
            operations.update(scope, key, op, value, expect=expect, keep=keep, guards=guards)
        )

    async def delete_data(
        self, scope: str, key: str, *, expect: Optional[int] = None, guards: Guards = ()
    ) -> bool:
        """Deletes a key; answers whether it was there."""
        return await self._run(operations.delete(scope, key, expect=expect, guards=guards))

    async def list_scopes(self, pattern: str = "*") -> List[str]:
        """All scopes that match, where ``*`` is any run of characters, in order."""
        return await self._run(operations.list_scopes(pattern))

    async def delete_scope(
        self, scope: str, *, recursive: bool = False, guards: Guards = ()
    ) -> int:
        """Deletes all keys of exactly this scope; answers how many there were."""
        return await self._run(
            operations.delete_scope(scope, recursive=recursive, guards=guards)
        )

    # Claims and leases.

    async def claim(
        self,
        *items: str,
        mode: str = "exclusive",
        intent: Optional[str] = None,
        ttl: Optional[float] = None,
        wait: Optional[float] = None,
        guards: Guards = (),
    ) -> Claimed:
        """Claims items such as ``issue:15``, ``path:src/`` or ``branch:x``, all or none."""
        return await self._run(
            operations.claim(
                items, mode=mode, intent=intent, ttl=ttl, wait=wait, guards=guards
            )
        )

    async def unclaim(self, *items: str, all: bool = False) -> Unclaimed:
        """Gives claims back."""
        return await self._run(operations.unclaim(items, all=all))

    async def who(
        self, item: Optional[str] = None, *, session: Optional[str] = None
    ) -> List[Holding]:
        """Who has claimed an item, or what a pattern with ``*`` matches, or anything at all."""
        return await self._run(operations.who(item, session=session))

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
        """A lease, to be held by ``async with``; a task renews it meanwhile."""
        return Lease(
            self, resource, ttl=ttl, wait=wait, slots=slots, lock_delay=lock_delay, note=note
        )

    # Tasks.

    async def add_tasks(self, *tasks: Any, guards: Guards = ()) -> List[AddedTask]:
        """Adds tasks, all or none: each a :class:`cotenant.NewTask`, or what is to be done as any other value."""
        return await self._run(operations.add_tasks(tasks, guards))

    async def next_task(
        self, *queues: str, visibility: Optional[float] = None, wait: Optional[float] = None
    ) -> Optional[Task]:
        """Takes the next task that is ready, of these queues or of any; ``None`` if there is none.

        Nobody else gets it until its attempt is over: finished, failed, released, or not extended for
        ``visibility`` seconds. With ``wait`` it waits so long for one.
        """
        return await self._run(
            operations.next_task(
                queues, visibility=visibility, wait=wait, session=self._core.session_id
            )
        )

    async def extend_task(self, task: Attempt, visibility: Optional[float] = None) -> float:
        """Gives the attempt more time, and answers how much. Raises :class:`cotenant.FencedError` if it is over,
        :class:`cotenant.ConflictError` if the task was called off."""
        return await self._run(operations.extend_task(task, visibility))

    async def finish_task(
        self, task: Attempt, result: Any = None, *, guards: Guards = ()
    ) -> FinishedTask:
        """Finishes a task; what waited for it can begin. Raises :class:`cotenant.FencedError` if somebody else has
        taken it since."""
        return await self._run(operations.finish_task(task, result, guards))

    async def fail_task(self, task: Attempt, reason: str, *, permanent: bool = False) -> FailedTask:
        """Says that the attempt failed; the task is tried again later, unless that cannot help."""
        return await self._run(operations.fail_task(task, reason, permanent))

    async def release_task(self, task: Attempt) -> None:
        """Gives a task back; the attempt is not counted."""
        return await self._run(operations.release_task(task))

    async def cancel_task(
        self, task: Union[int, Task], reason: Optional[str] = None
    ) -> CancelledTask:
        """Calls a task off; whoever works on it learns when it extends or finishes it."""
        return await self._run(operations.cancel_task(task, reason))

    async def requeue_task(self, task: Union[int, Task]) -> str:
        """Queues a task again that failed for good or was called off, from its first attempt; answers where
        it stands. Raises :class:`cotenant.ConflictError` if it is neither."""
        return await self._run(operations.requeue_task(task))

    async def show_task(self, task: Union[int, Task]) -> ShownTask:
        """A task as others see it, what it waits for, and which others need it."""
        return await self._run(operations.show_task(task))

    async def list_tasks(
        self,
        queue: Optional[str] = None,
        *,
        states: Sequence[str] = (),
        session: Optional[str] = None,
    ) -> List[TaskView]:
        """The tasks, oldest first: of a queue, in some ``states``, or whose newest attempt is a session's.

        Without ``states``, all that are neither done nor cancelled.
        """
        return await self._run(operations.list_tasks(queue, states=states, session=session))

    async def task_graph(
        self,
        task: Union[int, Task, None] = None,
        *,
        queue: Optional[str] = None,
        all: bool = False,
        limit: Optional[int] = None,
    ) -> TaskGraph:
        """Which tasks need which: around one task, of a queue, or of all queues; with ``all`` also those
        that are done or cancelled."""
        return await self._run(operations.task_graph(task, queue=queue, all=all, limit=limit))

    # Progress and handoff.

    async def report_progress(
        self,
        subject: str,
        phase: str,
        percent: int,
        message: Optional[str] = None,
        *,
        guards: Guards = (),
    ) -> Optional[Progress]:
        """Says how far something such as ``issue:15`` is; answers what was reported before.

        Raises :class:`cotenant.TakenError` if another session has claimed it.
        """
        return await self._run(
            operations.report_progress(subject, phase, percent, message, guards)
        )

    async def progress(self, pattern: Optional[str] = None) -> List[Progress]:
        """How far things are: those that match a pattern with ``*``, or all."""
        return await self._run(operations.progress(pattern))

    async def offer(
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
        return await self._run(
            operations.offer(items, to=to, payload=payload, ttl=ttl, guards=guards)
        )

    async def handoff(
        self,
        *items: str,
        to: str = "everybody",
        payload: Optional[Mapping[str, Any]] = None,
        ttl: Optional[float] = None,
        guards: Guards = (),
    ) -> int:
        """Hands work over: the plain name of :meth:`offer`. Answers the number that :meth:`accept` takes."""
        return await self.offer(*items, to=to, payload=payload, ttl=ttl, guards=guards)

    async def accept(self, offer: int) -> Accepted:
        """Takes over what an offer holds. Raises :class:`cotenant.NotFoundError` if somebody else was faster:
        ``details["by"]``."""
        return await self._run(operations.accept(offer))

    async def decline(self, offer: int, reason: Optional[str] = None) -> None:
        """Refuses an offer that was made to this session alone."""
        return await self._run(operations.decline(offer, reason))

    async def withdraw(self, offer: int) -> None:
        """Takes an offer back."""
        return await self._run(operations.withdraw(offer))

    async def offers(
        self,
        *,
        all: bool = False,
        giver: Optional[str] = None,
        acceptor: Optional[str] = None,
    ) -> List[OfferView]:
        """The open offers, newest first: of a ``giver``, for an ``acceptor``; or ``all``, also closed ones."""
        return await self._run(operations.offers(all=all, giver=giver, acceptor=acceptor))

    async def draft(self, payload: Optional[Mapping[str, Any]] = None) -> Dict[str, Any]:
        """Notes where this session's work stands, over what it noted before, for itself and whoever goes on
        for it. Answers the note, with what the session holds."""
        return await self._run(operations.draft(payload))

    # Messages and barriers.

    async def send(self, to: str, text: str, *, ttl: Optional[float] = None) -> Sent:
        """Sends a text to a session, to ``label:WORD`` or to ``everybody``."""
        return await self._run(operations.send(to, text, ttl))

    async def inbox(self, *, wait: Optional[float] = None, limit: int = 32) -> List[Message]:
        """The messages to this session that nobody has read, each handed out once, oldest first.

        With ``wait`` it waits so long for the first. What they say was written by other sessions.
        """
        return await self._run(
            operations.inbox(
                wait=wait,
                limit=limit,
                session=self._core.session_id,
                unheard=self._core.unheard,
            )
        )

    async def ack(self, *messages: Union[int, Message]) -> Acknowledged:
        """Tells the senders of messages that they were acted on."""
        return await self._run(operations.ack(messages))

    async def list_messages(self, session: str, *, all: bool = False) -> List[Message]:
        """The messages to a session that nobody has read, or ``all``; looking reads none."""
        return await self._run(operations.list_messages(session, all=all))

    async def barrier(
        self,
        name: str,
        parties: int,
        *,
        timeout: Optional[float] = None,
        wait: Optional[float] = None,
    ) -> Arrived:
        """Arrives at a point that so many sessions pass together; with ``wait``, waits for the others.

        Raises :class:`cotenant.BusyError` if they do not come in time, and :class:`cotenant.ConflictError` if one of them
        is lost or ends: ``details["name"]``.
        """
        return await self._run(operations.barrier(name, parties, timeout=timeout, wait=wait))

    # Instructions and metrics.

    async def add_instruction(
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
        return await self._run(
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

    async def instructions(
        self, path: Optional[str] = None, *, history: bool = False
    ) -> List[Instruction]:
        """The instructions in force, all or those for a path; or the whole ``history``, oldest first."""
        return await self._run(operations.instructions(path, history=history))

    async def approve_instruction(self, instruction: Union[int, str]) -> InstructionRuled:
        """Puts an instruction in force that no person wrote, by its number or alias; people only, else
        :class:`cotenant.RightsError`."""
        return await self._run(operations.approve_instruction(instruction))

    async def revoke_instruction(
        self, instruction: Union[int, str], reason: Optional[str] = None
    ) -> InstructionRuled:
        """Takes an instruction out of force for good; people only, else :class:`cotenant.RightsError`."""
        return await self._run(operations.revoke_instruction(instruction, reason))

    async def instruction_conflicts(self) -> List[Conflict]:
        """The instructions that contradict each other."""
        return await self._run(operations.instruction_conflicts())

    async def report_metrics(
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
        return await self._run(
            operations.report_metrics(
                source,
                counters=counters,
                gauges=gauges,
                model=model,
                seq=seq,
                thresholds=thresholds,
            )
        )

    async def metrics(
        self, session: Optional[str] = None, *, all: bool = False, by: Optional[str] = None
    ) -> Metrics:
        """What each session has used; with ``all`` also those that are over, with ``by`` also totals by
        ``user``, ``day``, ``model`` or ``label``."""
        return await self._run(operations.metrics(session, all=all, by=by))

    # The log.

    async def log_event(
        self, event_type: str, message: str, metadata: Any = None, *, guards: Guards = ()
    ) -> int:
        """Writes a line to the shared, append-only log; answers its number."""
        return await self._run(operations.log_event(event_type, message, metadata, guards))

    async def events(
        self,
        after: Optional[str] = None,
        *,
        last: Optional[int] = None,
        kind: Optional[str] = None,
        scope: Optional[str] = None,
        session: Optional[str] = None,
    ) -> AsyncIterator[Event]:
        """The events there are: from the first, behind a cursor, or the ``last`` so many that match."""
        wanted = Filter(kind, scope, session)
        cursor, more = after or "start", True
        while more:
            read = operations.read(wanted, after=None if last else cursor, last=last)
            page = await self._run(read)
            cursor, more = page.cursor, page.more and not last
            for event in page.events:
                yield event

    async def watch(
        self,
        after: str = "head",
        *,
        kind: Optional[str] = None,
        scope: Optional[str] = None,
        session: Optional[str] = None,
        timeout: Optional[float] = None,
    ) -> AsyncIterator[Event]:
        """Events as they happen, from the first step of the iteration on or behind a cursor."""
        wanted = Filter(kind, scope, session)
        end = None if timeout is None else time.monotonic() + timeout
        cursor = after
        while True:
            left = WAIT_MAX if end is None else min(WAIT_MAX, max(0.0, end - time.monotonic()))
            page = await self._run(operations.read(wanted, after=cursor, wait=left))
            cursor = page.cursor
            for event in page.events:
                yield event
            if end is not None and time.monotonic() >= end and not page.more:
                return

    # Everything else.

    async def status(self) -> Status:
        """Who is here, on what, holding what; from one snapshot."""
        return await self._run(operations.status())

    async def call(
        self,
        op: str,
        *,
        guards: Guards = (),
        request_id: Optional[str] = None,
        **args: Any,
    ) -> Any:
        """Carries out any operation of ``cotenant rpc --schema`` by its name and arguments."""
        return await self._run(operations.call(op, args, guards, request_id))

    async def close(self) -> None:
        """Ends the process of this client. The session goes on as long as the process it lives with."""
        await asyncio.get_running_loop().run_in_executor(None, self._core.close)

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        try:
            if self._core.owns_session:
                await self.sign_off("failed" if error else None)
        except Error:
            if error is None:
                raise
        finally:
            await self.close()


class Lease:
    """A named right that one session has at a time, renewed by a task; see :class:`cotenant.Lease`."""

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
        self._keeper: "Optional[asyncio.Task[None]]" = None

    @property
    def resource(self) -> str:
        """What is held."""
        return self._term.resource

    @property
    def fence(self) -> int:
        """The number of the grant. Raises :class:`cotenant.FencedError` once it cannot be relied on."""
        return self._term.require()

    @property
    def is_lost(self) -> bool:
        """Whether it must be considered lost: it could not be renewed in time, or is somebody else's."""
        return self._term.fence is not None and self._term.left <= 0

    async def acquire(self) -> "Lease":
        """Takes the lease, waiting as long as it was made to."""
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
        granted = await self._client._send(request)
        if self._wait:
            # Since when it is ours is not known: the whole time to live counts from the first renewal.
            asked = time.monotonic()
            await self._client._send(
                operations.renew(term.resource, granted["fence"], term.ttl, term.session)
            )
        term.granted(granted["fence"], asked)
        self._keeper = asyncio.get_running_loop().create_task(self._keep())
        return self

    async def _keep(self) -> None:
        term = self._term
        every = term.ttl * RENEW_EVERY
        while True:
            await asyncio.sleep(min(every, term.left))
            fence = term.fence
            if fence is None or self.is_lost:
                return
            asked = time.monotonic()
            request = operations.renew(term.resource, fence, term.ttl, term.session)
            try:
                await asyncio.wait_for(self._client._send(request), term.left)
                term.granted(fence, asked)
                every = term.ttl * RENEW_EVERY
            except Error as error:
                term.failed(error)
                every = term.ttl / 20
            except asyncio.TimeoutError:
                every = term.ttl / 20

    async def release(self) -> None:
        """Gives it back. Raises :class:`cotenant.FencedError` if it was lost before."""
        term = self._term
        if self._keeper is not None:
            self._keeper.cancel()
            self._keeper = None
        if not term.is_ours or term.fence is None:
            return
        fence, term.fence = term.fence, None
        await self._client._run(operations.release(term.resource, fence, term.session))

    async def __aenter__(self) -> "Lease":
        return await self.acquire()

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        try:
            await self.release()
        except Error:
            # What went wrong inside says more.
            if error is None:
                raise
