"""Words of calls, over a connection that nobody waits on for long."""

from __future__ import annotations

from uuid import uuid4

from support.postgres import need_server, new_database
from wopr.domain.address import PostgresAddress
from wopr.storage.postgres.words import Words


def test_a_statement_ends_and_a_connection_breaks_where_the_other_machine_is_gone() -> None:
    need_server()
    address = new_database(f"words_{uuid4().hex[:12]}")
    words = Words(PostgresAddress(f"{address}&options=-c%20work_mem%3D1MB"))
    try:
        assert [("5s",)] == words.rows("show statement_timeout")
        assert [("1MB",)] == words.rows("show work_mem")
        said = words._connection.info.get_parameters()
        assert ("5", "10000") == (said["keepalives_idle"], said["tcp_user_timeout"])
    finally:
        words.close()
