"""Refusals and failures as exceptions: one class for each thing that a caller can do about them."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Type

__all__ = [
    "BusyError",
    "ConflictError",
    "CursorError",
    "Error",
    "FencedError",
    "InvalidError",
    "NotFoundError",
    "RightsError",
    "SessionError",
    "StoreError",
    "TakenError",
    "error_of",
]


class Error(Exception):
    """A request that was refused or failed. ``code`` and the names in ``details`` are stable."""

    #: What the caller can do, e.g. ``"CLAIMED"``; a closed set.
    code: str
    #: What is wrong, for people.
    message: str
    #: What to do about it, for people.
    hint: Optional[str]
    #: Facts for programs, e.g. ``holder``.
    details: Dict[str, Any]
    #: Whether the same request can succeed later.
    retryable: bool
    #: After how many seconds that may be.
    retry_after: Optional[float]

    def __init__(
        self,
        code: str,
        message: str,
        *,
        hint: Optional[str] = None,
        details: Optional[Mapping[str, Any]] = None,
        retryable: bool = False,
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message
        self.hint = hint
        self.details = dict(details or {})
        self.retryable = retryable
        self.retry_after = retry_after

    def __str__(self) -> str:
        text = f"{self.message} [{self.code}]"
        return f"{text}\nhint: {self.hint}" if self.hint else text

    def __reduce__(self) -> Any:
        # Pickled as a whole, so that it crosses from one process to another.
        return _again, (type(self), self.code, self.message, self.__dict__)


def _again(kind: Type[Error], code: str, message: str, state: Dict[str, Any]) -> Error:
    error = kind(code, message)
    error.__dict__.update(state)
    return error


class InvalidError(Error):
    """The arguments are wrong."""


class RightsError(Error):
    """The caller is not who it says, or may not do this."""


class NotFoundError(Error):
    """It is not there, or not any more."""


class SessionError(Error):
    """The session has ended or was lost: sign on anew, and stop work that relied on it."""


class FencedError(Error):
    """What should have been held is not held any more: stop this work."""


class TakenError(Error):
    """Somebody else has it; ``details["holder"]`` says who. Later it may be free."""


class ConflictError(Error):
    """Things are not as expected: read them again and decide anew."""


class BusyError(Error):
    """It took too long and had no effect: try again."""


class CursorError(Error):
    """The place in the log is gone or belongs to another log: begin again."""


class StoreError(Error):
    """The store, its disk, its version or the program that opens it."""


_KINDS: Dict[str, Type[Error]] = {
    **dict.fromkeys(("INVALID", "TOO_LARGE", "TYPE_MISMATCH"), InvalidError),
    **dict.fromkeys(("UNAUTHENTICATED", "FORBIDDEN", "UNTRUSTED"), RightsError),
    **dict.fromkeys(("NOT_FOUND", "GONE"), NotFoundError),
    **dict.fromkeys(("SESSION_LOST", "SESSION_ENDED"), SessionError),
    "FENCED": FencedError,
    **dict.fromkeys(
        (
            "HELD",
            "CLAIMED",
            "COOLING",
            "OFFERED",
            "AGENT_BUSY",
            "WORKTREE_BUSY",
            "BRANCH_IN_USE",
        ),
        TakenError,
    ),
    **dict.fromkeys(
        (
            "REV_MISMATCH",
            "CANCELLED",
            "SLOTS_MISMATCH",
            "NOT_OWNER",
            "NOT_DEAD",
            "LIVE_SESSIONS",
            "PATH_EXISTS",
            "DEADLOCK",
            "CYCLE",
            "IDEMPOTENCY_MISMATCH",
            "DIRTY",
            "SALVAGE_FAILED",
        ),
        ConflictError,
    ),
    **dict.fromkeys(("TIMEOUT", "BUSY", "BEHIND", "QUOTA"), BusyError),
    **dict.fromkeys(
        ("COMPACTED", "HISTORY_CHANGED", "CURSOR_AHEAD", "CURSOR_BEHIND"), CursorError
    ),
    **dict.fromkeys(
        (
            "STORE_FULL",
            "STORE_READONLY",
            "STORE_IO",
            "STORE_CORRUPT",
            "STORE_MISSING",
            "STORE_FOREIGN",
            "FS_UNSUPPORTED",
            "CLOCK_DOMAIN",
            "SCHEMA_NEWER",
            "SCHEMA_OLDER",
        ),
        StoreError,
    ),
}


def error_of(body: Mapping[str, Any]) -> Error:
    """The exception of an envelope's ``error``."""
    details = dict(body.get("details") or {})
    hint = details.pop("hint", None)
    retry_after_ms = body.get("retry_after_ms")
    code = str(body.get("code", "INTERNAL"))
    return _KINDS.get(code, Error)(
        code,
        str(body.get("message", "")),
        hint=hint,
        details=details,
        retryable=bool(body.get("retryable")),
        retry_after=None if retry_after_ms is None else retry_after_ms / 1000,
    )
