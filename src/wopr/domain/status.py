"""The state machine: one table from which everything else is derived."""

from __future__ import annotations

from enum import Enum, IntEnum


class TaskStatus(str, Enum):
    """Where a task stands. The values are what is stored and sent; they never change."""

    PENDING = "pending"
    STARTED = "started"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETRY = "retry"

    __str__ = str.__str__


class TaskPriority(IntEnum):
    """How urgent a task is within its category. Higher runs first."""

    LOW = 1
    NORMAL = 2
    HIGH = 3
    CRITICAL = 4


class Move(str, Enum):
    """Why a task changes its status."""

    ADD = "add"
    CLAIM = "claim"
    SUCCEED = "succeed"
    FAIL = "fail"
    RETRY = "retry"
    SNOOZE = "snooze"
    CANCEL = "cancel"
    INTERRUPT = "interrupt"
    RECOVER = "recover"
    RENEW = "renew"
    RELEASE = "release"
    PRIORITIZE = "prioritize"
    TRANSFER = "transfer"
    DELAY = "delay"
    RESTORE = "restore"
    SAVE = "save_task"  # a storage's own call, outside of the state machine

    __str__ = str.__str__


_P, _S, _R = TaskStatus.PENDING, TaskStatus.STARTED, TaskStatus.RETRY
_OK, _F, _C = TaskStatus.SUCCESS, TaskStatus.FAILED, TaskStatus.CANCELLED

TRANSITIONS: dict[tuple[TaskStatus | None, Move], TaskStatus] = {
    (None, Move.ADD): _P,
    (_P, Move.RELEASE): _P,  # what it depends on has ended
    (_P, Move.CLAIM): _S,
    (_R, Move.CLAIM): _S,
    (_S, Move.SUCCEED): _OK,
    (_S, Move.FAIL): _F,
    (_P, Move.FAIL): _F,  # one that it depends on failed
    (_S, Move.RETRY): _R,
    (_S, Move.SNOOZE): _P,  # its function asked to go on later
    (_P, Move.CANCEL): _C,
    (_R, Move.CANCEL): _C,
    (_S, Move.CANCEL): _C,
    (_S, Move.INTERRUPT): _P,  # shutdown or deploy: costs no retry
    (_S, Move.RECOVER): _P,  # the owner died: counts as a crash
    (_F, Move.RENEW): _P,  # retry by hand: a new budget
    (_C, Move.RESTORE): _P,  # its cancel is taken back: it stands where it stood
    (_P, Move.PRIORITIZE): _P,  # these three change what a waiting task waits for
    (_R, Move.PRIORITIZE): _R,
    (_P, Move.TRANSFER): _P,
    (_R, Move.TRANSFER): _R,
    (_P, Move.DELAY): _P,
    (_R, Move.DELAY): _R,
}
"""Every legal move of a task: (status before, move) -> status after."""

TERMINAL: frozenset[TaskStatus] = frozenset({_OK, _F, _C})
CLAIMABLE: frozenset[TaskStatus] = frozenset(
    status for (status, move) in TRANSITIONS if move is Move.CLAIM and status is not None
)
LIVE: frozenset[TaskStatus] = frozenset(TaskStatus) - TERMINAL


def mermaid() -> str:
    """Return the state diagram of :data:`TRANSITIONS` as Mermaid text."""
    lines = ["stateDiagram-v2"]
    for (before, move), after in TRANSITIONS.items():
        source = "[*]" if before is None else before.name
        lines.append(f"    {source} --> {after.name}: {move.value}")
    lines += [f"    {status.name} --> [*]" for status in TaskStatus if status in TERMINAL]
    return "\n".join(lines)
