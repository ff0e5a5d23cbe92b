"""Which connection a name stands for that means another one in each thread."""

from __future__ import annotations

from typing import Any


def present(connection: Any) -> Any:
    """Return the connection that is meant here and now: the caller's, whatever thread goes on.

    ``django.db.connection`` and the scoped sessions of SQLAlchemy are another one elsewhere.
    """
    kinds = {
        (kind.__module__.partition(".")[0], kind.__name__) for kind in type(connection).__mro__
    }
    if ("django", "ConnectionProxy") in kinds:
        inside = vars(connection)
        return inside["_connections"][inside["_alias"]]
    if kinds & {("sqlalchemy", "scoped_session"), ("sqlalchemy", "async_scoped_session")}:
        return connection()
    return connection
