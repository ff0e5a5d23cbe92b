"""Where a queue is: the path of a file, or the address of a server."""

from __future__ import annotations

import re
from pathlib import Path, PosixPath
from urllib.parse import urlsplit

from wopr.domain.errors import InvalidCallError
from wopr.domain.hosts import is_loopback

_HTTP = re.compile(r"https?://", re.IGNORECASE)
_POSTGRES = re.compile(r"postgres(?:ql)?(?:\+[a-z0-9_]+)?://", re.IGNORECASE)
_POOLER = "pooler="
_QUERIED = re.compile(r"(?i)((?:password|token)=)[^&\s]*")

_PASSWORD = re.compile(r"(?i)([?&])password=[^&]*&?")


class Address(PosixPath):
    """``https://:secret@host/place``, where others have the path of a file.

    As a text it has no secret: that is only in :attr:`whole`.
    """

    whole: str
    """All of it, as it was given."""
    _shown: str

    def __new__(cls, text: str) -> Address:
        """Read an address; :func:`is_address` knows whether a text is one."""
        shown = _without_secret(text)
        new = super().__new__(cls, shown)
        new.whole, new._shown = text, shown
        return new

    def __init__(self, *_: object) -> None:
        if PosixPath.__init__ is not object.__init__:  # from Python 3.12 on it takes the segments
            super().__init__(self._shown)  # type: ignore[call-arg]

    def __str__(self) -> str:
        return self._shown

    def __fspath__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"Address({self._shown!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self.whole == other.whole

    def __hash__(self) -> int:
        return hash(self.whole)

    def __reduce__(self) -> tuple[type[Address], tuple[str]]:
        return Address, (self.whole,)

    def absolute(self) -> Address:
        """Return itself: it counts from no directory."""
        return self


class PostgresAddress(Address):
    """``postgresql://user:secret@host/name``: a database of a PostgreSQL server."""

    @property
    def conninfo(self) -> str:
        """What a client connects with; SQLAlchemy's addresses name a driver, too."""
        begin, mark, query = _POSTGRES.sub("postgresql://", self.whole, count=1).partition("?")
        rest = [one for one in query.split("&") if one and not one.startswith(_POOLER)]
        return begin + (mark + "&".join(rest) if rest else "")

    @property
    def pooler(self) -> str | None:
        """How a pooler in between lends connections, as the address says: ``?pooler=…``."""
        query = urlsplit(self.whole).query.split("&")
        return next((one[len(_POOLER) :] for one in query if one.startswith(_POOLER)), None)

    @property
    def named(self) -> str:
        """The address with the name of the user, and without the password."""
        parts = urlsplit(self.whole)
        user = parts.netloc.rpartition("@")[0].partition(":")[0]
        shown = _PASSWORD.sub(r"\1", str(self).partition("://")[2]).rstrip("?&")
        return f"postgresql://{user}@{shown}" if user else f"postgresql://{shown}"

    def __reduce__(self) -> tuple[type[Address], tuple[str]]:
        return PostgresAddress, (self.whole,)


def _without_secret(text: str) -> str:
    parts = urlsplit(text)
    host = parts.netloc.rpartition("@")[2]  # a token may stand where others have their name
    query = _QUERIED.sub(r"\1***", parts.query)
    return f"{parts.scheme}://{host}{parts.path}{'?' if query else ''}{query}"


def is_address(text: object) -> bool:
    """Whether a text is the address of a server, and no path."""
    return isinstance(text, str) and (_HTTP.match(text) or _POSTGRES.match(text)) is not None


def is_here(address: str) -> bool:
    """Whether an address is ``http://`` of this machine: a proxy could read what is sent there."""
    parts = urlsplit(address)
    return parts.scheme.lower() == "http" and is_loopback(parts.hostname or "")


def check_token(address: str, token: str | None, *, over_http: bool) -> None:
    """Refuse to send a token to another machine for everybody between to read.

    Raises:
        InvalidCallError: the address begins with ``http://`` and is of another machine.
    """
    parts = urlsplit(address)
    host = parts.hostname or ""
    if token is None or over_http or parts.scheme.lower() != "http" or is_loopback(host):
        return
    raise InvalidCallError(
        f"The token would travel to {host!r:.200} over http://, for everybody between to read, so "
        "nothing was sent. Use https://; or reach it through a tunnel: "
        f"ssh -L 8800:127.0.0.1:8800 {host:.200}. In a network that you trust: "
        "WOPR_TASKS_TOKEN_OVER_HTTP=1"
    )


def database_of(given: str | Path) -> Path:
    """Return where a queue is, as it was given: a path, or an :class:`Address`."""
    if isinstance(given, Address):
        return given
    if isinstance(given, str) and is_address(given):
        return PostgresAddress(given) if _POSTGRES.match(given) else Address(given)
    return Path(given)
