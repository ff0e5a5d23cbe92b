"""What a face of the queue has: the core, and nothing else."""

from __future__ import annotations

from typing import Protocol

from wopr.core.core import Core


class HasCore(Protocol):
    """Something with a core: a queue, or a face of one."""

    _core: Core


class Face:
    """A part of what applications call. All that it has is the core; no face calls another."""

    _core: Core


def inside(queue: HasCore) -> Core:
    """Return the core of a queue, for those packages of wopr that look inside of one."""
    return queue._core
