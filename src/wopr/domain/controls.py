"""Pauses and revocations: what an operator stops at run time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from wopr.domain.checks import check_label
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.limits import check_expression, key_of
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.spoken import local


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Tasks of a category, or of a name, are not started until it is resumed."""

    category: str | None = None
    task: str | None = None
    reason: str = ""
    since: datetime
    by: str = ""
    """Who paused it; the engine that carries it out writes it down."""
    origin: str = ""
    """From where: the program, its process and its machine."""

    @property
    def name(self) -> str:
        """The name of its rule."""
        return f"task {self.task}" if self.category is None else f"category {self.category}"

    @property
    def told(self) -> str:
        """Since when, by whom and why, for people."""
        by = f" by {self.by} ({self.origin})" if self.by else ""
        why = f": {self.reason}" if self.reason else ""
        return f"since {local(self.since)}{by}{why}"

    @property
    def about(self) -> dict[str, str]:
        """Why, by whom and from where, for programs."""
        return {"reason": self.reason, "by": self.by, "origin": self.origin}

    def to_rule(self) -> Rule:
        """Return the row."""
        said = {"category": self.category, "task": self.task, **self.about}
        return Rule(RuleKind.PAUSE, self.name, json.dumps(said), self.since)

    @classmethod
    def from_rule(cls, rule: Rule) -> Pause:
        """Return what a row says.

        Raises:
            ValueError: a value can't be what it has to be.
            TypeError: it has a field that there is not.
        """
        found = cls(**json.loads(rule.value), since=rule.updated_at)
        if (found.category is None) == (found.task is None):
            raise InvalidCallError("A pause is of a category or of a task, not of both or neither.")
        check_label(found.task if found.category is None else found.category, "its name")
        for said in (found.reason, found.by, found.origin):
            _check_reason(said)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """Tasks of a name with these arguments are cancelled instead of started."""

    task: str
    where: Mapping[str, object] = field(default_factory=dict)
    """Expression over the arguments -> the JSON value that it has to give."""
    reason: str = ""
    since: datetime

    @property
    def name(self) -> str:
        """The name of its rule."""
        return f"{self.task} {json.dumps(self.where, sort_keys=True)}" if self.where else self.task

    def to_rule(self) -> Rule:
        """Return the row."""
        said = {"task": self.task, "where": dict(self.where), "reason": self.reason}
        return Rule(RuleKind.REVOCATION, self.name, json.dumps(said), self.since)

    @classmethod
    def from_rule(cls, rule: Rule) -> Revocation:
        """Return what a row says.

        Raises:
            ValueError: a value can't be what it has to be.
            TypeError: it has no task, or a field that there is not.
        """
        found = cls(**json.loads(rule.value), since=rule.updated_at)
        check_label(found.task, "its task")
        _check_reason(found.reason)
        if not isinstance(found.where, dict):
            raise InvalidCallError(f"where must be a JSON object, not {shown(found.where)}.")
        check_where(found.where)
        return found


def check_where(where: Mapping[Any, object]) -> dict[str, Any]:
    """Return what arguments are compared with, if it can be compared and stored.

    Raises:
        InvalidCallError: an expression is none, or a value no JSON.
    """
    if not isinstance(where, Mapping):
        raise InvalidCallError(
            f"where= takes a dict of parameters and the values that they have to have, like "
            f"where={{'customer': 7}}, not {shown(where)}."
        )
    found = {check_expression(key, "where"): value for key, value in where.items()}
    try:
        json.dumps(found, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidCallError(
            f"where= compares with JSON values, the way arguments are stored: {error}."
        ) from None
    return found


def _check_reason(reason: object) -> None:
    if reason != "":
        check_label(reason, "its reason", longest=1_000)


def matches(where: Mapping[str, object], arguments: Mapping[str, object]) -> bool:
    """Whether the arguments of a call are as asked for; 300 and 300.0 are the same."""
    return all(
        _plain(key_of(expression, arguments)) == _plain(json.dumps(value, sort_keys=True))
        for expression, value in where.items()
    )


def _plain(value: str | None) -> str:
    """Return a JSON value in the one form that is compared."""
    if value is None:
        return "null"
    found = json.loads(value)
    return str(int(found)) if isinstance(found, float) and found.is_integer() else value
