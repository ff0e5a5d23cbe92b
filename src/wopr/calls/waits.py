"""One waiting task: what it waits for, and what it does when a parent fails."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from wopr.domain.newtask import OnParentFailure
from wopr.domain.snapshot import decode_options, parents_of
from wopr.domain.status import TERMINAL, TaskStatus
from wopr.domain.task import TaskRecord

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Wait:
    """One waiting task."""

    id: str
    on_failure: OnParentFailure
    open: int = 0
    """How many of its parents have not ended."""
    record: TaskRecord | None = None
    """``None``: in the storage only."""
    size: int = 0
    """How many bytes it takes in memory, if it is there."""
    failed: str | None = None
    """The parent that ends it: the first that did not succeed, unless it is to run anyway; or
    the last one of a task that runs only if one failed, and none did."""
    called: bool = False
    """Whether a parent failed that it waits for to fail."""
    stored: bool = False
    """Whether the task itself is on disk, and it is known where its parents stand."""
    leaving: bool = False
    """Whether a transition that ends the waiting is on its way to the disk."""

    def end(self, parent: str, status: TaskStatus) -> None:
        """Note how a parent has ended; what is still open was counted before."""
        if self.on_failure is OnParentFailure.ONLY:
            self.called = self.called or status is TaskStatus.FAILED
            self.failed = None if self.open or self.called else parent
        elif status is not TaskStatus.SUCCESS and self.on_failure is not OnParentFailure.RUN:
            self.failed = self.failed or parent

    @property
    def over(self) -> bool:
        """Whether nothing is left to wait for."""
        return self.stored and not self.leaving and (not self.open or self.failed is not None)


def parents_at(record: TaskRecord, known: dict[str, TaskStatus]) -> dict[str, TaskStatus]:
    """Return where each parent stands.

    One that is gone can't succeed any more; for a task that ran before, it once did. That it
    failed is not known of it.
    """
    gone = TaskStatus.SUCCESS if record.attempt else TaskStatus.CANCELLED
    if on_failure_of(record) is OnParentFailure.ONLY and record.attempt:
        gone = TaskStatus.FAILED
    return {parent: known.get(parent, gone) for parent in parents_of(record)}


def on_failure_of(record: TaskRecord) -> OnParentFailure:
    """Return what a task does when a parent fails; one that can't be read is the usual one."""
    if record.options is None:
        return OnParentFailure.CANCEL
    try:
        options = decode_options(record.options)
        return OnParentFailure(options.get("on_parent_failure", OnParentFailure.CANCEL.value))
    except (ValueError, TypeError, AttributeError) as error:  # e.g. of a newer wopr
        log.error("The on_parent_failure of task %s can't be read: %s", record.id, error)
        return OnParentFailure.CANCEL


def standing(record: TaskRecord, known: dict[str, TaskStatus]) -> Wait:
    """Return how far a task has come that waits, given where its parents stand."""
    wait = Wait(record.id, on_failure_of(record), stored=True)
    parents = parents_at(record, known)
    wait.open = sum(status not in TERMINAL for status in parents.values())
    for parent, status in parents.items():
        if status in TERMINAL:
            wait.end(parent, status)
    return wait
