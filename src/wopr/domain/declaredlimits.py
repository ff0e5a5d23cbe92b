"""Limits that the code declares: how their rules follow it, and what was set at run time counts.

Pure. A rule keeps what the code declares beside what counts; where they differ, somebody has
set it, and it stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from wopr.domain.limits import Limit
from wopr.domain.rule import Rule, RuleKind


def followed(
    stored: Mapping[str, Limit], declared: Iterable[Limit]
) -> tuple[list[Limit], list[str]]:
    """Return the limits to store, and the names of those to delete.

    Args:
        stored: by name, those that the declarations of a category may be about.
        declared: all that the code declares there.
    """
    wanted = {one.name: one for one in declared}
    new = [_follow(stored.get(name), limit) for name, limit in wanted.items()]
    withdrawn = [
        replace(one, declared=None)
        for name, one in stored.items()
        if one.declared is not None and name not in wanted
    ]
    gone = [one.name for one in withdrawn if one.empty or not stored[one.name].differs]
    kept = [one for one in withdrawn if one.name not in gone]
    return [one for one in new if one != stored.get(one.name)] + kept, gone


def _follow(stored: Limit | None, declared: Limit) -> Limit:
    by_hand = stored is not None and (stored.declared is None or stored.differs)
    limit = stored if stored is not None and by_hand else declared
    return replace(limit, declared=declared.says)


def lifted(rule: Rule) -> Rule | None:
    """Return what is left of a rule that is removed; ``None`` if nothing.

    A limit that the code declares stays as one that says nothing, else it came back.
    """
    if rule.kind is not RuleKind.LIMIT:
        return None
    try:
        limit = Limit.from_json(rule.value)
    except (ValueError, TypeError):  # it can't be read, and may go
        return None
    if limit.declared is None:
        return None
    nothing = replace(limit, concurrency=None, rate=None, per=None)
    return replace(rule, value=nothing.to_json())
