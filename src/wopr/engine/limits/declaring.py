"""The rules of limits follow the code, where and when tasks are about to start."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from wopr.domain.declaredlimits import followed
from wopr.domain.errors import WoprError
from wopr.domain.guarded import type_name
from wopr.domain.limits import Limit
from wopr.domain.rule import Rule, RuleKind
from wopr.engine.pools.pool import Pool
from wopr.engine.rules import Rules
from wopr.engine.shared import Shared

log = logging.getLogger(__name__)

BACK_OFF = 0.5
HOLD = "declared limits"


class Declaring:
    """Stores what the tasks of a category declare, before its workers start."""

    def __init__(self, shared: Shared, rules: Rules, pool: Callable[[str], Pool]) -> None:
        self._shared = shared
        self._rules = rules
        self._pool = pool
        self._late: set[asyncio.Task[None]] = set()
        self._told: set[Limit] = set()
        """What was said to differ from what the code declares; once each."""

    async def follow(self, category: str) -> None:
        """Bring the rules of a category up to what the code declares, which is all there is.

        Raises:
            StorageError: nothing has changed.
        """

        def change(rules: list[Rule]) -> tuple[list[Rule], list[str]]:
            new, gone = followed(_stored(rules, category), self._declared(category))
            now = self._shared.clock.now()
            return [Rule(RuleKind.LIMIT, one.name, one.to_json(), now) for one in new], gone

        if any(change(self._rules.of(RuleKind.LIMIT))):  # else it takes no turn of the loop
            await self._rules.follow(RuleKind.LIMIT, change)
        for one in _stored(self._rules.of(RuleKind.LIMIT), category).values():
            if one.differs and one.declared is not None and one not in self._told:
                self._told.add(one)
                log.warning(
                    "The limit of %s is %s, as it was set at run time; the code declares %s, "
                    "which does not count. To take that over: wopr limits set, with its values.",
                    one.name,
                    one.describe(),
                    one.declared.describe(),
                )

    def _declared(self, category: str) -> list[Limit]:
        definitions = self._shared.registry.definitions.values()
        return [
            one.limit for one in definitions if one.category == category and one.limit is not None
        ]

    def registered(self, name: str) -> None:
        """Follow a task that is declared while workers of its category run already."""
        definition = self._shared.registry.definitions.get(name)
        if definition is None or definition.limit is None:
            return
        pool = self._pool(definition.category)
        if pool.workers:
            why = f"{HOLD} of {name}"
            pool.hold(why)
            task = self._shared.loop.create_task(self._follow_late(pool, why))
            self._late.add(task)
            task.add_done_callback(self._late.discard)

    async def _follow_late(self, pool: Pool, why: str) -> None:
        while True:
            try:
                await self.follow(pool.category)
                break
            except Exception as error:
                log.error(
                    "Category %r starts nothing yet: its declared limits: %s: %s",
                    pool.category,
                    type_name(error),
                    error,
                    exc_info=None if isinstance(error, WoprError) else error,
                )
                await asyncio.sleep(BACK_OFF)
        pool.let_go_on(why)

    async def close(self) -> None:
        """Stop; the next start of workers follows the code."""
        for task in list(self._late):
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)


def _stored(rules: Iterable[Rule], category: str) -> dict[str, Limit]:
    """Return the limits of tasks in a category, by name."""
    limits = [Limit.from_json(rule.value) for rule in rules]
    return {one.name: one for one in limits if one.category == category and one.task is not None}
