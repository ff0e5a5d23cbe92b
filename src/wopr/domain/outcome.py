"""What one attempt produced."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The function returned; ``result`` is its value as JSON text."""

    result: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The function raised, or its result could not be stored.

    ``delay`` is the policy's answer: seconds until the next attempt, or ``None``
    when this failure is final.
    """

    error: str
    error_type: str
    traceback: str
    delay: float | None = None
    reason: str | None = None
    roots: str | None = None
    """What tells the causes of such failures apart, if the error's own text does not."""
    counted: bool = True
    """Whether the next attempt uses up a retry."""


@dataclass(frozen=True, slots=True)
class Snoozed:
    """The function asked to go on later, after so many seconds."""

    delay: float
    reason: str = "snoozed"


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The attempt was stopped by a shutdown, not by its own doing."""

    reason: str = "shutdown"


@dataclass(frozen=True, slots=True)
class NotTaken:
    """What was to run the function did not take it; the function has not begun."""

    runner: object
    reason: str


@dataclass(frozen=True, slots=True)
class Unfit:
    """The stored arguments don't fit the function, which has not begun."""

    error: str


Outcome = Succeeded | Failed | Snoozed | Interrupted | NotTaken | Unfit
