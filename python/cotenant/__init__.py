"""Many coding-agent sessions in one codebase: claims, leases, shared state, nothing lost.

The plain functions act for one session of this process::

    from cotenant import claim, lease, sign_on, store_data

    sign_on(session_id="claude_1")
    claim("issue:15")
    with lease("database_migration", wait=60):
        ...

:class:`Client` is the same for programs with several sessions or stores, :mod:`cotenant.aio` for event
loops. All of them speak to the program ``cotenant``, found by ``COTENANT_BIN`` or in the path.
"""

from ._client import Client, Lease
from ._errors import (
    BusyError,
    ConflictError,
    CursorError,
    Error,
    FencedError,
    InvalidError,
    NotFoundError,
    RightsError,
    SessionError,
    StoreError,
    TakenError,
)
from ._plain import (
    call,
    claim,
    current_session,
    default_client,
    delete_data,
    delete_scope,
    events,
    lease,
    list_scopes,
    log_event,
    retrieve_data,
    sign_off,
    sign_on,
    status,
    store_data,
    unclaim,
    update_data,
    watch,
    who,
)
from ._types import (
    Claimed,
    ClaimedItem,
    Entry,
    Event,
    Guard,
    Guards,
    Holding,
    Signed,
    Status,
    Unclaimed,
    Updated,
    Written,
)

__version__ = "0.1.0"

__all__ = [
    "BusyError",
    "Claimed",
    "ClaimedItem",
    "Client",
    "ConflictError",
    "CursorError",
    "Entry",
    "Error",
    "Event",
    "FencedError",
    "Guard",
    "Guards",
    "Holding",
    "InvalidError",
    "Lease",
    "NotFoundError",
    "RightsError",
    "SessionError",
    "Signed",
    "Status",
    "StoreError",
    "TakenError",
    "Unclaimed",
    "Updated",
    "Written",
    "call",
    "claim",
    "current_session",
    "default_client",
    "delete_data",
    "delete_scope",
    "events",
    "lease",
    "list_scopes",
    "log_event",
    "retrieve_data",
    "sign_off",
    "sign_on",
    "status",
    "store_data",
    "unclaim",
    "update_data",
    "watch",
    "who",
]
