"""What values of requests and answers may be, each with what the document says of it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field

from wopr.domain.checks import LONGEST_SECONDS
from wopr.domain.status import TaskPriority
from wopr.domain.task import UNLIMITED_RETRIES

_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+([eE][+-]?[0-9]+)?", re.ASCII)
MOST_PAGE = 500
"""So many items a page has at most."""


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("it must not have a NUL character")
    return text


def _no_number(value: Any) -> Any:
    """Leave numbers to who takes them for seconds: pydantic counts them from 1970."""
    if isinstance(value, int | float) or (
        isinstance(value, str) and _NUMBER.fullmatch(value.strip())
    ):
        raise ValueError("a time is like 2030-05-17T12:00:00Z")
    return value


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number of seconds is no switch")
    return value


def _priority(value: Any) -> Any:
    if isinstance(value, str) and value.isascii() and value.upper() in TaskPriority.__members__:
        return int(TaskPriority[value.upper()])
    return value


Label = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_no_nul)]
Reason = Annotated[str, Field(min_length=1, max_length=1_000), AfterValidator(_no_nul)]
Text = Annotated[str, Field(min_length=1, max_length=64 * 1024), AfterValidator(_no_nul)]
Seconds = Annotated[
    float,
    Field(ge=0, le=LONGEST_SECONDS, allow_inf_nan=False),
    BeforeValidator(_no_switch),
]
Moment = Annotated[AwareDatetime, BeforeValidator(_no_number)]
"""A time with its zone."""
Priority = Annotated[
    Literal[1, 2, 3, 4],
    BeforeValidator(
        _priority,
        json_schema_input_type=Literal[
            1, 2, 3, 4, "LOW", "NORMAL", "HIGH", "CRITICAL", "low", "normal", "high", "critical"
        ],
    ),
    Field(description="LOW is 1, NORMAL 2, HIGH 3, CRITICAL 4; higher ones start first."),
]
Retries = Annotated[int, Field(ge=0, le=UNLIMITED_RETRIES)]
Status = Literal["pending", "started", "success", "failed", "cancelled", "retry"]
Verb = Literal["cancel", "retry", "run-again", "set-priority", "move", "delay"]
Cursor = Annotated[
    str | None,
    Field(max_length=200, description="`next` of the page before; without it, the first page."),
]
Limit = Annotated[int, Field(ge=1, le=MOST_PAGE, description="At most so many on the page.")]
When = Moment | Seconds
"""A time with its zone, or so many seconds ago."""
At = Annotated[
    When | None,
    Field(description="As of a time with its zone, or so many seconds ago; without it, now."),
]
Time = datetime | None
