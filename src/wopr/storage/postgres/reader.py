"""The role that SQL of people has on the server: it may read the schema ``wopr``, and no more."""

from __future__ import annotations

from typing import Any

ROLE = "wopr_reader"

_MAKE = f"""
do $$
begin
    if not exists (select from pg_roles where rolname = '{ROLE}') then
        create role {ROLE} nologin noinherit;
    end if;
exception when insufficient_privilege or duplicate_object or unique_violation or internal_error
then null;
end
$$
"""
_MAY = "case when current_setting('server_version_num')::int < 160000 then 'member' else 'set' end"
"""What of a membership lets a user take the role; servers tell it apart since PostgreSQL 16."""
_ALLOW = f"""
do $$
begin
    if exists (select from pg_roles where rolname = '{ROLE}') then
        grant usage on schema wopr to {ROLE};
        grant select on all tables in schema wopr to {ROLE};
        if not pg_has_role(current_user, '{ROLE}', {_MAY}) then
            execute format('grant {ROLE} to %I', current_user);
        end if;
    end if;
exception when insufficient_privilege or internal_error then null;
end
$$
"""
USABLE = f"""
select coalesce((
    select pg_has_role(current_user, oid, {_MAY})
        and has_schema_privilege(oid, 'wopr', 'usage')
        and has_table_privilege(oid, 'wopr.tasks', 'select')
    from pg_roles where rolname = '{ROLE}'
), false)
"""
"""Whether queries can run under the role."""
ADVICE = (
    f"create role {ROLE} nologin; grant usage on schema wopr to {ROLE}; grant select on all "
    f"tables in schema wopr to {ROLE}; grant {ROLE} to the user of the queue"
)
"""What an administrator does where the user of the queue may make no roles."""


async def allow(connection: Any) -> None:
    """Make the role, where that is allowed, and let it read the tables that there are."""
    await connection.execute(_MAKE)
    await connection.execute(_ALLOW)


async def usable(connection: Any) -> bool:
    """Whether queries can run under the role."""
    cursor = await connection.execute(USABLE)
    return bool((await cursor.fetchone())[0])
