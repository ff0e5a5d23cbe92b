"""What was paused at a moment: by the acts until then, and by the rules that last since. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from wopr.domain.controls import Pause
from wopr.domain.rule import Rule
from wopr.domain.spoken import aware

Told = tuple[str, bool, datetime]
"""The detail of an act that paused or resumed, whether it was taken back, and when."""


def pauses_at(told: Iterable[Told], lasting: Sequence[Rule], moment: datetime) -> list[Pause]:
    """Return what was paused, by name.

    Args:
        told: the acts until then, in order; those that were taken back come where that was done.
        lasting: the pauses of today, which know since when they are.
        moment: the one that is asked about; aware.
    """
    found: dict[str, Pause] = {}
    for detail, undone, began in told:
        said = json.loads(detail)
        value = said["before"] if undone else said["after"]
        if value is None:
            found.pop(said["name"], None)
        else:
            found[said["name"]] = _pause(value, began)
    for rule in lasting:  # of before there were acts, or whose acts were cleaned up
        if rule.updated_at <= moment:
            found.setdefault(rule.name, Pause.from_rule(rule))
    return [found[name] for name in sorted(found)]


def _pause(value: dict[str, Any], began: datetime) -> Pause:
    return Pause(**value, since=aware(began))
