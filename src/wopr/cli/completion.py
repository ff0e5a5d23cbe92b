"""``wopr --install-completion`` and ``--show-completion``: words that a shell completes."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.exceptions import Exit
from click.shell_completion import get_completion_class

from wopr.cli.errors import UsageError
from wopr.cli.output import say

VARIABLE = "_WOPR_COMPLETE"
"""What the script of a shell sets, to have the command tell what could follow."""

SHELLS = {
    "bash": (".bash_completions/wopr.sh", ".bashrc", "source ~/.bash_completions/wopr.sh"),
    "zsh": (".zfunc/_wopr", ".zshrc", "fpath+=~/.zfunc; autoload -Uz compinit; compinit"),
    "fish": (".config/fish/completions/wopr.fish", "", ""),
}
"""Of each shell where its script is kept, and which file is to load it with which line."""

_THIS = "the one of this terminal"


def _shell(given: str) -> str:
    shell = Path(os.environ.get("SHELL", "")).name if given == _THIS else given
    if shell in SHELLS:
        return shell
    raise UsageError(
        f"There is no completion for {f'the shell {shell!r}' if shell else 'an unnamed shell'}. "
        f"Name one of {', '.join(SHELLS)}, as in wopr --install-completion bash. Without a name "
        "it is the one that the variable SHELL tells."
    )


def _script(shell: str) -> str:
    written = get_completion_class(shell)
    assert written is not None
    return written(click.Command("wopr"), {}, "wopr", VARIABLE).source()


def install(shell: str, home: Path) -> Path:
    """Write a shell's script, and have the shell load it; return where the script is."""
    place, loader, line = SHELLS[shell]
    script = home / place
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(_script(shell), encoding="utf-8")
    if loader:
        begin = home / loader
        there = begin.read_bytes() if begin.exists() else b""
        if line.encode() not in there.splitlines():
            ended = b"" if not there or there.endswith(b"\n") else b"\n"
            with begin.open("ab") as file:
                file.write(ended + line.encode() + b"\n")
    return script


def _install(context: click.Context, option: click.Parameter, given: str | None) -> None:
    if given is None or context.resilient_parsing:
        return
    shell = _shell(given)
    say(f"{shell} completion installed in {install(shell, Path.home())}")
    say("Completion will take effect once you restart the terminal")
    raise Exit


def _show(context: click.Context, option: click.Parameter, given: str | None) -> None:
    if given is None or context.resilient_parsing:
        return
    click.echo(_script(_shell(given)))
    raise Exit


COMPLETION = [
    click.Option(
        [name],
        is_flag=False,
        flag_value=_THIS,
        expose_value=False,
        metavar="[SHELL]",
        callback=doing,
        help=f"{said} for this shell, or for {', '.join(SHELLS)}.",
    )
    for name, doing, said in (
        ("--install-completion", _install, "Install completion"),
        ("--show-completion", _show, "Show the script that completes words"),
    )
]
"""The two options of the root."""
