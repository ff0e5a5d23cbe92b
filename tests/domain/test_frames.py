"""What is wopr's own: modules, loggers, frames."""

from __future__ import annotations

import sys
import traceback
from types import FrameType, FunctionType, TracebackType

import pytest

from support.paths import SOURCE
from wopr.domain.frames import ours, without_ours

MODULES = sorted(
    ".".join(("wopr", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
)


@pytest.mark.parametrize("module", MODULES)
def test_every_module_of_every_package_is_ours(module: str) -> None:
    assert ours(module)


@pytest.mark.parametrize(
    "name", ["wopr.task", "wopr.task.part", "woprish", "woprish.engine", "shop.wopr.engine", ""]
)
def test_what_an_application_says_or_is_called_is_not_ours(name: str) -> None:
    assert not ours(name)


def frame_in(module: str) -> FrameType:
    """Return a frame of a function of this module."""

    def here() -> FrameType:
        return sys._getframe()

    frame: FrameType = FunctionType(here.__code__, {"sys": sys, "__name__": module})()
    return frame


def trace_through(*modules: str) -> TracebackType | None:
    """Return the traceback of an error that came up through functions of these modules."""
    trace: TracebackType | None = None
    for module in reversed(modules):
        trace = TracebackType(trace, frame_in(module), 0, 1)
    return trace


def modules_of(trace: TracebackType | None) -> list[str]:
    return [frame.f_globals["__name__"] for frame, _ in traceback.walk_tb(trace)]


def raised_through(*modules: str) -> Exception:
    return ValueError("lost").with_traceback(trace_through(*modules))


def test_own_frames_are_cut_off_at_the_beginning_only() -> None:
    error = raised_through("wopr.running.attempt", "wopr.executors.threads", "shop", "wopr", "shop")
    assert ["shop", "wopr", "shop"] == modules_of(without_ours(error))


def test_of_an_error_of_our_own_the_place_is_left_that_it_comes_from() -> None:
    error = raised_through("wopr.running.attempt", "wopr.running.inputs", "wopr.domain.codec")
    assert ["wopr.domain.codec"] == modules_of(without_ours(error))


def test_an_error_with_a_cause_needs_no_frame_of_ours() -> None:
    error = raised_through("wopr.running.attempt", "wopr.executors.process")
    error.__cause__ = KeyError("what a worker process tells")
    assert without_ours(error) is None


def test_there_may_be_no_traceback_at_all() -> None:
    assert without_ours(ValueError("never raised")) is None
