"""Cancel what waits and runs, by name and by what it was called with."""

from __future__ import annotations

import json
import logging
from datetime import datetime

from wopr.domain.change import Change, Decision, Verb, decision
from wopr.domain.controls import Revocation
from wopr.domain.rule import Rule
from wopr.domain.spoken import counted
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.engine.acts import Acts
from wopr.engine.controls import Controls

log = logging.getLogger(__name__)

LOOK_SECONDS = 600.0
"""So long it may take to find them; nobody's SQL is asked."""


class Revoking:
    """The revocations of one engine that are carried out at once: acts like others."""

    def __init__(self, controls: Controls, acts: Acts) -> None:
        self._controls = controls
        self._acts = acts

    async def revoke_live(self, rule: Rule) -> int:
        """Cancel the tasks that a revocation is about, waiting and running; return how many.

        Raises:
            InvalidCallError: it asks for arguments, and nobody here knows their names.
        """
        revocation = Revocation.from_rule(rule)
        await self._controls.check_known(revocation)

        def decide(act: int) -> Decision:
            cancel = decision(Change(verb=Verb.CANCEL, reason=revocation.reason), act)

            def made(record: TaskRecord, now: datetime) -> Transition | str:
                if not self._controls.is_about(revocation, record):
                    return "it was called with something else"
                return cancel(record, now)

            return made

        where = json.dumps({"where": dict(revocation.where)} if revocation.where else {})
        ended = await self._acts.revoke(
            revocation.task, revocation.reason, where, decide, LOOK_SECONDS
        )
        if ended:
            said = counted(ended, "task")
            log.info("Revoked: %s %s: %s", said, revocation.name, revocation.reason)
        return ended
