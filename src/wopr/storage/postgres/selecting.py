"""The tasks of a selection, and the rows of acts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from wopr.domain.act import COLUMNS, Act, Tally
from wopr.domain.change import Takes, Verb
from wopr.domain.checks import is_task_id
from wopr.domain.errors import QueryError, QueryTimeoutError
from wopr.domain.selection import Selection, bounds
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.ports.selecting import Found
from wopr.ports.storage import QueryLimits
from wopr.storage.postgres import statements
from wopr.storage.postgres.asking import ask, check_condition, no_condition
from wopr.storage.postgres.rows import transition_of
from wopr.storage.postgres.store import Store, records

MOST_ASKED = 1_000_000
"""So many tasks may hold a condition of people's."""
_UNFIT = "(status = 'pending' and waiting and error_type = 'DoesNotFit')"
_FINGERPRINT = r"""
regexp_replace(
    regexp_replace(
        regexp_replace(
            roots,
            '[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}', '<uuid>', 'g'
        ),
        '0[xX][0-9a-fA-F]+|\y[0-9a-fA-F]*([0-9][a-fA-F]|[a-fA-F][0-9])[0-9a-fA-F]*\y', '<hex>', 'g'
    ),
    '[0-9]+', '<n>', 'g'
)
"""
_FAILED_SO = f"""id in (
    select task_id from (
        select distinct on (task_id) task_id,
            coalesce(data::json ->> 'roots', error, '') as roots
        from wopr.transitions
        where to_status in ('failed', 'retry') and from_status is distinct from 'retry'
            and true
        order by task_id, seq desc
    ) as newest
    where {_FINGERPRINT} = %(error)s
)"""
"""An index has the failures, ordered so; with a moment, the newest rows are found by their time."""
_CONDITIONS = {
    "name": "name = any(%(name)s::text[])",
    "category": "category = any(%(category)s::text[])",
    "status": "status = any(%(status)s::text[])",
    "since": "created_at >= %(since)s",
    "until": "created_at < %(until)s",
    "flow": "flow_id::text = %(flow)s",
    "schedule": "schedule = %(schedule)s",
    "tag": """case when json_typeof(options::json -> 'tags') = 'array' then %(tag)s in (
        select json_array_elements_text(options::json -> 'tags')) else false end""",
    "error": _FAILED_SO,
    "error since": _FAILED_SO.replace("and true", "and occurred_at >= %(since)s"),
    "ids": "id = any(%(ids)s::uuid[])",
    "among": "seq = any(%(among)s::bigint[])",
    "again": """seq <= %(again)s and id::text not in (
        select options::json ->> 'again_of' from wopr.tasks
        where seq > %(again)s and options like '%%"again_of"%%'
            and options::json ->> 'again_of' is not null)""",
}
_BEGINNING = """
select given.prefix, one.id::text
from unnest(%(prefixes)s::text[], %(first)s::uuid[], %(last)s::uuid[])
    as given (prefix, first, last)
cross join lateral (
    select id from wopr.tasks where id between given.first and given.last
    order by id limit %(limit)s
) as one
order by one.id
"""
_ACTS = f"select {', '.join(COLUMNS)} from wopr.acts"
_SET = ", ".join(f"{one} = excluded.{one}" for one in COLUMNS if one != "number")
_NEW_ACT = f"""
insert into wopr.acts ({", ".join(COLUMNS)}) values ({", ".join(f"%({one})s" for one in COLUMNS)})
on conflict (number) do
"""
SAVE_ACT = f"{_NEW_ACT} update set {_SET}"
BEGIN_ACT = f"""{_NEW_ACT} update set number = acts.number
where (acts.began_at, acts.origin, acts.verb, acts.selection)
    = (excluded.began_at, excluded.origin, excluded.verb, excluded.selection)
returning number
"""
"""Gives no number that another act has; an act that is begun once more keeps its own."""
_MADE_BY = """
select seq, task_id::text, attempt, from_status, to_status, occurred_at, worker, reason, error, data
from wopr.transitions where seq > %(after)s and seq <= %(last)s
    and data like '%%"act":%%' and (data::json ->> 'act')::bigint = %(act)s
order by seq limit %(limit)s
"""


