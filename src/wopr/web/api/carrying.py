"""The verbs of a queue for a ``TaskQueue`` of another machine, which carries them here.

It is no part of the documented API: both sides are wopr, of one protocol. One request is one
message of those that go through the owner's socket, see :mod:`wopr.remote.protocol`.
"""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from wopr.domain.errors import InvalidCallError, StorageError, WoprError
from wopr.domain.rule import RuleKind
from wopr.insights.own import is_own
from wopr.ports.backend import Backend
from wopr.queue.queue import TaskQueue, inside
from wopr.remote import protocol
from wopr.remote.rules import rule_from_plain
from wopr.remote.series import Series
from wopr.remote.size import check_parts
from wopr.remote.verbs import Verbs
from wopr.web.api.endpoints import JSON
from wopr.web.api.problems import status_of
from wopr.web.guard.roles import Caller, Role
from wopr.web.routing import caller_of, queue_of, route

HERE_ONLY = frozenset({"hand_over", "snapshot", "backup", "archive"})
"""Verbs that are about files of the machine."""
LONGEST_WAIT = 60.0
"""Seconds that one request waits for a task at most: who asked may be gone, and is not missed."""
OF_ADMINS = frozenset({"cleanup"})
"""What takes more away than any act: ended tasks, their history, and the acts themselves."""
TYPED = "typed_sql"
"""The one verb that no process of this machine sends: it asks a copy of the database itself."""
MOST_ROWS = 1_000_000_000
WHO = {"act_change": 3, "act_undo": 2}
"""Which param of a verb says whose act it is; the guard knows that better."""


def routes() -> list[BaseRoute]:
    """Return the one route."""
    return [route("/carry", carry, needs=Role.OPERATE, methods=["POST"])]


class _NoMessageError(InvalidCallError):
    """What came is JSON, and no object."""


async def carry(request: Request) -> Response:
    """Carry one verb out. Arguments and results travel as they are, so it needs to operate."""
    try:
        body = await request.body()
        check_parts(body)
        message = await _message(body)
        verb, params = message.get("verb"), message.get("params")
        _check(caller_of(request), verb, params)
        core = inside(queue_of(request))
        backend = await core.access.backend()
        await _note(backend, verb, params)
        if verb == TYPED:
            answer = await _typed(queue_of(request), params)
            return Response(protocol.encode({"ok": answer}, protocol.ANSWER), media_type=JSON)
        verbs = Verbs(backend, lambda grace: False, core.settings.max_args_bytes, Series())
        answer = await verbs.carry_out(verb, _of_nobody_else(verb, _with_an_end(verb, params)))
        return Response(protocol.encode({"ok": answer}, protocol.ANSWER), media_type=JSON)
    except _NoMessageError as error:
        return Response(protocol.refusal(None, error), 400, media_type=JSON)
    except (WoprError, TimeoutError, ValueError) as error:
        status = status_of(error) if isinstance(error, WoprError) else 422
        return Response(protocol.refusal(None, error), status, media_type=JSON)


async def _message(body: bytes) -> dict[str, Any]:
    try:
        return await protocol.decoded(body)
    except StorageError as error:  # between processes it says who is asked; here, who asks
        raise _NoMessageError(
            f"/carry takes a JSON object with a verb and its params. {error}"
        ) from error


async def _typed(queue: TaskQueue, params: Any) -> list[Any]:
    """Answer a question in SQL that somebody typed: apart, on a copy of the database."""
    match params:
        case [str(query), list(values), int(rows)] if 1 <= rows <= MOST_ROWS:
            found = await queue.typed_sql(query, *values, limit=rows)
            return [found.columns, found.rows, found.cut and found.cut.value, found.moment]
    raise InvalidCallError(
        f"{TYPED!r} takes a text, a list of values and how many rows, from 1 to {MOST_ROWS:,}. A "
        "client of the same version of wopr sends nothing else."
    )


def _with_an_end(verb: object, params: Any) -> Any:
    """Return the params of a verb; of a wait, with an end."""
    match verb, params:
        case "wait", [task_id, (int() | float() | None) as seconds, *more]:
            most = LONGEST_WAIT if seconds is None else min(seconds, LONGEST_WAIT)
            return [task_id, most, *more]
    return params


async def _note(backend: Backend, verb: object, params: Any) -> None:
    """Note that somebody asks in SQL, as where it is asked in a request of its own."""
    if (
        not isinstance(verb, str) or verb in WHO or not _asks_in_sql(verb, params)
    ):  # an act says itself what it is about
        return
    asked = params[0] if verb in {"sql", TYPED} else f"where {params[0]['where']}"
    if isinstance(asked, str):
        await backend.acts.asked(asked)


def _check(caller: Caller, verb: object, params: object) -> None:
    """Refuse what nobody may from elsewhere, and what only admins may.

    Raises:
        InvalidCallError: it is about files here.
        HTTPException: the role does not suffice.
    """
    if not isinstance(verb, str):  # there is no such verb, and who carries it out says so
        return
    if verb in HERE_ONLY:
        raise InvalidCallError(
            f"{verb!r} is about files of the machine that has the queue, so nothing was done. Run "
            "`wopr` there; SQL is asked with queue.sql(…) from here."
        )
    if caller.role.allows(Role.ADMIN):
        return
    if verb in OF_ADMINS:
        raise HTTPException(
            403,
            f"{verb} deletes tasks, their history and the acts before a moment, which needs the "
            f"role admin; {caller.name} has {caller.role}.",
        )
    if _asks_in_sql(verb, params):
        raise HTTPException(
            403,
            f"SQL, also as where= of a selection, needs the role admin; {caller.name} has "
            f"{caller.role}.",
        )
    if _is_about_tokens(verb, params):
        raise HTTPException(
            403, f"Access tokens need the role admin; {caller.name} has {caller.role}."
        )


def _of_nobody_else(verb: object, params: Any) -> Any:
    """Return the params of an act without who it says it is of: it is noted as the caller's."""
    at = WHO.get(str(verb))
    if at is None or not isinstance(params, list) or len(params) <= at:
        return params
    return [*params[:at], None, *params[at + 1 :]]


def _is_about_tokens(verb: object, params: Any) -> bool:
    """Tell whether a verb about rules is about tokens: who lets somebody in is an admin.

    Rules are read here as they are when the verb is carried out: they come in several forms.

    Raises:
        InvalidCallError: it has one that is no rule.
    """
    if not isinstance(params, list) or not params or not str(verb).startswith("rules_"):
        return False
    first = params[0]
    if verb in {"rules_all", "rules_delete"}:
        return bool(first == RuleKind.TOKEN.value)
    rules = first if verb == "rules_save" and isinstance(first, list) else [first]
    return any(rule_from_plain(one).kind is RuleKind.TOKEN for one in rules)


def _asks_in_sql(verb: object, params: Any) -> bool:
    if not isinstance(params, list) or not params:
        return False
    if verb == TYPED:
        return True
    if verb == "sql":
        return not (isinstance(params[0], str) and is_own(params[0]))
    return isinstance(params[0], dict) and params[0].get("where") is not None
