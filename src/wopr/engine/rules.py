"""The rules in memory: loaded at opening, changed on disk first."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from wopr.domain.declaredlimits import lifted
from wopr.domain.errors import InvalidCallError
from wopr.domain.limits import Limit, check_place
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.stored import check_rule, json_of
from wopr.engine.shared import Shared, to_its_end

log = logging.getLogger(__name__)


class Rules:
    """All rules of one engine. Reads are from memory, so they cost nothing."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._rules: dict[tuple[RuleKind, str], Rule] = {}
        self._aside: dict[tuple[RuleKind, str], Rule] = {}
        """Stored ones that can't be read: they count for nothing until they are replaced."""
        self._listeners: dict[RuleKind, list[Callable[[], None]]] = {}
        self._changing = asyncio.Lock()

    async def load(self) -> None:
        """Take over what the storage has, and tell all listeners."""
        self._rules, self._aside = {}, {}
        for rule in await self._shared.storage.rules():
            try:
                check_rule(rule)
            except InvalidCallError as error:
                self._aside[rule.kind, rule.name] = rule
                log.error("%s. It does not count. Set it anew, or remove it.", error)
            else:
                self._rules[rule.kind, rule.name] = rule
        for kind in self._listeners:
            self._changed(kind)

    def on_change(self, kind: RuleKind, listener: Callable[[], None]) -> None:
        """Call ``listener`` after rules of a kind were loaded or changed."""
        self._listeners.setdefault(kind, []).append(listener)

    async def all(self, kind: RuleKind) -> list[Rule]:
        """Return the rules of a kind, by name."""
        return self.of(kind)

    def of(self, kind: RuleKind) -> list[Rule]:
        """Return the rules of a kind, by name."""
        return [self._rules[key] for key in sorted(self._rules) if key[0] is kind]

    def get(self, kind: RuleKind, name: str) -> Rule | None:
        """Return a rule, if there is one."""
        return self._rules.get((kind, name))

    async def save(self, rules: Sequence[Rule]) -> None:
        """Add or change rules.

        Raises:
            InvalidCallError: one can't be read; nothing has changed.
            StorageError: nothing has changed.
        """
        await to_its_end(self._save(list(rules)))

    async def merge(self, rule: Rule) -> Rule:
        """Change those fields of a rule that its value has; null takes one away.

        Raises:
            InvalidCallError: it could not be read then; nothing has changed.
            StorageError: nothing has changed.
        """
        return await to_its_end(self._merge(rule))

    async def _merge(self, rule: Rule) -> Rule:
        async with self._changing:
            known = self.get(rule.kind, rule.name)
            changes = json_of(rule.value, dict, f"What is changed of {rule.name!r:.80}")
            fields = {**json.loads(known.value if known else "{}"), **changes}
            value = json.dumps({name: one for name, one in fields.items() if one is not None})
            merged = replace(rule, value=value)
            await self._write([merged])
        return merged

    async def _save(self, rules: Sequence[Rule]) -> None:
        """Go on though the caller is gone: memory has to say what the disk says."""
        async with self._changing:
            await self._write(rules)

    async def _write(self, rules: Sequence[Rule]) -> None:
        for rule in rules:  # before it is on disk: from there it is read at every opening
            check_rule(rule)
            if rule.kind is RuleKind.LIMIT and (known := self.get(rule.kind, rule.name)):
                check_place(Limit.from_json(rule.value), Limit.from_json(known.value))
        await self._shared.storage.save_rules(rules)
        for rule in rules:
            self._rules[rule.kind, rule.name] = rule
            self._aside.pop((rule.kind, rule.name), None)
        for kind in {rule.kind for rule in rules}:
            self._changed(kind)

    async def delete(self, kind: RuleKind, names: Sequence[str]) -> list[Rule]:
        """Delete rules; return those that there were. Of what is declared, the declaration stays.

        Raises:
            StorageError: nothing has changed.
        """
        return await to_its_end(self._delete(kind, list(names)))

    async def _delete(self, kind: RuleKind, names: Sequence[str]) -> list[Rule]:
        async with self._changing:
            stored = self._aside | self._rules
            found = [rule for name in names if (rule := stored.get((kind, name))) is not None]
            left = {rule.name: one for rule in found if (one := lifted(rule)) is not None}
            found = [rule for rule in found if left.get(rule.name) != rule]  # it is lifted already
            if changed := [left[rule.name] for rule in found if rule.name in left]:
                await self._write(changed)
            await self._drop(kind, [rule.name for rule in found if rule.name not in left])
        return found

    async def _drop(self, kind: RuleKind, names: Sequence[str]) -> None:
        if names:
            await self._shared.storage.delete_rules([(kind, name) for name in names])
            for name in names:
                self._rules.pop((kind, name), None)
                self._aside.pop((kind, name), None)
            self._changed(kind)

    async def follow(
        self, kind: RuleKind, change: Callable[[list[Rule]], tuple[list[Rule], list[str]]]
    ) -> None:
        """Write and delete what ``change`` makes of the rules of a kind.

        Raises:
            StorageError: nothing of what failed has changed.
        """
        await to_its_end(self._follow(kind, change))

    async def _follow(
        self, kind: RuleKind, change: Callable[[list[Rule]], tuple[list[Rule], list[str]]]
    ) -> None:
        async with self._changing:
            new, gone = change(self.of(kind))
            if new:
                await self._write(new)
            await self._drop(kind, gone)

    def _changed(self, kind: RuleKind) -> None:
        for listener in self._listeners.get(kind, ()):
            listener()
