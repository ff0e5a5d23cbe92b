"""The selection language as one types it: ``status=failed name=send_mail since=2h``. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from starlette.datastructures import QueryParams

from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.status import TaskStatus
from wopr.domain.typed import WHEN, typed_time

SEVERAL = ("status", "name", "category", "ids")
"""Words that may be there more than once: one of the values is enough."""
ONE = ("since", "until", "flow", "schedule", "tag", "error", "where")
WORDS = (*SEVERAL, *ONE)
LONGEST = 4_000

Given = dict[str, list[str]]

_TOKEN = re.compile(r'(?:([a-z]+)[=:])?(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)')
_ID = re.compile(r"[0-9a-f]{8}[0-9a-f-]{0,28}")
_STATUSES = frozenset(status.value for status in TaskStatus)


def parse(text: str) -> Given:
    """Return what a line says, by word; what stands alone is a status, an id, or a name.

    Raises:
        InvalidCallError: a part of it can't be read.
    """
    text = text.strip()
    if len(text) > LONGEST:
        raise InvalidCallError(f"A search has {LONGEST:,} letters at most, not {len(text):,}.")
    found: Given = {}
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        token = _TOKEN.match(text, at)
        if token is None:
            raise InvalidCallError(
                f"{shown(text[at : at + 60])} can't be read. Write words like status=failed "
                'name=send_mail since=2h, with quotes around what has blanks: error="no route".'
            )
        word, quoted, plain = token.groups()
        value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        _take(found, word, value, quoted=quoted is not None)
        at = token.end()
    return found


def _take(found: Given, word: str | None, value: str, *, quoted: bool) -> None:
    if word is None:
        small = value.lower()
        word = "error" if quoted else "name"
        if not quoted and small in _STATUSES:
            word, value = "status", small
        elif not quoted and _ID.fullmatch(small):
            word, value = "ids", small
    word = {"id": "ids"}.get(word, word)
    if word not in WORDS:
        raise InvalidCallError(f"There is no word {word!r}; there are {', '.join(WORDS)}.")
    if word in ONE and word in found:
        raise InvalidCallError(f"{word}= is there twice; one of them can hold only.")
    found.setdefault(word, []).append(value)


def text_of(given: Mapping[str, Iterable[str]]) -> str:
    """Return the line that says it."""
    return " ".join(f"{word}={_quoted(value)}" for word in WORDS for value in given.get(word, ()))


def _quoted(value: str) -> str:
    if value and not re.search(r'[\s"\\]', value):
        return value
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def given_of(query: QueryParams) -> Given:
    """Return what a URL, or a form, says."""
    found: Given = {}
    for word in WORDS:
        values = [one for one in query.getlist(word) if one]
        if word == "ids":
            values += [one for one in query.getlist("id") if one]
        if values:
            found[word] = values if word in SEVERAL else values[:1]
    return found


def selection(given: Given) -> dict[str, Any]:
    """Return the arguments of ``queue.tasks.where``.

    Raises:
        InvalidCallError: a time can't be read.
    """
    found: dict[str, Any] = {word: given[word] for word in SEVERAL if word in given}
    found.update({word: given[word][0] for word in ONE if word in given})
    for word in ("since", "until"):
        if word in found:
            found[word] = moment(found[word], f"{word}=")
    if "where" in found:
        found["condition"] = found.pop("where")
    return found


def moment(text: str, what: str) -> datetime | timedelta:
    """Return a time that somebody typed.

    Raises:
        InvalidCallError: it is none.
    """
    try:
        return typed_time(text)
    except (ValueError, OverflowError):
        raise InvalidCallError(f"{what} takes {WHEN}, not {shown(text)}.") from None


def conditions(given: Given) -> list[str]:
    """Return what has to hold of the columns of ``tasks``, in SQL; what an error said is left out.

    Raises:
        InvalidCallError: a time can't be read.
    """
    held = [
        f"{column} in ({', '.join(map(_literal, given[word]))})"
        for word, column in (
            ("status", "status"),
            ("name", "name"),
            ("category", "category"),
            ("schedule", "schedule"),
        )
        if word in given
    ]
    held += [f"({' or '.join(_begins(one) for one in given['ids'])})"] if "ids" in given else []
    held += [f"flow_id::varchar = {_literal(one)}" for one in given.get("flow", ())]
    held += [_since(one, ">=") for one in given.get("since", ())]
    held += [_since(one, "<") for one in given.get("until", ())]
    held += [
        f"json_contains(options -> '$.tags', {_literal(json.dumps(one))})"
        for one in given.get("tag", ())
    ]
    held += [f"({one})" for one in given.get("where", ())]
    return held


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _begins(text: str) -> str:
    return f"starts_with(id::varchar, {_literal(text.lower())})"


def _since(text: str, compared: str) -> str:
    found = moment(text, "since=")
    if isinstance(found, timedelta):
        now = "make_timestamp(epoch_us(now()))"
        return f"created_at {compared} {now} - to_seconds({found.total_seconds():g})"
    return f"created_at {compared} make_timestamp(epoch_us({_literal(text)}::timestamptz))"


def complete(text: str, known: Mapping[str, Iterable[str]], most: int = 12) -> list[str]:
    """Return whole lines that a line can become: its last word, completed.

    Args:
        text: as far as somebody has typed.
        known: the values of words, the likeliest first.
        most: at most so many.
    """
    head, _, last = text.rpartition(" ")
    before = f"{head} " if head else ""
    word, mark, begun = last.replace(":", "=", 1).partition("=")
    if mark:
        begun = begun.removeprefix('"').lower()
        values = [value for value in known.get(word, ()) if begun in value.lower()]
        values.sort(key=lambda value: not value.lower().startswith(begun))
        return [f"{before}{word}={_quoted(value)} " for value in values[:most]]
    found = [f"{before}{one}=" for one in WORDS if one.startswith(last.lower())]
    if last:
        for name, values_of in known.items():
            found += [
                f"{before}{name}={_quoted(value)} "
                for value in values_of
                if last.lower() in value.lower()
            ]
    return found[:most]
