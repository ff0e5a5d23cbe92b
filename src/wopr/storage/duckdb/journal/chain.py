"""Which records of the journal a database lacks, and whether all of them are there.

It decides only, and writes nothing.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from wopr.domain.errors import StorageFileError
from wopr.domain.spoken import counted
from wopr.storage.duckdb.journal.format import Group
from wopr.storage.duckdb.journal.scan import Found, groups, journal_elsewhere


@dataclass(frozen=True, slots=True)
class State:
    """What a database, and what was noted beside it, say about its journal."""

    database: bytes
    """Its identity."""
    position: int
    """Of the last record that its tables hold."""
    generation: int
    """Of the segment that was begun when it was opened; 0 after a clean end."""
    remembered: int
    """It was acknowledged up to here at least."""
    synced: bool = True
    """Whether every record was synced before it was acknowledged."""
    moving: Mapping[str, str] = field(default_factory=dict)
    """What it says of a move of the queue to, or from, another home."""


@dataclass(frozen=True, slots=True)
class Chain:
    """The segments that follow each other from where the tables end."""

    position: int
    """Of the last record that the tables hold."""
    last: int
    """Of the last record that was acknowledged."""
    needed: list[tuple[Found, int]] = field(default_factory=list)
    """Each with the byte where it ends."""

    @property
    def torn(self) -> tuple[Found, int] | None:
        """The last segment, if something lies behind its end that was never acknowledged."""
        if self.needed and self.needed[-1][0].torn:
            return self.needed[-1]
        return None

    def groups(self) -> Iterator[Group]:
        """Give the groups that the tables lack, or lack in part."""
        last = self.position
        for found, end in self.needed:
            for group in groups(found, end):
                if group.last > last:
                    yield group
                    last = group.last


def plan(path: Path, state: State, found: Sequence[Found], *, accept: bool = False) -> Chain:
    """Decide what is to be replayed; with ``accept`` as much as fits, whatever else lies there.

    Raises:
        StorageFileError: A part is missing, damaged or of another database; nothing was changed.
    """
    own = [one for one in found if one.header is not None]
    foreign = [one for one in own if one.header and one.header.database != state.database]
    if foreign and not accept:
        raise _foreign(path, foreign[0])
    own = [one for one in own if one not in foreign]
    own.sort(key=_generation)
    last = max((one.last for one in own), default=0)
    if not state.generation:
        if last > state.position and not accept:
            raise _older(path, state, last)
        last = state.position
        needed: list[tuple[Found, int]] = []
    else:
        needed = _needed(path, state, own, accept=accept)
        last = max([state.position, *(one.last for one, _ in needed)])
    last = max(last, state.position)
    if state.remembered > last and state.synced and not accept:
        raise _older(path, state, state.remembered)
    return Chain(state.position, last, needed)


def _generation(found: Found) -> int:
    return found.header.generation if found.header else 0


def _needed(
    path: Path, state: State, own: Sequence[Found], *, accept: bool
) -> list[tuple[Found, int]]:
    """Return the segments from the newest one that begins early enough."""
    begins = [number for number, one in enumerate(own) if _first(one) <= state.position + 1]
    if not begins:
        if accept:
            return []
        raise _missing(path, state, min((_first(one) for one in own), default=None))
    chain = list(own[begins[-1] :])
    needed: list[tuple[Found, int]] = []
    for one, following in zip(chain, [*chain[1:], None], strict=True):
        header = following.header if following is not None else None
        if header is None:
            if one.later and not accept and state.synced:
                raise _damaged(path, one)
            needed.append((one, one.end))
            continue
        gap = header.previous_generation != _generation(one)
        if (accept and gap) or (one.end < header.previous_end and (accept or not state.synced)):
            return [*needed, (one, one.end)]  # what is behind that can't be used
        if gap:
            raise _gap(path, one, header.previous_generation)
        if one.end < header.previous_end:
            raise _damaged(path, one)
        needed.append((one, header.previous_end))
    newest = _generation(chain[-1])
    if newest < state.generation and not accept:
        raise _gap(path, chain[-1], state.generation)
    return needed


def _first(found: Found) -> int:
    return found.header.first if found.header else 0


def _damaged(path: Path, found: Found) -> StorageFileError:
    return StorageFileError(
        f"The journal {found.path} is damaged at byte {found.end}, behind record {found.last}: "
        f"what follows was acknowledged and can't be read. Nothing was changed. Check the disk and "
        f"restore a backup; or, to go on with what {path.name} and the journal hold up to there, "
        f"and without the rest: wopr db accept -d {shlex.quote(str(path))}"
    )


def _gap(path: Path, found: Found, lacking: int) -> StorageFileError:
    return StorageFileError(
        f"A part of the journal of {path} is missing: beside {found.path.name} there should be a "
        f"file of generation {lacking}. It may hold tasks. Nothing was changed. Put all files "
        f"{path.name}.journal-* of one moment back together; or, to go on without it: "
        f"wopr db accept -d {shlex.quote(str(path))}"
    )


def _missing(path: Path, state: State, first: int | None) -> StorageFileError:
    there = (
        f"no file {path.name}.journal-* lies beside it"
        if first is None
        else f"what lies beside it begins with record {first}"
    )
    original = journal_elsewhere(path, state.database) if first is None else None
    lacking = "How many changes came later can't be told from it."
    if original is not None and original[1] > state.position:
        count = original[1] - state.position
        lacking = (
            f"It is a copy of {original[0]}, which is complete: this copy lacks the log of "
            f"{counted(count, 'change')}."
        )
    return StorageFileError(
        f"The journal of {path} is missing: the database holds everything up to record "
        f"{state.position} and was not closed, and {there}. {lacking} Nothing was changed. A queue "
        f"that is open is copied with: wopr backup FILE. What was copied by other means is whole "
        f"together with its journal ({path.name}.journal-*) only; to go on with what this file "
        f"holds: wopr db accept -d {shlex.quote(str(path))}"
    )


def _older(path: Path, state: State, acknowledged: int) -> StorageFileError:
    return StorageFileError(
        f"{path} holds everything up to record {state.position} of its journal, but record "
        f"{acknowledged} was acknowledged here: it is an older copy, as after a backup was put "
        f"back, or the newest part of it is lost. Nothing was changed. If you want to go on from "
        f"the older state: wopr db accept -d {shlex.quote(str(path))}"
    )


def _foreign(path: Path, found: Found) -> StorageFileError:
    return StorageFileError(
        f"The journal {found.path} belongs to another database than {path}. Perhaps the file was "
        f"replaced while the journal of the old one was left. Nothing was changed. Put the two "
        f"that belong together back; or, to go on with this database: "
        f"wopr db accept -d {shlex.quote(str(path))}"
    )
