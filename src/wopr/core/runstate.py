"""What the runs of a task tell of it, in the words of ``wopr.scheduler``."""

from __future__ import annotations

from datetime import datetime
from enum import Enum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, PrivateAttr, model_validator

from wopr.domain import status
from wopr.domain.task import TaskInfo

LONGEST_HISTORY = 100
STATE = ("status", "last_success_at", "last_run_at", "result", "error_message", "history")


class TaskStatus(str, Enum):
    """What became of the newest run of a task."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"

    __str__ = str.__str__


_STATUS = {
    status.TaskStatus.PENDING: TaskStatus.PENDING,
    status.TaskStatus.RETRY: TaskStatus.PENDING,
    status.TaskStatus.STARTED: TaskStatus.RUNNING,
    status.TaskStatus.SUCCESS: TaskStatus.SUCCESS,
    status.TaskStatus.FAILED: TaskStatus.FAILED,
    status.TaskStatus.CANCELLED: TaskStatus.FAILED,
}


class RunState(BaseModel):
    """A definition with a state: ``status``, ``result``, ``history`` and so on.

    The state is read from the runs each time it is asked for. Times are aware, in UTC. State
    that the constructor is given is shown until the first run, and decides nothing.
    """

    model_config = ConfigDict(extra="forbid")

    _given: dict[str, Any] = PrivateAttr(default_factory=dict)

    @model_validator(mode="wrap")
    @classmethod
    def _state_is_no_definition(cls, values: Any, make: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(values, dict):
            return make(values)
        made = make({key: value for key, value in values.items() if key not in STATE})
        made.begin_with({key: values[key] for key in STATE if values.get(key) is not None})
        return made

    def begin_with(self, state: dict[str, Any]) -> None:
        """Show this state until the first run."""
        self._given = state

    @property
    def status(self) -> TaskStatus:
        """What became of the newest run."""
        newest = self._newest()
        if newest is None:
            return TaskStatus(self._given.get("status", TaskStatus.PENDING))
        return _STATUS[newest.status]

    @property
    def last_run_at(self) -> datetime | None:
        """When the newest run was found due."""
        newest = self._newest()
        return self._given.get("last_run_at") if newest is None else newest.created_at

    @property
    def last_success_at(self) -> datetime | None:
        """When a run succeeded last."""
        found = (run.completed_at for run in self._runs() if _succeeded(run))
        return next(found, self._given.get("last_success_at"))

    @property
    def result(self) -> Any:
        """What the newest run returned, if it succeeded."""
        newest = self._newest()
        if newest is None:
            return self._given.get("result")
        return newest.result if _succeeded(newest) else None

    @property
    def error_message(self) -> str | None:
        """Why the newest run failed: ``Type: text``."""
        newest = self._newest()
        return self._given.get("error_message") if newest is None else newest.error

    @property
    def history(self) -> list[dict[str, Any]]:
        """The newest 100 runs, the oldest first: ``run_at``, ``status``, ``result``, ``error``."""
        runs = [
            {
                "run_at": run.created_at,
                "status": _STATUS[run.status],
                "result": repr(run.result) if _succeeded(run) else None,
                "error": run.error,
            }
            for run in reversed(self._runs())
        ]
        return [*self._given.get("history", []), *runs][-LONGEST_HISTORY:]

    def _newest(self) -> TaskInfo | None:
        return next(iter(self._runs(1)), None)

    def _runs(self, limit: int = LONGEST_HISTORY) -> list[TaskInfo]:
        """Return the newest runs, the newest first."""
        raise NotImplementedError


def _succeeded(run: TaskInfo) -> bool:
    return run.status is status.TaskStatus.SUCCESS
