"""The disk gets full under an open queue and has space again: nothing is lost, nobody restarts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.audit import clean, doctor
from wopr.storage.duckdb.journal.scan import segments

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


def _run(command: list[object], database: Path) -> dict[str, Any]:
    """Run the child; check what it leaves, and return what it says."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    assert [] == said["lost"]
    assert 0 == said["unexpected"], "a task was refused and is there all the same"
    assert [10_000] * 20 == said["results"][:20]
    assert [] == segments(database), "the end was not clean"
    assert said["acknowledged"] == len(clean(database, whole=True).rows)
    doctor(database)
    return said


def _run_on_a_small_file_system(tmp_path: Path, lacks: str) -> dict[str, Any]:
    namespace = _unshare()
    if namespace is None:
        assert os.geteuid() != 0, "root can mount a tmpfs; find out why it could not"
        pytest.skip("neither root nor a user namespace: no small file system can be mounted")
    mount, kept = tmp_path / "mount", tmp_path / "kept"
    mount.mkdir()
    kept.mkdir()
    command = [*namespace, "sh", "-c", MOUNTED, "sh", mount, sys.executable, CHILD, lacks, kept]
    return _run(command, kept / "tasks.duckdb")


def test_a_journal_without_space_refuses_work_until_there_is_some(tmp_path: Path) -> None:
    said = _run_on_a_small_file_system(tmp_path, "journal")
    assert said["refused"], "the disk was never full"
    assert "free some space" in said["refused"][0]


def test_tables_without_space_refuse_questions_and_nothing_else(tmp_path: Path) -> None:
    said = _run_on_a_small_file_system(tmp_path, "tables")
    assert [] == said["refused"]
    assert said["unanswered"], "the disk was never full"
    assert "ree some space" in said["unanswered"][0]


def test_a_checkpoint_without_space_refuses_no_work(tmp_path: Path) -> None:
    said = _run_on_a_small_file_system(tmp_path, "checkpoint")
    assert [] == said["refused"]


def test_files_that_may_not_grow_refuse_work_until_they_may(tmp_path: Path) -> None:
    command = [sys.executable, CHILD, tmp_path, "limit", "journal"]
    said = _run(command, tmp_path / "tasks.duckdb")
    assert said["refused"], "no file reached the limit"
    assert "free some space" in said["refused"][0]
