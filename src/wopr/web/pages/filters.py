"""How values look on a page: times, durations, numbers, ids. Pure, but for the local time zone."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from jinja2 import pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from wopr.domain.spoken import age, aware, local, local_short

LONGEST = 16 * 1024
"""So many letters of one value are shown; the rest is counted."""


def when_at(moment: datetime | None, now: datetime) -> Markup:
    """Return a time, short for its age; the exact one is its title."""
    if moment is None:
        return Markup("–")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        aware(moment).isoformat(), local(moment, timespec="milliseconds"), local_short(moment, now)
    )


def ago_at(moment: datetime | None, now: datetime) -> Markup:
    """Return how long ago a time is, or how long until then."""
    if moment is None:
        return Markup("–")
    seconds = (aware(now) - aware(moment)).total_seconds()
    text = f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        aware(moment).isoformat(), local(moment), text
    )


@pass_context
def when(context: Context, moment: datetime | None) -> Markup:
    """Return a time of a page, beside the ``now`` of that page."""
    return when_at(moment, context["now"])


@pass_context
def briefly(context: Context, moment: datetime) -> str:
    """Return a time of a page as text alone, where there are very many."""
    return local_short(moment, context["now"])


@pass_context
def ago(context: Context, moment: datetime | None) -> Markup:
    """Return how long ago a time of a page is."""
    return ago_at(moment, context["now"])


def span(seconds: float | None) -> str:
    """Return a duration: ``3 h 20 min``, ``41 s``, ``12 ms``."""
    if seconds is None:
        return "–"
    if 0 < seconds < 0.00005:
        return "< 0.1 ms"
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.2g} ms" if seconds < 0.0995 else f"{seconds * 1000:.0f} ms"
    return age(seconds if seconds < 60 else round(seconds)) or "–"


def number(value: float | None, digits: int = 0) -> str:
    """Return a number with commas; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def percent(fraction: float | None) -> str:
    """Return a fraction of one as a percentage, never rounded up to all or down to nothing."""
    if fraction is None:
        return "–"
    text = f"{fraction * 100:.1f}"
    if text == "100.0" and fraction < 1:
        text = "> 99.9"
    if text == "0.0" and fraction > 0:
        text = "< 0.1"
    return text.removesuffix(".0")


def short(identity: object) -> str:
    """Return an id as people tell it from others."""
    text = str(identity)
    return text if len(text) <= 16 else f"{text[:8]}…{text[-4:]}"


def shown(value: Any) -> str:
    """Return a value of JSON as it is read, and no more of it than a page can bear."""
    return visible(cut(value)) if isinstance(value, str) else as_json(value)


def as_json(value: Any) -> str:
    """Return a value as JSON, texts in their quotes."""
    return visible(cut(json.dumps(value, ensure_ascii=False, indent=2)))


def cut(text: str) -> str:
    """Return the beginning of a text that is too long, and how much is missing."""
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}… ({len(text) - LONGEST:,} more letters)"


_HIDDEN = {
    code: f"\\u{code:04x}"
    for code in (
        *range(0x20),
        *range(0x7F, 0xA0),
        0x061C,
        *range(0x200B, 0x2010),
        *range(0x2028, 0x202F),
        *range(0x2060, 0x2070),
        0xFEFF,
    )
    if chr(code) not in "\n\t"
}
_HIDES = re.compile("[" + "".join(_HIDDEN.values()) + "]")


def visible(text: str) -> str:
    """Return a text whose control and direction marks are written out: what is read is there."""
    return text.translate(_HIDDEN) if _HIDES.search(text) else text  # which is slow, and rare


def first_line(text: str | None, most: int = 160) -> str:
    """Return the first line of a text, on one row of a table."""
    line = visible((text or "").strip().partition("\n")[0][: most + 1])
    return line if len(line) <= most else f"{line[: most - 1]}…"


def marked(text: str) -> Markup:
    """Return a sentence with what stands in quotes in it as code."""
    parts = visible(text).split("'")
    if len(parts) % 2 == 0:  # an apostrophe
        return escape("'".join(parts))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part)
        for at, part in enumerate(parts)
    )


_ALL = (
    *(when, briefly, ago, span, number, percent, short),
    *(shown, as_json, cut, visible, first_line, marked),
)
FILTERS = {one.__name__: one for one in _ALL}
"""What templates may do with a value."""
