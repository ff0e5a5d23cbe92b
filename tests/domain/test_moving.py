"""What a home says of a queue that has left it."""

from __future__ import annotations

from wopr.domain.moving import Moving


def test_where_it_is_now_can_be_typed_and_only_a_server_may_want_a_password() -> None:
    server = "postgresql://ada@db.example.org/jobs?sslmode=require&options=x"
    there = str(Moving("1", "/jobs.duckdb", server, "here").gone())
    assert f"Set WOPR_TASKS_DATABASE='{server}', with the password if it needs one." in there
    back = str(Moving("1", server, "/jobs.duckdb", "here").gone())
    assert back.endswith("Set WOPR_TASKS_DATABASE=/jobs.duckdb.")
