"""What an error of DuckDB says about its cause."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import duckdb

from wopr.domain.errors import StorageFileError

_MEMORY = ("failed to pin block", "could not allocate block", "failed to allocate data")
"""What a checkpoint says, whose error is a fatal one."""


def lacks_memory(error: Exception) -> bool:
    """Whether the memory limit, which queries share, was the cause."""
    text = str(error)
    return type(error).__name__ == "OutOfMemoryException" or any(sign in text for sign in _MEMORY)


def may_be_the_rows(error: Exception) -> bool:
    """Whether one bad row of a batch can have caused the error, rather than the disk."""
    name = type(error).__name__
    return isinstance(error, TypeError | ValueError | OverflowError | LookupError) or name in {
        "ConversionException",
        "InvalidInputException",
        "ConstraintException",
    }


_FATAL = ("database has been invalidated", "FATAL Error", "INTERNAL Error")


def is_fatal(error: BaseException) -> bool:
    """Return whether the error, or what caused it, made the open database unusable."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (duckdb.FatalException, duckdb.InternalException)):
            return True
        quotes = isinstance(cause, duckdb.ProgrammingError | duckdb.DataError)  # a query's text
        says = isinstance(cause, duckdb.Error) and any(sign in str(cause) for sign in _FATAL)
        if says and not quotes:
            return True
        cause = cause.__cause__
    return False


def is_others_fault(error: BaseException) -> bool:
    """Return whether a read may succeed another time, or elsewhere.

    Another one took the memory, made the database unusable, or was in the way of a commit, for
    whose sake all were interrupted.
    """
    cause = error.__cause__
    if was_interrupted(error):
        return True
    return is_fatal(error) or (isinstance(cause, Exception) and lacks_memory(cause))


def was_interrupted(error: BaseException) -> bool:
    """Return whether a read was stopped, as all are for the sake of a commit."""
    return isinstance(error.__cause__, duckdb.InterruptException)


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Let what DuckDB or the system refuses be told as an error of the storage.

    Raises:
        StorageFileError: it begins with ``what``; nothing is left of what was begun.
    """
    try:
        yield
    except (duckdb.Error, OSError) as error:
        help_out = "Free some space if that is the reason, or name a directory on another disk."
        if lacks_memory(error):
            help_out = "Raise WOPR_TASKS_MEMORY_LIMIT."
        raise StorageFileError(
            f"{what}, because: {str(error).rstrip('.')}. Nothing is left of it. {help_out}"
        ) from error
