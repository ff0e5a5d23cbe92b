"""A network of its own for hosts: a namespace, and a link to it that can be cut."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


class Network:
    """A namespace with one link.

    Args:
        name: its own; of at most ten characters.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        number = os.getpid() % 250
        self.here = f"10.213.{number}.1"
        """Our address on the link."""
        self._there = f"10.213.{number}.2"
        self._link = f"{name}-h"
        self.within = ("ip", "netns", "exec", name)
        """What has a command run in it."""

    def make(self) -> None:
        """Make it."""
        _ip("netns", "add", self.name)
        _ip("link", "add", self._link, "type", "veth", "peer", "name", "far", "netns", self.name)
        _ip("address", "add", f"{self.here}/30", "dev", self._link)
        _ip("link", "set", self._link, "up")
        for words in (
            ("address", "add", f"{self._there}/30", "dev", "far"),
            ("link", "set", "far", "up"),
        ):
            _ip("-n", self.name, *words)

    def cut(self) -> None:
        """Let nothing through, in both directions, and tell nobody."""
        _ip("link", "set", self._link, "down")

    def mend(self) -> None:
        """Let all through again."""
        _ip("link", "set", self._link, "up")

    def mute(self) -> None:
        """Let nothing out that those within say; what is said to them gets there."""
        _ip("-n", self.name, "route", "add", "blackhole", self.here)

    def unmute(self) -> None:
        """Let it out again."""
        _ip("-n", self.name, "route", "delete", "blackhole", self.here)

    def remove(self) -> None:
        """Remove it."""
        _ip("netns", "delete", self.name)


@contextlib.contextmanager
def network(name: str) -> Iterator[Network]:
    """Give a network, where that is allowed."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("no network of its own for a host: that takes root, and `ip`")
    made = Network(name)
    try:
        made.make()
    except AssertionError as error:
        with contextlib.suppress(AssertionError):
            made.remove()
        pytest.skip(f"no network of its own for a host: {error}")
    try:
        yield made
    finally:
        made.remove()
