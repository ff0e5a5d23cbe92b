"""One queue for all seeds."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from simulation.universe import Universe, new_universe


@pytest.fixture(scope="module")
def universe() -> Iterator[Universe]:
    """Return a queue with tasks of every kind; what it logs of its faults is nobody's business."""
    logger = logging.getLogger("wopr")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield new_universe()
    logger.setLevel(before)
