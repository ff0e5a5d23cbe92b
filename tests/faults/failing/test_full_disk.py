"""The disk gets full under an open queue and has space again: nothing is lost, nobody restarts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.audit import clean, doctor

CHILD = Path(__file__).with_name("full_disk.py")
MOUNTED = (
    'mount -t tmpfs -o size=6m tmpfs "$1" && "$2" "$3" "$1" ballast "$4" && cp "$1"/tasks* "$5"'
)


def _unshare() -> list[str] | None:
    """Return the command that gives a mount namespace of one's own, as root or as anybody."""
    if shutil.which("unshare") is None:
        return None
    for flags in ("-m", "-Urm"):
        probe = 'mount -t tmpfs -o size=1m tmpfs "$0"'
        command = ["unshare", flags, "sh", "-c", probe, "/mnt"]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return ["unshare", flags]
    return None


def _outcome(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    assert done.returncode == 0, done.stderr
    said: dict[str, object] = json.loads(done.stdout)
    return said


def _check(said: dict[str, object], database: Path) -> None:
    assert [] == said["lost"]
    assert 0 == said["unexpected"], "a task was refused and is there all the same"
    assert int(str(said["refused"])) > 0, "the disk was never full"
    assert "free some space" in str(said["errors"]).lower()
    assert [10_000] * 20 == list(said["results"])[:20]  # type: ignore[call-overload]
    found = clean(database, whole=True)
    assert said["acknowledged"] == len(found.rows)
    doctor(database)


@pytest.mark.parametrize("when", ["commit", "checkpoint"])
def test_a_file_system_without_space_refuses_work_until_there_is_some(
    when: str, tmp_path: Path
) -> None:
    namespace = _unshare()
    if namespace is None:
        assert os.geteuid() != 0, "root can mount a tmpfs; find out why it could not"
        pytest.skip("neither root nor a user namespace: no small file system can be mounted")
    mount, kept = tmp_path / "mount", tmp_path / "kept"
    mount.mkdir()
    kept.mkdir()
    command = [*namespace, "sh", "-c", MOUNTED, "sh", mount, sys.executable, CHILD, when, kept]
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=100, check=False
    )

    _check(_outcome(done), kept / "tasks.duckdb")


def test_a_log_that_may_not_grow_refuses_work_until_it_may(tmp_path: Path) -> None:
    command = [sys.executable, str(CHILD), str(tmp_path), "limit", "commit"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    _check(_outcome(done), tmp_path / "tasks.duckdb")
