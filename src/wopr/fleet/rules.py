"""Limits, pauses and revocations: rows that all hosts share, and what this host knows of them.

Pauses are looked at in the statement that claims. Limits and revocations are known here, and who
does not know the newest claims nothing until it does: each change is called out.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any

from wopr.domain.controls import Revocation
from wopr.domain.declaredlimits import followed, lifted
from wopr.domain.errors import InvalidCallError
from wopr.domain.limits import Limit, check_place
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.stored import check_rule, json_of
from wopr.fleet.doubt import deciding
from wopr.fleet.parts import Parts, logged
from wopr.storage.postgres import statements

log = logging.getLogger(__name__)

Change = Callable[[dict[tuple[RuleKind, str], Rule]], "tuple[list[Rule], list[Rule]]"]
"""What is to be written, and what deleted, given what there is."""


class FleetRules:
    """The rules of the fleet. Each answer is durable."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.limits: dict[str, list[Limit]] = {}
        """By category."""
        self.revoked: dict[str, list[Revocation]] = {}
        """By the name of the task."""
        self.version = ""
        """The number of their newest change, as far as this host knows."""
        self._known: dict[tuple[RuleKind, str], Rule] = {}
        self._complained: set[str] = set()

    async def load(self) -> None:
        """Take over what the rows say now."""
        limits: dict[str, list[Limit]] = {}
        revoked: dict[str, list[Revocation]] = {}
        version, rules = await self._rows()
        readable = _readable(rules, self._complained)
        self._known = {(rule.kind, rule.name): rule for rule in readable}
        for rule in readable:
            if rule.kind is RuleKind.LIMIT:
                limit = Limit.from_json(rule.value)
                limits.setdefault(limit.category, []).append(limit)
            elif rule.kind is RuleKind.REVOCATION:
                one = Revocation.from_rule(rule)
                revoked.setdefault(one.task, []).append(one)
        changed, self.version = self.version != version, version
        self.limits, self.revoked = limits, revoked
        if changed:
            for category in self._parts.categories():
                self._parts.wake(category, None)

    def get(self, kind: RuleKind, name: str) -> Rule | None:
        """Return a rule, as far as this host knows."""
        return self._known.get((kind, name))

    def known(self, kind: RuleKind) -> list[Rule]:
        """Return the rules of a kind, as far as this host knows."""
        return [rule for rule in self._known.values() if rule.kind is kind]

    async def all(self, kind: RuleKind) -> list[Rule]:
        """Return the rules of a kind, by name."""
        _, rules = await self._rows()
        found = _readable(rules, self._complained)
        return [rule for rule in found if rule.kind is kind]

    async def save(self, rules: Sequence[Rule]) -> None:
        """Add or change rules.

        Raises:
            InvalidCallError: one can't be read, or does not count here; nothing has changed.
        """
        await self._change(lambda known: (list(rules), []))

    async def merge(self, rule: Rule) -> Rule:
        """Change those fields of a rule that its value has; null takes one away."""
        changes = json_of(rule.value, dict, f"What is changed of {rule.name!r:.80}")

        def change(known: dict[tuple[RuleKind, str], Rule]) -> tuple[list[Rule], list[Rule]]:
            before = known.get((rule.kind, rule.name))
            fields = {**json.loads(before.value if before else "{}"), **changes}
            value = json.dumps({name: one for name, one in fields.items() if one is not None})
            return [replace(rule, value=value)], []

        return (await self._change(change))[0][0]

    async def delete(self, kind: RuleKind, names: Sequence[str]) -> list[Rule]:
        """Delete rules; return those that there were. What the code declares of them stays."""
        found: list[Rule] = []

        def change(known: dict[tuple[RuleKind, str], Rule]) -> tuple[list[Rule], list[Rule]]:
            rules = [known[kind, name] for name in names if (kind, name) in known]
            left = {rule.name: one for rule in rules if (one := lifted(rule)) is not None}
            gone = [rule for rule in rules if left.get(rule.name) != rule]
            found[:] = gone or found  # of the last try, if it was not heard that it had ended
            kept = [left[rule.name] for rule in gone if rule.name in left]
            return kept, [rule for rule in gone if rule.name not in left]

        await self._change(change)
        return found

    async def follow(self, category: str) -> None:
        """Bring the limits of a category up to what its tasks declare, all of which are here."""
        definitions = self._parts.registry.definitions.values()
        declared = [
            one.limit for one in definitions if one.category == category and one.limit is not None
        ]
        now = self._parts.clock.now()

        def change(known: dict[tuple[RuleKind, str], Rule]) -> tuple[list[Rule], list[Rule]]:
            limits = [
                (rule, Limit.from_json(rule.value))
                for (kind, _), rule in known.items()
                if kind is RuleKind.LIMIT
            ]
            stored = {
                limit.name: limit
                for _, limit in limits
                if limit.category == category and limit.task is not None
            }
            new, gone = followed(stored, declared)
            rules = [Rule(RuleKind.LIMIT, one.name, one.to_json(), now) for one in new]
            return rules, [rule for rule, limit in limits if limit.name in gone]

        await self._change(change)

    # -- inside -------------------------------------------------------------

    async def _rows(self, connection: Any = None) -> tuple[str, list[Rule]]:
        if connection is None:
            rows = await self._parts.store.connections.rows(statements.RULES)
        else:
            rows = await (await connection.execute(statements.RULES)).fetchall()
        rules = [
            Rule(RuleKind(kind), name, value, at.replace(tzinfo=UTC))
            for kind, name, value, at in rows[1:]
        ]
        return rows[0][1], rules

    async def _change(self, change: Change) -> tuple[list[Rule], list[Rule]]:
        """Write and delete what ``change`` makes of the rules, as nobody else changes them."""

        async def work(connection: Any) -> tuple[list[Rule], list[Rule]]:
            async with connection.transaction():
                await connection.execute(statements.LOCK_RULES)
                _, rules = await self._rows(connection)
                known = {(rule.kind, rule.name): rule for rule in rules}
                new, gone = change(known)
                for rule in new:
                    _check(rule, known)
                    at = rule.updated_at.astimezone(UTC).replace(tzinfo=None)
                    values = {"kind": rule.kind.value, "name": rule.name, "value": rule.value}
                    await connection.execute(statements.SAVE_RULE, {**values, "updated_at": at})
                for rule in gone:
                    gone_one = {"kind": rule.kind.value, "names": [rule.name]}
                    await connection.execute(statements.DELETE_RULES, gone_one)
                if new or gone:
                    await connection.execute(statements.RULES_CHANGED)
            return new, gone

        with deciding("the rules", "wopr status"):
            new, gone = await self._parts.store.connections.run(work)
        if new or gone:
            self._parts.bell.rules()
            with logged("The new rules count, and this host takes them over at its next look"):
                await self.load()
        return new, gone


def _check(rule: Rule, known: dict[tuple[RuleKind, str], Rule]) -> None:
    check_rule(rule)
    if rule.kind is not RuleKind.LIMIT:
        return
    limit = Limit.from_json(rule.value)
    if (before := known.get((rule.kind, rule.name))) is not None:
        check_place(limit, Limit.from_json(before.value))
    for name in ("fair_by", "aging"):
        if getattr(limit, name) is not None:
            raise InvalidCallError(
                f"{name}={getattr(limit, name)!r} of category {limit.category!r}: on PostgreSQL "
                "tasks start by priority, then in the order of enqueueing; concurrency, rate and "
                "backlog can be set. Nothing has changed."
            )


def _readable(rules: Sequence[Rule], complained: set[str]) -> list[Rule]:
    """Return the rules that can be read; of the others it is said once that they don't count."""
    found = []
    for rule in rules:
        try:
            check_rule(rule)
        except InvalidCallError as error:
            if str(error) not in complained:
                complained.add(str(error))
                log.error("%s. It does not count. Set it anew, or remove it.", error)
        else:
            found.append(rule)
    return found
