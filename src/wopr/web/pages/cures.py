"""What leads from a reason why nothing runs to its cure: one button each. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wopr.domain.reason import Reason, Severity


@dataclass(frozen=True, slots=True)
class Cure:
    """A button: where it leads; ``kind`` says whether it asks first, does it, or is a page."""

    words: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "page"
    """``page``, ``asks`` in the dialog, or ``does`` it at once."""


_MARKS = {Severity.STOPPED: ("✕", "failed"), Severity.HELD: ("▲", "retry")}
_SINCE = re.compile(r",? since \d{4}-\d\d-\d\d[ T][\d:.+-]+(?: \([^)]*\))?")


def mark(reason: Reason) -> tuple[str, str]:
    """Return the sign of a reason, and the class that has its colour."""
    if reason.kind == "failing":
        return "✕", "failed"
    if reason.kind == "paused":
        return "‖", "pending" if reason.severity is Severity.WARNING else "retry"
    return _MARKS.get(reason.severity, ("◷", "pending"))


def telling(reasons: Sequence[Reason]) -> list[Reason]:
    """Return the reasons without those that another one of the same category explains."""
    held = {one.about.get("category") for one in reasons if one.kind in ("no workers", "paused")}
    return [
        one for one in reasons if one.kind != "backlog" or one.about.get("category") not in held
    ]


def sentence(reason: Reason) -> str:
    """Return its text; since when stands beside it."""
    return _SINCE.sub("", reason.text) if reason.since is not None else reason.text


def cure(reason: Reason) -> Cure | None:
    """Return what leads to its cure; ``None`` if nothing on a page does."""
    found = _CURES.get(reason.kind)
    return None if found is None else found(reason.about)


About = Mapping[str, object]


def _paused(about: About) -> Cure:
    target = {"task": about["name"]} if "name" in about else {"category": about.get("category")}
    return Cure("Resume", "/categories/resume", target, "does")


def _limited(about: About) -> Cure:
    query = {"category": about.get("category"), "key": about.get("key")}
    return Cure("Change limit…", "/categories/limit", query, "asks")


def _failing(about: About) -> Cure:
    return Cure("See them", "/failures/one", {"error": about.get("fingerprint"), "span": "24h"})


def _named(about: About) -> Cure:
    return Cure("Which tasks", "/tasks", {"name": about.get("name")})


def _category(about: About) -> Cure:
    return Cure("Which tasks", "/tasks", {"category": about.get("category"), "status": "pending"})


_CURES: dict[str, Callable[[About], Cure]] = {
    "paused": _paused,
    "limited": _limited,
    "failing": _failing,
    "unregistered": _named,
    "does not fit": _named,
    "no workers": _category,
    "backlog": _category,
    "foreground": _category,
    "no worker process": lambda about: Cure("Workers", "/workers"),
    "stuck": lambda about: Cure("Look at it", f"/tasks/{about.get('task', '')}"),
    "missed": lambda about: Cure("Schedule", "/schedules/one", {"name": about.get("schedule")}),
    "schedule": lambda about: Cure("Schedule", "/schedules/one", {"name": about.get("schedule")}),
    "no scheduler": lambda about: Cure("Schedules", "/schedules"),
}
