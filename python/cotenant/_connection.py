"""Requests as lines to ``cotenant rpc``, answers as lines from it.

One process carries out all requests of a connection, side by side. If it dies, another one gets what was
not answered, under the same request ids, so that each takes effect once. After a fork the child has a
process of its own; what was under way belongs to the parent.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import threading
import weakref
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Union

from ._errors import Error, InvalidError, StoreError, error_of

__all__ = ["Connection", "find_binary"]

#: How many processes may die over one request.
TRIES_MAX = 3
#: How long a process has to end by itself once its input is over, in seconds.
PATIENCE = 2.0
#: The longest line that the process reads.
LINE_BYTES_MAX = 6 << 20
_CHUNK = 1 << 16


def find_binary() -> str:
    """The program: ``COTENANT_BIN``, else the first ``cotenant`` in the path."""
    named = os.environ.get("COTENANT_BIN")
    found = named or shutil.which("cotenant")
    if found is None:
        raise StoreError(
            "SPAWN_FAILED",
            "the program `cotenant` is not in the path",
            hint="install it, or name it in COTENANT_BIN",
        )
    return found


@dataclass
class _Pending:
    """A line that was not answered yet."""

    line: bytes
    answer: "Future[Any]"
    tries: int = 1


class _Process:
    """A process that answers lines, and the one that writes to it at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.writing = threading.Lock()

    def write(self, line: bytes) -> None:
        """Sends a line. If the process is gone, whoever listens to it knows what to do."""
        assert self.process.stdin is not None
        rest = memoryview(line)
        try:
            with self.writing:
                while rest:
                    rest = rest[self.process.stdin.write(rest) :]
        except (OSError, ValueError):
            pass

    def end(self, at_once: bool) -> None:
        """Ends the process, which has nothing to do any more unless it must end at once."""
        assert self.process.stdin is not None
        if at_once:
            self.process.terminate()
        try:
            self.process.stdin.close()
        except OSError:
            pass
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def disown(self) -> None:
        """Leaves the process to the parent, after a fork."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        # Nobody here waits for it.
        self.process.returncode = 0


class Connection:
    """The way to a store. Any number of threads may use it at once."""

    def __init__(
        self,
        *,
        binary: Optional[str] = None,
        store: Optional[str] = None,
        directory: "Optional[Union[str, os.PathLike[str]]]" = None,
        environment: Optional[Mapping[str, str]] = None,
    ) -> None:
        self._binary = binary
        # An address may hold a password, which does not belong into an argument.
        self._store = store
        self._directory = directory
        self._environment = environment
        self._closed = False
        self._reset()
        _connections.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._process: Optional[_Process] = None
        self._pending: Dict[int, _Pending] = {}
        self._last = 0

    @property
    def process_id(self) -> Optional[int]:
        """The process that carries requests out at the moment."""
        process = self._process
        return None if process is None else process.process.pid

    def submit(self, request: Mapping[str, Any]) -> "Future[Any]":
        """Sends a request; the future holds the ``data`` of its answer."""
        answer: "Future[Any]" = Future()
        with self._lock:
            if self._closed:
                raise StoreError("STORE_IO", "the client is closed")
            self._last += 1
            number = self._last
            text = json.dumps({"id": number, **request}, ensure_ascii=False, allow_nan=False)
            # A lone surrogate is no text: this is where Python says so.
            pending = _Pending(text.encode() + b"\n", answer)
            if len(pending.line) > LINE_BYTES_MAX:
                raise InvalidError("TOO_LARGE", f"a request of {len(pending.line)} bytes")
            process = self._process or self._start()
            self._pending[number] = pending
        process.write(pending.line)
        return answer

    def _start(self) -> _Process:
        environment = dict(os.environ if self._environment is None else self._environment)
        if self._store is not None:
            environment["COTENANT_STORE"] = self._store
        command = [self._binary or find_binary(), "rpc"]
        try:
            started = subprocess.Popen(
                command,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=self._directory,
                env=environment,
            )
        except OSError as error:
            raise StoreError(
                "SPAWN_FAILED", f"cannot start `{command[0]}`: {error}"
            ) from error
        process = _Process(started)
        self._process = process
        # Without its input it ends, also when nobody closed the connection.
        assert started.stdin is not None
        weakref.finalize(self, started.stdin.close)
        # The listener must not keep the connection alive.
        listener = threading.Thread(
            target=_listen, args=(weakref.ref(self), process), name="cotenant", daemon=True
        )
        listener.start()
        return process

    def _answered(self, line: bytes) -> None:
        envelope = json.loads(line)
        with self._lock:
            pending = self._pending.pop(envelope["id"], None)
        if pending is None or not pending.answer.set_running_or_notify_cancel():
            return
        if envelope.get("ok"):
            pending.answer.set_result(envelope.get("data"))
        else:
            pending.answer.set_exception(error_of(envelope["error"]))

    def _gone(self, process: _Process) -> None:
        """The process is gone: another one gets what it did not answer."""
        failed: Dict[int, _Pending] = {}
        again: List[_Pending] = []
        why: Error = _gone_error(process.process)
        with self._lock:
            if self._process is not process:
                return
            self._process = None
            if self._closed:
                return
            for number, pending in list(self._pending.items()):
                if pending.tries >= TRIES_MAX:
                    failed[number] = self._pending.pop(number)
                else:
                    pending.tries += 1
                    again.append(pending)
            successor: Optional[_Process] = None
            if again:
                try:
                    successor = self._start()
                except StoreError as error:
                    failed.update(self._pending)
                    self._pending.clear()
                    why = error
        for pending in failed.values():
            _fail(pending, why)
        if successor is not None:
            for pending in again:
                successor.write(pending.line)

    def close(self) -> None:
        """Ends the process. What is under way and changes something takes effect or does not."""
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
            pending, self._pending = self._pending, {}
        if process is not None:
            process.end(at_once=bool(pending))
        for one in pending.values():
            _fail(one, StoreError("STORE_IO", "the client was closed meanwhile"))

    def _forked(self) -> None:
        """In the child of a fork: what is under way is the parent's."""
        process = self._process
        self._reset()
        if process is not None:
            process.disown()


def _fail(pending: _Pending, why: Error) -> None:
    if pending.answer.set_running_or_notify_cancel():
        pending.answer.set_exception(why)


def _gone_error(process: "subprocess.Popen[bytes]") -> Error:
    try:
        how = f" (status {process.wait(PATIENCE)})"
    except subprocess.TimeoutExpired:
        process.kill()
        how = ""
    return StoreError(
        "STORE_IO",
        f"the process that carries out requests is gone{how}",
        hint="repeat the request; with the same request id it takes effect once",
        retryable=True,
    )


def _listen(connection: "weakref.ref[Connection]", process: _Process) -> None:
    output = process.process.stdout
    assert output is not None
    rest = b""
    try:
        while True:
            chunk = output.read(_CHUNK)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            ours = connection()
            if ours is None:
                process.end(at_once=False)
                break
            for line in lines:
                ours._answered(line)
            del ours
    except (OSError, ValueError, KeyError):
        # What is no answer comes from no program of ours.
        process.process.kill()
    ours = connection()
    if ours is not None:
        ours._gone(process)
    output.close()


_connections: "weakref.WeakSet[Connection]" = weakref.WeakSet()


def _after_fork() -> None:
    for connection in list(_connections):
        connection._forked()


def _at_exit() -> None:
    for connection in list(_connections):
        connection.close()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
