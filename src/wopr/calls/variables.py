"""Context variables that go along from the code that enqueues a task to its run."""

from __future__ import annotations

import json
from contextvars import ContextVar
from typing import Any

from wopr.domain.checks import check_label
from wopr.domain.codec import PayloadLimits, encode_plain
from wopr.domain.errors import InvalidCallError, PayloadError, PayloadTooLargeError
from wopr.domain.jsontext import type_name, untag
from wopr.domain.task import TaskRecord

_UNSET: Any = object()


class ContextVariables:
    """The declared variables of one queue, and what carries their values."""

    key = "context"

    def __init__(self, limits: PayloadLimits) -> None:
        self._limits = limits
        self._variables: dict[str, ContextVar[Any]] = {}

    def declare(self, variable: ContextVar[Any], name: str | None) -> None:
        """Carry a variable from now on; its value is stored as ``name``.

        Raises:
            InvalidCallError: it is no context variable, or the name belongs to another one.
        """
        if not isinstance(variable, ContextVar):
            raise InvalidCallError(
                f"propagate() takes a contextvars.ContextVar, not {type_name(variable)}: "
                'tenant = ContextVar("tenant"); queue.propagate(tenant).'
            )
        label = check_label(variable.name if name is None else name, "a context variable's name")
        known = self._variables.setdefault(label, variable)
        if known is not variable:
            raise InvalidCallError(
                f"Another context variable is propagated as {label!r} already. Values are stored "
                f'under that name; give one of them another: propagate(variable, "{label}2").'
            )

    def pack(
        self, name: str, args: str, kwargs: str, results: object = None
    ) -> dict[str, Any] | None:
        """Return the values of those that are set here, as JSON values; ``None`` if none is.

        Raises:
            PayloadError: a value can't be stored.
        """
        values = {}
        for label, variable in self._variables.items():
            value = variable.get(_UNSET)
            if value is not _UNSET:
                values[label] = json.loads(self._text(value, label, name))
        return values or None

    def _text(self, value: object, label: str, task: str) -> str:
        what = f"The context variable {label!r}, which goes along with task {task!r},"
        try:
            return encode_plain(value, what, self._limits.args, self._limits.depth)
        except PayloadTooLargeError:
            raise
        except PayloadError as error:
            raise PayloadError(
                f"{error} Propagate a variable that holds plain values instead, like an id or a "
                "dict of texts."
            ) from error.__cause__

    async def unpack(self, record: TaskRecord, packed: Any | None) -> None:
        """Set the variables for the function. One that nobody declares any more is left out."""
        for label, value in (packed or {}).items():
            variable = self._variables.get(label)
            if variable is not None:
                variable.set(untag(value))
