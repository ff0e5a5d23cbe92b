"""``wopr demo`` on a sample of the standard library, and on what is no success."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

from support.commands import call
from support.matching import check_document
from support.programs import BIN, run
from support.queues import PATIENCE
from wopr.demo.proof import prove
from wopr.demo.run import python_files
from wopr.storage.duckdb import doctor


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    (folder / "site-packages").mkdir(parents=True)
    (folder / "site-packages" / "skipped.py").write_text("x = 1\n")
    for number in range(12):
        (folder / f"good_{number:02}.py").write_text("import os\n\ndef f():\n    return os\n" * 5)
    (folder / "bad.py").write_text("def f(:\n")
    (folder / "notes.txt").write_text("not Python\n")
    return folder


def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "demo.duckdb"
    done = run(
        [BIN / "wopr", "demo", "--files", "300", "-d", path, "--json"], tmp_path, timeout=110
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    outcome = check_document("demo", json.loads(done.stdout))
    assert (True, True, 300) == (outcome["proven"], outcome["killed"], outcome["files"])
    assert outcome["interrupted"] > 0
    assert outcome["retries"] > 0
    assert outcome["queue_tasks_per_second"] > outcome["tasks_per_second"]
    assert outcome["run_seconds"] > 0
    assert {"scan", "parse"} == {row["category"] for row in outcome["categories"]}
    assert doctor.check(path).clean


def test_it_shows_lines_beside_a_terminal(source: Path, tmp_path: Path) -> None:
    done = run([BIN / "wopr", "demo", "--source", source], tmp_path, timeout=110)
    assert 0 == done.returncode, done.stdout + done.stderr
    assert "13 Python files of" in done.stdout
    assert "bad.py" in done.stdout
    assert "SyntaxError" in done.stdout
    assert "Proven: every file was done, none was lost." in done.stdout
    assert "What limits that is the work: reading and parsing took" in done.stdout
    assert "\x1b" not in done.stdout
    assert ["source"] == [path.name for path in tmp_path.iterdir()]


def test_a_folder_without_python_files_is_told(tmp_path: Path) -> None:
    (tmp_path / "source" / "site-packages").mkdir(parents=True)
    (tmp_path / "source" / "site-packages" / "skipped.py").write_text("x = 1\n")
    answer = call("demo", "--source", tmp_path / "source", "-d", tmp_path / "demo.duckdb")
    assert 2 == answer.code
    assert f"There is no Python file in {tmp_path / 'source'}" in answer.err
    assert "leaves installed packages out" in answer.err
    assert not (tmp_path / "demo.duckdb").exists()


def test_a_database_that_exists_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "mine.duckdb"
    path.write_text("mine")
    answer = call("demo", "-d", path)
    assert 2 == answer.code
    assert "The demo needs a new file" in answer.err
    assert "mine" == path.read_text()


def test_a_file_that_was_not_done_is_no_proof(source: Path, tmp_path: Path) -> None:
    path = tmp_path / "demo.duckdb"
    run([BIN / "wopr", "demo", "--source", source, "-d", path], tmp_path, timeout=110)
    files = python_files(source, None)
    assert prove(path, files, killed=False, seconds=1.0).proven
    outcome = prove(path, [*files, "/forgotten.py"], killed=False, seconds=1.0)
    assert not outcome.proven
    assert ["12 of 14", "13 of 14"] != [item.detail for item in outcome.checks[:2]]
    assert [False, False] == [item.passed for item in outcome.checks[:2]]


def test_a_worker_that_can_not_work_is_no_proof(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wopr.demo.run.sys.executable", "/bin/false")
    answer = call("demo", "--source", source, "-d", tmp_path / "demo.duckdb")
    assert 1 == answer.code
    assert "Not proven" in answer.out


def test_a_sample_is_spread_over_all_files(source: Path) -> None:
    every = python_files(source, None)
    assert 13 == len(every)
    assert not any("site-packages" in path for path in every)
    sample = python_files(source, 4)
    assert [every[0], every[3], every[6], every[9]] == sample
    assert every == python_files(source, 99)


def test_it_ends_its_worker_when_it_is_stopped(source: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [str(BIN / "wopr"), "demo", "-d", str(tmp_path / "demo.duckdb")],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process:
        for line in process.stdout:
            if "scan" in line:
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    assert 130 == process.returncode
    assert doctor.check(tmp_path / "demo.duckdb").clean  # nobody has it open any more