class SelectStore:
    """Finds tasks, and keeps what operators did."""

    full = False
    newest = 2**62
    """As large as no number is: which transition is the newest is asked with :meth:`last`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rows = store.connections.rows
        self.stored = store.get_many

    async def flush(self) -> None:
        """Do nothing: what was written is durable."""

    async def room(self) -> None:
        """Do nothing: nothing is behind."""

    async def last(self) -> int:
        """Return a number that no transition has which is made from now on."""
        rows = await self._rows("select last_value from wopr.numbers")
        return int(rows[0][0])

    # -- selections -------------------------------------------------------------

    async def tally(self, which: Selection, takes: Takes, seconds: float) -> list[Tally]:
        """Count what is selected, by name and status."""
        where, values = await self._where(which, seconds)
        rows = await self._rows(
            f"select name, status, count(*), count(*) filter (where {_taken(takes)}) "
            f"from wopr.tasks where {where} group by name, status order by name, status",
            **values,
        )
        return [Tally(name, TaskStatus(status), *counts) for name, status, *counts in rows]

    async def select(
        self,
        which: Selection,
        takes: Takes | None,
        limit: int,
        seconds: float,
        *,
        after: int = 0,
        unless_again_since: int | None = None,
    ) -> list[Found]:
        """Return selected tasks that a verb takes, in enqueue order."""
        where, values = await self._where(which, seconds)
        if takes is not None:
            where += f" and {_taken(takes)}"
        if unless_again_since is not None:
            where += f" and {_CONDITIONS['again']}"
        rows = await self._rows(
            f"select seq, id::text from wopr.tasks where {where} and seq > %(after)s "
            "order by seq limit %(limit)s",
            **values,
            after=after,
            again=unless_again_since,
            limit=limit,
        )
        return [Found(*row) for row in rows]

    async def selected(
        self, which: Selection, limit: int, before: int | None, seconds: float
    ) -> list[TaskRecord]:
        """Return a page of the selected tasks, newest first; those before a number."""
        where, values = await self._where(which, seconds)
        where = where.replace(_CONDITIONS["status"], _status_in(which.status))
        if before is not None:
            where += " and seq < %(before)s"
        rows = await self._rows(
            f"select {statements.TASK} from wopr.tasks where {where} "
            "order by seq desc limit %(limit)s",
            **values,
            before=before,
            limit=limit,
        )
        return records(rows)

    async def beginnings(self, prefixes: Sequence[str], limit: int) -> dict[str, list[str]]:
        """Return for each of these the ids that begin so."""
        found: dict[str, list[str]] = {prefix: [] for prefix in prefixes}
        ends = {prefix: between for prefix in found if (between := bounds(prefix)) is not None}
        rows = await self._rows(
            _BEGINNING,
            prefixes=list(ends),
            first=[first for first, _ in ends.values()],
            last=[last for _, last in ends.values()],
            limit=limit,
        )
        for prefix, task_id in rows:
            found[prefix].append(task_id)
        return found

    async def _where(self, which: Selection, seconds: float) -> tuple[str, dict[str, Any]]:
        """Return what holds for the selected tasks, and its values."""
        values: dict[str, Any] = {
            "name": list(which.name) or None,
            "category": list(which.category) or None,
            "status": [one.value for one in which.status] or None,
            "since": which.since,
            "until": which.until,
            "flow": which.flow,
            "schedule": which.schedule,
            "tag": which.tag,
            "error": which.error,
            "ids": None if which.ids is None else list(filter(is_task_id, which.ids)),
            "among": None if which.where is None else await self._asked(which.where, seconds),
        }
        given = {name: value for name, value in values.items() if value is not None}
        names = dict.fromkeys(given)
        if "error" in names and "since" in names:  # it failed after it was enqueued
            del names["error"]
            names["error since"] = None
        return " and ".join(["true", *(_CONDITIONS[name] for name in names)]), given

    async def _asked(self, where: str, seconds: float) -> list[int]:
        """Return the numbers of the tasks for which a condition of people's holds.

        Raises:
            QueryError: it is none, or it holds for too many.
        """
        limits = QueryLimits(seconds, MOST_ASKED)
        whole = f"select seq from tasks where (\n{where}\n)"
        connections = self._store.connections
        await check_condition(connections, where, limits)
        try:
            answer = await ask(connections, whole, [], limits)
        except QueryTimeoutError:
            raise
        except QueryError as error:
            raise no_condition(where, error) from error
        if answer.cut is not None:
            raise QueryError(f"{where!r:.200} holds for too many tasks. Say more than that.")
        return [seq for (seq,) in answer.rows]

    # -- acts -------------------------------------------------------------------

    async def save_act(self, act: Act) -> None:
        """Make an act durable, new or changed."""
        await self._rows(SAVE_ACT, **_row(act))

    async def begin_act(self, act: Act) -> bool:
        """Make a new act durable, unless there is one of its number; whether that is so."""
        return bool(await self._rows(BEGIN_ACT, **_row(act)))

    async def acts(self, limit: int, before: int | None) -> list[Act]:
        """Return the newest acts, those before a number."""
        rows = await self._rows(
            f"{_ACTS} where number < %(before)s order by number desc limit %(limit)s",
            before=2**62 if before is None else before,
            limit=limit,
        )
        return [_act(row) for row in rows]

    async def act(self, number: int) -> Act | None:
        """Return one act."""
        rows = await self._rows(f"{_ACTS} where number = %(number)s", number=number)
        return _act(rows[0]) if rows else None

    async def made_by(self, act: Act, after: int, limit: int) -> list[Transition]:
        """Return transitions that an act made, in order, after one of them."""
        rows = await self._rows(
            _MADE_BY, after=max(after, act.first_seq), last=2**62, act=act.number, limit=limit
        )
        return [transition_of(row) for row in rows]

    async def made_count(self, act: Act) -> int:
        """Return how many tasks an act has changed, or added, so far."""
        added = act.verb == Verb.RUN_AGAIN.value
        table, column = ("tasks", "options") if added else ("transitions", "data")
        rows = await self._rows(
            f"select count(*) from wopr.{table} where {column} like '%%\"act\":%%' "
            f"and ({column}::json ->> 'act')::bigint = %(act)s",
            act=act.number,
        )
        return int(rows[0][0])


def _status_in(statuses: Iterable[TaskStatus]) -> str:
    """Return a condition that has the statuses in its text: a server sees which indexes fit."""
    return f"status in ({', '.join(repr(status.value) for status in sorted(statuses))})"


def _taken(takes: Takes) -> str:
    taken = _status_in(takes.statuses)
    return f"({taken} or {_UNFIT})" if takes.unfit else taken


def _row(act: Act) -> dict[str, Any]:
    values = {name: getattr(act, name) for name in COLUMNS}
    return {name: _naive(one) if isinstance(one, datetime) else one for name, one in values.items()}


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None)


def _act(row: Sequence[Any]) -> Act:
    values = dict(zip(COLUMNS, row, strict=True))
    for name in ("began_at", "ended_at"):
        if values[name] is not None:
            values[name] = values[name].replace(tzinfo=UTC)
    return Act(**values)
