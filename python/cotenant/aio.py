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
    Type,
    TypeVar,
    Union,
)

from . import _operations as operations
from ._core import RENEW_EVERY, Core, Term
from ._errors import Error
from ._operations import WAIT_MAX, Filter, Request, Steps
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
        answer = await loop.run_in_executor(None, self._core.send, request)
        return await _heard(answer)

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
        loop = asyncio.get_running_loop()
        request = operations.acquire(
            term.resource,
            ttl=term.ttl,
            wait=self._wait,
            slots=self._slots,
            lock_delay=self._lock_delay,
            note=self._note,
        )
        granting = await loop.run_in_executor(None, self._client._core.send, request)
        try:
            granted = await _heard(granting)
        except BaseException:
            # Such as the end of the task.
            self._client._core.give_up(granting, term)
            raise
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
