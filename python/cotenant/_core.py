"""What clients in threads and in event loops have in common: a connection, and the session they act for."""

from __future__ import annotations

import os
import threading
import time
import uuid
import weakref
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

from ._connection import Connection
from ._errors import Error, FencedError, NotFoundError, SessionError
from ._operations import Request, guard_fields
from ._types import Message, Signed

#: How often a lease is renewed and a session heard of, as parts of their time to live.
RENEW_EVERY = 1 / 3
#: The part of its time to live after which a lease that was not renewed counts as lost.
LOST_AFTER = 0.7


class Core:
    """A connection and, after a sign-on, a session."""

    def __init__(
        self,
        *,
        binary: Optional[str] = None,
        store: Optional[str] = None,
        directory: "Optional[Union[str, os.PathLike[str]]]" = None,
        environment: Optional[Mapping[str, str]] = None,
    ) -> None:
        self.connection = Connection(
            binary=binary, store=store, directory=directory, environment=environment
        )
        self.session: Optional[Signed] = None
        #: Messages that were handed out when nobody waited for them any more, with whose they are.
        self.unheard: "List[Tuple[Optional[str], Message]]" = []
        self._signed_in = 0
        self._quiet = threading.Event()

    def send(self, request: Request) -> "Future[Any]":
        """Sends a request in the session's name; without a session, in that of who runs the program."""
        line: Dict[str, Any] = {
            "op": request.op,
            "args": request.args,
            "request_id": request.request_id or uuid.uuid4().hex,
        }
        guards = guard_fields(request.guards)
        if guards:
            line["guards"] = guards
        session = request.session or (self.session_id if request.acts else None)
        if session is not None:
            line["actor"] = {"session": session}
        return self.connection.submit(line)

    @property
    def session_id(self) -> Optional[str]:
        """The id of the session that this client signed on."""
        session = self.session
        return None if session is None else session["session"]

    def signed_on(self, signed: Signed) -> None:
        """Acts for this session from now on, and says every now and then that it is still there."""
        self.signed_off()
        self.session = signed
        self._signed_in = os.getpid()
        quiet = self._quiet = threading.Event()
        every = signed["expires_in_ms"] / 1000 * RENEW_EVERY
        keeper = threading.Thread(
            target=_keep, args=(weakref.ref(self), quiet, every), name="cotenant", daemon=True
        )
        keeper.start()

    def signed_off(self) -> None:
        """Acts for nobody from now on."""
        self.session = None
        self._quiet.set()

    @property
    def owns_session(self) -> bool:
        """Whether this process signed the session on that it acts for."""
        session = self.session
        ours = self._signed_in == os.getpid()
        return session is not None and ours and not session.get("existing", False)

    def give_up(self, asked: "Future[Any]", request: Request) -> None:
        """Nobody waits for this answer any more: if it comes after all, what it grants is given back."""
        undo = request.undo
        if undo is None:
            return

        def give_back(answer: Any) -> None:
            request = undo(answer)
            if request is None:
                return
            try:
                self.send(request)
            except Error:
                # The client is closed: it ends with its time to live.
                pass

        def answered(asked: "Future[Any]") -> None:
            if not asked.cancelled() and asked.exception() is None:
                # Whoever hears answers must not wait until a request is sent.
                threading.Thread(target=give_back, args=(asked.result(),), daemon=True).start()

        asked.add_done_callback(answered)

    def close(self) -> None:
        """Ends the connection; the session goes on as long as its process."""
        self._quiet.set()
        self.connection.close()


def _keep(core: "weakref.ref[Core]", quiet: threading.Event, every: float) -> None:
    while not quiet.wait(every):
        ours = core()
        if ours is None:
            return
        try:
            ours.send(Request("session.heartbeat")).result(every)
        except SessionError:
            return
        except (Error, FutureTimeout):
            # It tries again; what the session holds is not judged here.
            pass
        del ours


class Term:
    """How long a grant can be relied on, by this process's own clock."""

    def __init__(self, resource: str, ttl: float) -> None:
        self.resource = resource
        self.ttl = ttl
        self.fence: Optional[int] = None
        #: The session that it was granted to, which may not be the client's any more.
        self.session: Optional[str] = None
        self._until = 0.0
        self._over = False
        self._owner = 0

    def granted(self, fence: int, asked: float) -> None:
        """It was granted or renewed; ``asked`` is the time before that was asked for."""
        self.fence = fence
        self._until = asked + self.ttl * LOST_AFTER
        self._over = False
        self._owner = os.getpid()

    @property
    def left(self) -> float:
        """For how many seconds it can still be relied on."""
        return 0.0 if self._over else max(0.0, self._until - time.monotonic())

    @property
    def is_ours(self) -> bool:
        """Whether this process has it, rather than the parent that it was forked from."""
        return self.fence is not None and self._owner == os.getpid()

    def failed(self, error: Error) -> None:
        """It could not be renewed."""
        if isinstance(error, (FencedError, NotFoundError, SessionError)):
            self._over = True

    def require(self) -> int:
        """The fence, or an error if it cannot be relied on any more."""
        if self.fence is None:
            raise FencedError("FENCED", f"`{self.resource}` is not held")
        if self.left <= 0:
            raise FencedError(
                "FENCED",
                f"`{self.resource}` was lost: it could not be renewed in time",
                hint="stop this work; what was written meanwhile needs another look",
                details={"resource": self.resource, "fence": self.fence},
            )
        return self.fence
