"""Acts whose owner goes: what was not begun is asked of the next one, what may be done is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from wopr.domain.errors import OwnerGoneError, OwnerLeavingError
from wopr.remote.caller import Caller
from wopr.remote.verbs import ONCE


class Going(Caller):
    """The connection to an owner that goes."""

    def __init__(self, database: Path, error: OwnerGoneError) -> None:
        super().__init__(database, 1.0, self._next)
        self.error = error
        self.carried: list[str] = []

    async def _next(self, seconds: float | None, verb: str, params: tuple[Any, ...]) -> Any:
        self.carried.append(verb)
        return "done"

    async def ask(self, seconds: float | None, verb: str, params: Sequence[Any]) -> Any:
        raise self.error


@pytest.mark.parametrize("verb", sorted(ONCE))
async def test_an_act_that_may_have_been_done_is_not_done_twice(tmp_path: Path, verb: str) -> None:
    caller = Going(tmp_path / "q.duckdb", OwnerGoneError("it was killed"))

    with pytest.raises(OwnerGoneError):
        await caller._call(verb)

    assert caller.carried == []


@pytest.mark.parametrize("verb", sorted(ONCE))
async def test_an_act_that_was_not_begun_is_done_by_the_next_owner(
    tmp_path: Path, verb: str
) -> None:
    caller = Going(tmp_path / "q.duckdb", OwnerLeavingError("it was not begun"))

    assert await caller._call(verb) == "done"
    assert caller.carried == [verb]
