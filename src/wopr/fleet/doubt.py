"""What an error of a call says came of it: done, not done, or unknown, and where to look."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from wopr.domain.errors import StorageError
from wopr.domain.spoken import counted

_LOOK = "look it up before you repeat it: wopr tasks show "


def unsaid(error: StorageError, ids: Sequence[str]) -> StorageError:
    """Return the error of an enqueue with what came of its tasks, as far as that is known."""
    if not error.in_doubt:
        return _with(error, "Nothing was enqueued by it.")
    if len(ids) == 1:
        return _with(error, f"It is not known whether task {ids[0]} was enqueued: {_LOOK}{ids[0]}")
    return _with(
        error,
        f"It is not known whether {counted(len(ids), 'task')} were enqueued, all of them or none: "
        f"look the first one up before you repeat it: wopr tasks show {ids[0]}",
    )


def so_far(error: StorageError, added: int, of: int) -> StorageError:
    """Return the error of an enqueue of many with how many of them are there for sure."""
    return _with(error, f"Before it, {added:,} of {counted(of, 'task')} were enqueued.")


@contextlib.contextmanager
def changing(task_id: str, verb: str) -> Iterator[None]:
    """Let an error of a change say what came of it, as far as that is known."""
    try:
        yield
    except StorageError as error:
        said = f"Task {task_id} was not {verb}: nothing was changed."
        if error.in_doubt:
            said = f"It is not known whether task {task_id} was {verb}: {_LOOK}{task_id}"
        raise _with(error, said) from error


def acted(error: StorageError, changed: int) -> StorageError:
    """Return the error of an act with how far it came for sure."""
    said = f"Before it, {counted(changed, 'task')} were changed"
    if error.in_doubt:
        said += "; of the next ones it is not known"
    return _with(error, f"{said}. The act once more changes those that are left: wopr acts")


@contextlib.contextmanager
def deciding(what: str, command: str) -> Iterator[None]:
    """Let an error of what operators set say what came of it, as far as that is known."""
    try:
        yield
    except StorageError as error:
        said = f"Nothing was changed of {what}."
        if error.in_doubt:
            said = f"It is not known whether {what} were changed; see: {command}"
        raise _with(error, said) from error


def _with(error: StorageError, more: str) -> StorageError:
    if type(error) is not StorageError:  # one that says by its kind what it is
        return error
    made = StorageError(f"{error} {more}")
    made.in_doubt, made.unreached = error.in_doubt, error.unreached
    return made
