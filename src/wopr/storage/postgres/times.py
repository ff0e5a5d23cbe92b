"""Moments that Python does not have, as answers of the server give them."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def times() -> dict[str, Any]:
    """Return what reads moments, by the name of their type.

    What is before or after all moments that Python has is the first or the last of them, as it is
    in answers of DuckDB.
    """
    from psycopg.errors import DataError
    from psycopg.types.datetime import DateLoader, TimestampLoader, TimestamptzLoader

    def within(loader: Any) -> Any:
        class Within(loader):  # type: ignore[misc]
            def load(self, data: Any) -> Any:
                try:
                    return super().load(data)
                except DataError:
                    text = bytes(data)
                    first = text.startswith(b"-") or text.endswith(b"BC")
                    edge = b"0001-01-01" if first else b"9999-12-31"
                    if loader is not DateLoader:
                        edge += b" 00:00:00" if first else b" 23:59:59.999999"
                    return super().load(edge + (b"+00" if loader is TimestamptzLoader else b""))

        return Within

    loaders = {"date": DateLoader, "timestamp": TimestampLoader, "timestamptz": TimestamptzLoader}
    return {kind: within(loader) for kind, loader in loaders.items()}
