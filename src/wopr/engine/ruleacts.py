"""Rules as operators set them: each change is an act, which can be taken back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wopr.config.whoami import this_process
from wopr.domain.act import Act, acting
from wopr.domain.controls import Pause
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.stored import check_rule
from wopr.engine.actbook import ActBook
from wopr.engine.changing import Changed
from wopr.engine.rules import Rules

_SET = {
    RuleKind.LIMIT: "limit",
    RuleKind.PAUSE: "pause",
    RuleKind.REVOCATION: "revoke",
    RuleKind.ALERT: "alert",
    RuleKind.TOKEN: "create-token",
}
_REMOVED = {
    RuleKind.LIMIT: "remove-limit",
    RuleKind.PAUSE: "resume",
    RuleKind.REVOCATION: "unrevoke",
    RuleKind.ALERT: "remove-alert",
    RuleKind.TOKEN: "revoke-token",
}
SETTINGS = frozenset({*_SET.values(), *_REMOVED.values()}) - {"create-token", "revoke-token"}
"""The verbs of these acts that can be taken back: who was shut out stays out."""
_UNSAID = frozenset({"seen", "digest", "session"})
"""What an alert has told stands in its rule, and is no operator's doing; digests are nobody's
business."""


class RuleActs:
    """The rules of one engine, with acts; see :class:`wopr.ports.backend.RuleBackend`."""

    def __init__(self, rules: Rules, book: ActBook) -> None:
        self._rules = rules
        self._book = book
        self.all = rules.all

    async def save(self, rules: Sequence[Rule]) -> None:
        """Add or change rules."""
        before = [self._value(rule.kind, rule.name) for rule in rules]
        rules = [_signed(rule) for rule in rules]
        await self._rules.save(rules)
        for rule, value in zip(rules, before, strict=True):
            await self._note(_SET[rule.kind], rule.kind, rule.name, value)

    async def merge(self, rule: Rule) -> Rule:
        """Change those fields of a rule that its value has; null takes one away."""
        before = self._value(rule.kind, rule.name)
        merged = await self._rules.merge(rule)
        await self._note(_SET[rule.kind], rule.kind, rule.name, before)
        return merged

    async def delete(self, kind: RuleKind, names: Sequence[str]) -> list[Rule]:
        """Delete rules; return those that there were."""
        deleted = await self._rules.delete(kind, names)
        for rule in deleted:
            await self._note(_REMOVED[kind], kind, rule.name, _said(rule))
        return deleted

    async def take_back(self, act: Act, changed: Changed, rule_of: Any) -> None:
        """Give a rule back the value that it had before an act, unless it was changed since."""
        said = json.loads(act.detail)
        kind, name = RuleKind(said["kind"]), said["name"]
        if self._value(kind, name) != said["after"]:
            changed.leave(name, "it was set anew since")
        elif said["before"] is None:
            await self._rules.delete(kind, [name])
            changed.count += 1
        else:
            await self._rules.save([rule_of(kind, name, json.dumps(said["before"]))])
            changed.count += 1

    def _value(self, kind: RuleKind, name: str) -> dict[str, Any] | None:
        rule = self._rules.get(kind, name)
        return None if rule is None else _said(rule)

    async def _note(
        self, verb: str, kind: RuleKind, name: str, before: dict[str, Any] | None
    ) -> None:
        after = self._value(kind, name)
        if before == after:
            return
        detail = {"kind": kind.value, "name": name, "before": before, "after": after}
        reason = str((after or {}).get("reason") or "")
        await self._book.note(verb, {kind.value: name}, detail, reason=reason)


def _signed(rule: Rule) -> Rule:
    """Return a rule in which stands whose it is, where people are told of that.

    Raises:
        InvalidCallError: it can't be read.
    """
    if rule.kind is not RuleKind.PAUSE:
        return rule
    check_rule(rule)
    by = acting.get() or this_process()
    pause = replace(Pause.from_rule(rule), by=by.who, origin=by.origin)
    return replace(rule, value=pause.to_rule().value)


def _said(rule: Rule) -> dict[str, Any]:
    try:
        said: dict[str, Any] = json.loads(rule.value)
    except ValueError:  # one that can't be read, and is being removed
        return {}
    return {key: value for key, value in said.items() if key not in _UNSAID}
