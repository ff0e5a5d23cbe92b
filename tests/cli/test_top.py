"""``wopr top``: where it can't draw it says so, and on a terminal it draws and goes."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from support.commands import Call, Database
from support.queues import PATIENCE
from wopr.cli import top


def test_without_a_terminal_it_says_what_scripts_do(wopr: Call) -> None:
    answer = wopr("top")
    assert (2, "") == (answer.code, answer.out)
    assert "wopr status --json" in answer.err


def test_without_textual_it_names_the_extra(wopr: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top, "find_spec", lambda name: None)
    answer = wopr("top")
    assert 2 == answer.code
    assert "pip install 'wopr[top]'" in answer.err


def test_on_a_terminal_it_draws_until_q(database: Database) -> None:
    child, leader = started("top", "-d", str(database.path))
    wanted = "nobody works on it"
    try:
        seen = b""
        while wanted.encode() not in seen:
            assert select.select([leader], [], [], PATIENCE)[0], seen
            seen = seen[-65_536:] + os.read(leader, 65_536)
        os.write(leader, b"q")
        rest_of(leader)
        assert 0 == child.wait(PATIENCE)
    finally:
        child.kill()
        child.wait()
        os.close(leader)


def started(*words: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start the command on a terminal of its own; return the end that sees and types."""
    leader, follower = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"}
    command = [sys.executable, "-m", "wopr", *words]
    try:
        child = subprocess.Popen(
            command, stdin=follower, stdout=follower, stderr=follower, env=environment
        )
    finally:
        os.close(follower)
    return child, leader


def rest_of(terminal: int) -> None:
    """Read until nobody draws any more."""
    try:
        while os.read(terminal, 65_536):
            pass
    except OSError:  # the other end is closed
        return


def test_the_commands_do_not_load_what_draws(tmp_path: Path) -> None:
    program = "import sys, wopr.cli.main; print([m for m in sys.modules if 'textual' in m])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "[]\n" == done.stdout
