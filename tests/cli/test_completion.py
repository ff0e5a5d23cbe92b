"""Shells complete commands, options and words, once their scripts are installed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.commands import call
from support.programs import BIN, clean_environment, run
from wopr.cli.completion import SHELLS, VARIABLE


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_is_named_or_is_that_of_the_terminal(
    shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    shown = call("--show-completion")
    assert 0 == shown.code
    assert f"{VARIABLE}={shell}_complete" in shown.out
    assert shown.out == call("--show-completion", shell).out


@pytest.mark.parametrize("shell", SHELLS)
def test_it_is_installed_once_and_beside_what_is_there(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    place, loader, line = SHELLS[shell]
    begins = tmp_path / loader
    if loader:
        begins.write_bytes(b"export LETTER=\xe4")
    for _ in range(2):
        answer = call("--install-completion", shell)
        assert (0, "") == (answer.code, answer.err)
        assert str(tmp_path / place) in answer.out
    assert call("--show-completion", shell).out.strip() == (tmp_path / place).read_text().strip()
    if loader:
        assert b"export LETTER=\xe4\n" + line.encode() + b"\n" == begins.read_bytes()


@pytest.mark.parametrize("shell", ["csh", ""])
def test_a_shell_that_has_none_is_told(shell: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", shell and f"/bin/{shell}")
    answer = call("--install-completion")
    assert (2, "") == (answer.code, answer.out)
    assert "Name one of bash, zsh, fish" in answer.err


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("wopr cl", ["plain,cleanup"]),
        ("wopr tasks list --status fa", ["plain,failed"]),
        ("wopr stats --database jo", ["file,jo"]),
    ],
)
def test_what_could_follow_is_told_to_the_shell(
    words: str, found: list[str], tmp_path: Path
) -> None:
    env = clean_environment() | {
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
        VARIABLE: "bash_complete",
    }
    assert found == run([BIN / "wopr"], tmp_path, env=env).stdout.split()


def test_bash_loads_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert 0 == call("--install-completion", "bash").code
    said = subprocess.run(
        ["bash", "-c", "source ~/.bashrc; complete -p wopr"],
        env=clean_environment() | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.rstrip().endswith("_wopr_completion wopr")
