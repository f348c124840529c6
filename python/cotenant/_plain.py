"""Plain functions on one client of this process, for programs that sign on once."""

from __future__ import annotations

import threading
from typing import Any, Dict, Iterator, List, Optional

from ._client import Client, Lease
from ._types import Claimed, Event, Holding, Status, Unclaimed, Updated

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
