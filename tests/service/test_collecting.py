"""A worker's process collects garbage less often, as far as the application did not say more."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from wopr.service.collecting import OBJECTS, collecting_seldom


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize(
    ("set_before", "inside"), [(700, OBJECTS), (50_000, 50_000), (0, 0)], ids=str
)
def test_the_youngest_are_looked_through_less_often(set_before: int, inside: int) -> None:
    gc.set_threshold(set_before, 7, 9)
    frozen = gc.get_freeze_count()
    with collecting_seldom():
        assert (inside, 7, 9) == gc.get_threshold()
        assert gc.get_freeze_count() > frozen
    assert (set_before, 7, 9) == gc.get_threshold()
    assert not gc.get_freeze_count()
