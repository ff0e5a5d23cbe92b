"""What an alert is about, and what it needs to know."""

from __future__ import annotations

from enum import Enum
from fnmatch import fnmatchcase
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from wopr.domain.checks import check_label
from wopr.domain.level import NotificationLevel

EVERY_SECONDS = 300.0


class AlertCondition(str, Enum):
    """What an alert waits for. The values are what is stored."""

    FAILURE = "failure"
    """An attempt failed."""
    FINAL_FAILURE = "final_failure"
    """A task failed for good."""
    RECOVERY = "recovery"
    """The first success after at least ``threshold`` failed attempts of that name."""
    SLOW = "slow"
    """A run takes longer than ``threshold`` seconds."""
    BACKLOG_AGE = "backlog_age"
    """The oldest due task of a category has waited longer than ``threshold`` seconds."""
    BACKLOG_SIZE = "backlog_size"
    """More than ``threshold`` due tasks of a category wait."""
    SCHEDULE_MISSED = "schedule_missed"
    """A schedule left occurrences out because they were too late."""

    __str__ = str.__str__


_C = AlertCondition
ON_EVENTS = {_C.FAILURE, _C.FINAL_FAILURE, _C.RECOVERY, _C.SLOW}
ON_BACKLOG = {_C.BACKLOG_AGE, _C.BACKLOG_SIZE}
_NEEDS_THRESHOLD = {_C.SLOW, _C.BACKLOG_AGE, _C.BACKLOG_SIZE}
_COUNTS = {_C.RECOVERY, _C.BACKLOG_SIZE}
_LEVELS = {
    _C.FINAL_FAILURE.value: NotificationLevel.ERROR,
    _C.RECOVERY.value: NotificationLevel.INFO,
}


_Label = Annotated[str, AfterValidator(lambda text: check_label(text, "it"))]


class AlertRule(BaseModel):
    """One alert."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: _Label
    when: AlertCondition
    task: _Label | None = None
    category: _Label | None = None
    level: NotificationLevel = NotificationLevel.WARNING
    threshold: float | None = Field(default=None, ge=0)
    every: float = Field(default=EVERY_SECONDS, ge=1, le=366 * 86_400)
    emits: _Label = "alerts"
    seen: dict[str, int] = Field(default_factory=dict)
    """``schedule_missed``: what has been told already, by schedule."""

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, values: Any) -> Any:
        """Take the level that suits the condition, unless one is given."""
        if isinstance(values, dict) and values.get("level") is None:
            level = _LEVELS.get(str(values.get("when")), NotificationLevel.WARNING)
            return {**values, "level": level}
        return values

    @model_validator(mode="after")
    def _fits(self) -> Self:
        when = self.when.value
        if self.threshold is None and self.when in _NEEDS_THRESHOLD:
            unit = "tasks" if self.when is _C.BACKLOG_SIZE else "seconds"
            raise ValueError(f"{when} needs a threshold, in {unit}")
        if self.threshold is not None and self.when not in _NEEDS_THRESHOLD | _COUNTS:
            raise ValueError(f"{when} has no threshold")
        if self.threshold is not None and self.when in _COUNTS and self.threshold % 1:
            raise ValueError(f"the threshold of {when} must be a whole number")
        if self.task is not None and self.when in ON_BACKLOG:
            raise ValueError(f"{when} is about a whole category: leave task= out")
        return self

    @property
    def limit(self) -> float:
        """The threshold; 1 where none is needed."""
        return 1.0 if self.threshold is None else self.threshold

    def about(self, task: str, category: str) -> bool:
        """Whether the alert is about a task of this name and category."""
        if self.category is not None and self.category != category:
            return False
        return self.task is None or fnmatchcase(task, self.task)


def reasons(error: ValidationError) -> str:
    """Return what is wrong with an alert, without what was given."""
    return "; ".join(
        ": ".join([*map(str, item["loc"]), item["msg"].removeprefix("Value error, ")])
        for item in error.errors(include_url=False, include_input=False, include_context=False)
    )
