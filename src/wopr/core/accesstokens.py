"""The access tokens of a queue, in its file: every process that has the queue knows them."""

from __future__ import annotations

import os
from datetime import timedelta

from wopr.core.core import Core
from wopr.domain.accesstoken import (
    MOST_TOKENS,
    RANDOM_BYTES,
    AccessToken,
    check_token_name,
    new_token,
)
from wopr.domain.errors import InvalidCallError
from wopr.domain.role import Role
from wopr.domain.rule import RuleKind


async def create_token(
    core: Core, name: str, role: Role, life: timedelta | None
) -> tuple[str, AccessToken]:
    """Make a token; return it, which nobody can ever again, and what is known of it.

    Raises:
        InvalidCallError: the name can't be one, is taken, or there are too many.
        QueueDisabledError: the queue is switched off.
        StorageError: nothing has changed.
    """
    text, token = new_token(name, role, os.urandom(RANDOM_BYTES), core.time.now(), life)
    known = await access_tokens(core)
    if any(one.name == token.name for one in known):
        raise InvalidCallError(
            f"There is a token {token.name} already. Choose another name, or revoke that one "
            f"first: wopr token revoke {token.name}"
        )
    if len(known) >= MOST_TOKENS:
        raise InvalidCallError(
            f"There are {MOST_TOKENS:,} tokens, which is the most. See them with `wopr token list` "
            "and revoke those that nobody uses."
        )
    await (await core.writer()).rules.save([token.to_rule()])
    return text, token


async def access_tokens(core: Core) -> list[AccessToken]:
    """Return all tokens, by name, also those that have expired; none of a queue without a file."""
    backend = await core.reader()
    if backend is None:
        return []
    return [AccessToken.from_rule(rule) for rule in await backend.rules.all(RuleKind.TOKEN)]


async def revoke_token(core: Core, name: str) -> bool:
    """Let nobody in with a token any more, nor with its sessions; whether there was one.

    Raises:
        QueueDisabledError: the queue is switched off.
        StorageError: nothing has changed.
    """
    label = check_token_name(name)
    return bool(await (await core.writer()).rules.delete(RuleKind.TOKEN, [label]))
