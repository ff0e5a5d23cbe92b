"""Questions of wopr's own, which are in DuckDB's words, in those of PostgreSQL."""

from __future__ import annotations

import re

from wopr.storage.postgres.callwords import rewritten

_NOW = "make_timestamp(epoch_us(now()))"
_LIVE = (
    "(status in ('pending', 'retry') and waiting is not true) or status = 'started' "
    "or (status in ('pending', 'retry') and waiting)"
)
"""What has not ended, as the indexes of the tables know it."""
_COMMENT = re.compile(r"--[^\n]*")
_WORDS = (
    (re.compile(r"filter \((?!where)"), "filter (where "),
    (re.compile(r"([\w.]+) ->> '\$\.(\w+)'"), r"(\1::json ->> '\2')"),
    (re.compile(r"([\w.]+) ->> '\$\.(\w+)\.(\w+)'"), r"(\1::json #>> '{\2,\3}')"),
    (re.compile(r"\bcompleted_at is null or "), f"{_LIVE} or "),
    (re.compile(r"\bany_value\("), "max("),
    (re.compile(r" // "), " / "),
    (re.compile(r"\blist\((distinct \w+)\)"), r"array_agg(\1)"),
    (
        re.compile(r"quantile_cont\((\w+), \[([^]]+)\]\)"),
        r"percentile_cont(array[\2]) within group (order by \1)",
    ),
    (re.compile(r"list\((distinct \w+ order by \w+)\)\[:"), r"(array_agg(\1))[:"),
    (re.compile(r"([a-z_]+\.\w+)\[:500\]"), r"left(\1, 500)"),
    (re.compile(r"interval (\d+ \w+)"), r"interval '\1'"),
    (re.compile(r"\\b"), r"\\y"),
    (
        re.compile(r"list\((\S+ order by \w+)\) filter \((.*?)\)\[", re.DOTALL),
        r"(array_agg(\1) filter (\2))[",
    ),
    (re.compile(r"\blist\((\w+)\)"), r"array_agg(\1)"),
    (
        re.compile(r"approx_quantile\(\s*(.*?),\s*([\d.]+)\s*\)", re.DOTALL),
        r"percentile_cont(\2) within group (order by \1)",
    ),
    (
        re.compile(r"quantile_cont\((.*), ([\d.]+)\)"),
        r"percentile_cont(\2) within group (order by \1)",
    ),
)
_WHOLE = {
    "FIRST_TRANSITION": "select (select occurred_at from transitions order by seq limit 1)",
    "ENDED_BEFORE": (
        "select count(*) from tasks where status in ('success', 'failed', 'cancelled') "
        "and completed_at <= $1"
    ),
    "GONE_UNTIL": (
        "select max((selection::json ->> 'completed until')::timestamp) from acts "
        "where verb in ('cleanup', 'archive', 'retire')"
    ),
}
"""What is more than other words."""


def translated(name: str, text: str) -> str:
    """Return a question, which has this name, as PostgreSQL understands it."""
    text = _COMMENT.sub("", _WHOLE.get(name, text))
    text = rewritten(text.replace(_NOW, "(now() at time zone 'utc')"))
    for pattern, instead in _WORDS:
        text = pattern.sub(instead, text)
    return text
