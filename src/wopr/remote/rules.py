"""Rules through the socket: what a client asks, and what the owner answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from wopr.domain.checks import check_label
from wopr.domain.errors import InvalidCallError
from wopr.domain.localtime import as_utc
from wopr.domain.rule import Rule, RuleKind

LONGEST_NAME = 64 * 1024
LONGEST_VALUE = 1024 * 1024


def rule_to_plain(rule: Rule) -> list[Any]:
    """Return a rule as it travels."""
    return [rule.kind.value, rule.name, rule.value, rule.updated_at]


def rule_from_plain(plain: Any) -> Rule:
    """Return a rule that was sent; what it says is not looked at.

    Raises:
        InvalidCallError: it is none.
    """
    try:
        if not isinstance(plain, list):  # who looks at a message before this looks at lists
            raise TypeError("it is no list")
        kind, name, value, updated_at = plain
        check_label(name, "its name", longest=LONGEST_NAME)
        check_label(value, "its value", longest=LONGEST_VALUE)
        return Rule(RuleKind(kind), name, value, as_utc(updated_at, "updated_at"))
    except (ValueError, TypeError) as error:
        raise InvalidCallError(f"{plain!r:.80} is no rule: {error}") from error


class RemoteRules:
    """The client's side."""

    def __init__(self, call: Callable[..., Awaitable[Any]]) -> None:
        self._call = call

    async def all(self, kind: RuleKind) -> list[Rule]:
        """Return the rules of a kind, by name."""
        return [rule_from_plain(plain) for plain in await self._call("rules_all", kind.value)]

    async def save(self, rules: Sequence[Rule]) -> None:
        """Add or change rules."""
        await self._call("rules_save", [rule_to_plain(rule) for rule in rules])

    async def merge(self, rule: Rule) -> Rule:
        """Change those fields of a rule that its value has; null takes one away."""
        return rule_from_plain(await self._call("rules_merge", rule_to_plain(rule)))

    async def delete(self, kind: RuleKind, names: Sequence[str]) -> list[Rule]:
        """Delete rules; return those that there were."""
        deleted = await self._call("rules_delete", kind.value, list(names))
        return [rule_from_plain(plain) for plain in deleted]
