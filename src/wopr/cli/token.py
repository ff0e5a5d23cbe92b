"""``wopr token``: who gets in over HTTP, and with which role."""

from __future__ import annotations

import shlex
from datetime import datetime
from typing import Annotated, Any

from wopr.cli import tables
from wopr.cli.common import DEFAULT_DATABASE, AsJson, Database, typed, with_queue
from wopr.cli.declared import Argument, Group, Option
from wopr.cli.errors import NothingFoundError
from wopr.cli.output import document, say, table
from wopr.core.accesstokens import access_tokens, create_token, revoke_token
from wopr.domain.accesstoken import AccessToken, life_of
from wopr.domain.clock import SystemClock
from wopr.domain.role import Role
from wopr.domain.spoken import local
from wopr.queue.queue import TaskQueue, inside

app = Group("token", help="Say who gets in over HTTP, and with which role.")

Name = Annotated[str, Argument(metavar="NAME", help="Whose it is: acts are noted under it.")]
RoleOption = Annotated[
    Role,
    Option(
        "--role",
        "-r",
        help="read looks; operate also enqueues and acts; admin also asks in SQL.",
    ),
]
Expires = Annotated[
    str | None,
    Option(
        "--expires",
        metavar="SPAN",
        help="How long it lets somebody in, as in 12h, 90d, 2w or 1y. Without it: until revoked.",
    ),
]


@app.command()
def create(
    name: Name,
    role: RoleOption,
    expires: Expires = None,
    database: Database = DEFAULT_DATABASE,
    as_json: AsJson = False,
) -> None:
    """Make a token and show it, this once: what is stored can't be turned back into it."""
    life = None if expires is None else life_of(expires)

    async def make(queue: TaskQueue) -> tuple[str, AccessToken]:
        return await create_token(inside(queue), name, role, life)

    text, made = with_queue(database, make)
    if as_json:
        document({"token": text, **_document(made)})
        return
    say(text)
    until = "until it is revoked" if made.expires_at is None else f"until {local(made.expires_at)}"
    say(f"This is the token of {made.name}, with the role {made.role}, {until}.")
    say("It is not shown again. Programs send it as `Authorization: Bearer …`; in a browser it is")
    say("pasted on the page that asks for it.")


@app.command("list")
def list_tokens(database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """List all tokens by name, but not what lets anybody in."""

    async def ask(queue: TaskQueue) -> list[AccessToken]:
        return await access_tokens(inside(queue))

    found = with_queue(database, ask)
    if as_json:
        document({"tokens": [_document(one) for one in found]})
        return
    if not found:
        say("There are no tokens. Make one: wopr token create NAME --role read")
        return
    now = SystemClock().now()
    table(tables.TOKENS, [_row(one, now) for one in found])


@app.command()
def revoke(name: Name, database: Database = DEFAULT_DATABASE, as_json: AsJson = False) -> None:
    """Let nobody in with a token any more; its sessions in browsers end, too."""
    if not with_queue(database, lambda queue: revoke_token(inside(queue), name)):
        raise NothingFoundError(
            f"There is no token {shlex.quote(name)} in {database}. "
            f"See them: wopr token list -d {typed(database)}"
        )
    if as_json:
        document({"revoked": name})
    else:
        say(f"{name} revoked: within two seconds it lets nobody in any more")


def _row(token: AccessToken, now: datetime) -> tuple[object, ...]:
    state = "valid" if token.valid(now) else "expired"
    return token.name, token.role, state, token.created_at, token.expires_at


def _document(token: AccessToken) -> dict[str, Any]:
    return {
        "name": token.name,
        "role": token.role,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
    }
