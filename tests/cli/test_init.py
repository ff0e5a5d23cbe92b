"""``wopr init``: what it writes is tested, installed, run, stopped and started as users do."""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
import threading
import urllib.error
import urllib.request
import venv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.audit import doctor
from support.business import CLEANUP, PENDING, BusinessApi, business_api, send_path
from support.commands import call
from support.paths import SOURCE
from support.programs import BIN, clean_environment, run, run_ok
from support.queues import PATIENCE

INTERVAL = 0.25
FILES = {
    ".dockerignore",
    ".env.example",
    ".gitignore",
    "Dockerfile",
    "README.md",
    "compose.yaml",
    "pyproject.toml",
    "src/shop_worker/__init__.py",
    "src/shop_worker/app.py",
    "src/shop_worker/client.py",
    "src/shop_worker/settings.py",
    "src/shop_worker/tasks.py",
    "tests/conftest.py",
    "tests/fake_api.py",
    "tests/test_client.py",
    "tests/test_tasks.py",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project that the command has just written."""
    home = tmp_path_factory.mktemp("home")
    run_ok([BIN / "wopr", "init", "shop-worker"], home)
    return home / "shop-worker"


# -- what it writes, and what it refuses ------------------------------------------


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_it_writes_a_project_and_says_what_comes_next(here: Path) -> None:
    answer = call("init", "shop-worker")
    assert (0, "") == (answer.code, answer.err)
    assert files_in(here / "shop-worker") == FILES
    first, *steps = answer.out.splitlines()
    assert first == "Wrote 16 files to shop-worker. Next, there:"
    assert [step[:2] for step in steps] == ["1.", "2.", "3."]
    assert "wopr worker shop_worker.app:queue" in steps[2]


def test_no_word_of_the_templates_is_left(project: Path) -> None:
    for path in project.rglob("*"):
        text = f"{path.relative_to(project)}\n{path.read_text() if path.is_file() else ''}"
        assert not re.search(r"project[_-]name|WOPR_VERSION|tmpl", text), path


def test_no_tool_takes_a_template_for_source() -> None:
    assert {".tmpl"} == {p.suffix for p in (SOURCE / "_project").rglob("*") if p.is_file()}


def test_another_directory_and_json(here: Path) -> None:
    (here / "empty").mkdir()
    answer = call("init", "shop-worker", "--path", "empty", "--json")
    told = answer.json
    assert str(here / "empty") == told["path"]
    assert "shop_worker" == told["package"]
    assert set(told["files"]) == FILES == files_in(here / "empty")


def test_a_directory_in_use_is_left_alone(here: Path) -> None:
    (here / "shop").mkdir()
    (here / "shop" / "mine.txt").write_text("mine")
    answer = call("init", "shop")
    assert (2, "") == (answer.code, answer.out)
    assert "shop is not empty: it holds mine.txt" in answer.err
    assert "--path" in answer.err
    assert files_in(here) == {"shop/mine.txt"}


def test_a_file_in_the_way_is_left_alone(here: Path) -> None:
    (here / "shop").write_text("mine")
    answer = call("init", "shop")
    assert 2 == answer.code
    assert "shop can't be used: Not a directory" in answer.err
    assert "mine" == (here / "shop").read_text()


def test_a_place_that_cannot_be_written_is_named(here: Path) -> None:
    (here / "file").write_text("mine")
    answer = call("init", "shop", "--path", "file/shop")
    assert 2 == answer.code
    assert "Not a directory" in answer.err
    assert files_in(here) == {"file"}


@pytest.mark.parametrize(
    "name", ["", "Shop", "2shop", "-shop", "shop-", "my shop", "shop.app", "../shop", "größe"]
)
def test_what_is_no_name_is_refused(here: Path, name: str) -> None:
    answer = call("init", "--", name)
    assert (2, "") == (answer.code, answer.out)
    assert "is no name for a project" in answer.err
    assert "like my-worker" in answer.err
    assert [] == list(here.iterdir())


@pytest.mark.parametrize("name", ["class", "queue", "email", "wopr", "httpx", "test"])
def test_a_name_that_python_has_for_something_else_is_refused(here: Path, name: str) -> None:
    answer = call("init", name)
    assert (2, "") == (answer.code, answer.out)
    assert f"Choose another, like {name}-worker." in answer.err
    assert [] == list(here.iterdir())
    assert 0 == call("init", f"{name}-worker").code


# -- the container: read, because nothing here can build it -------------------------


@dataclass(frozen=True)
class Dockerfile:
    """The instructions of a Dockerfile, in order."""

    steps: list[tuple[str, str]]

    @classmethod
    def read(cls, path: Path) -> Dockerfile:
        lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
        whole = "\n".join(lines).replace("\\\n", " ")
        return cls([tuple(line.split(maxsplit=1)) for line in whole.splitlines() if line])

    def one(self, name: str) -> str:
        (value,) = [value for step, value in self.steps if step == name]
        return value

    @property
    def environment(self) -> dict[str, str]:
        return dict(word.split("=", 1) for word in shlex.split(self.one("ENV")))

    @property
    def entrypoint(self) -> list[str]:
        return list(json.loads(self.one("ENTRYPOINT")))

    @property
    def healthcheck(self) -> list[str]:
        return list(json.loads(self.one("HEALTHCHECK").partition("CMD ")[2]))


@pytest.fixture(scope="module")
def docker(project: Path) -> Dockerfile:
    return Dockerfile.read(project / "Dockerfile")


@pytest.fixture(scope="module")
def service(project: Path) -> dict[str, Any]:
    """Return the worker of the compose file."""
    return yaml.safe_load((project / "compose.yaml").read_text())["services"]["worker"]


def test_the_image_runs_a_worker_that_gets_the_signal_and_is_not_root(docker: Dockerfile) -> None:
    known = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "VOLUME", "EXPOSE"}
    names = [name for name, _ in docker.steps]
    assert set(names) <= known | {"STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"}
    assert names[0] == "FROM"
    assert docker.one("FROM") == "python:3.13-slim"
    user, group = docker.one("USER").split(":")
    assert int(user) > 0 < int(group)
    assert names.index("USER") > names.index("RUN")
    assert f"--uid {user}" in docker.steps[1][1]
    assert docker.one("STOPSIGNAL") == "SIGTERM"
    assert docker.entrypoint[:3] == ["wopr", "worker", "shop_worker.app:queue"]


def test_the_image_keeps_the_queue_in_a_volume_of_the_user(docker: Dockerfile) -> None:
    assert docker.one("VOLUME") == "/data"
    assert docker.environment["WOPR_TASKS_DATABASE"].startswith("/data/")
    assert "--owner=worker --group=worker --mode=0700 /data" in docker.steps[1][1]


def test_the_image_copies_only_what_is_not_ignored(docker: Dockerfile, project: Path) -> None:
    copied = [value.split()[0] for name, value in docker.steps if name == "COPY"]
    ignored = (project / ".dockerignore").read_text().split()
    assert "*" == ignored[0]
    assert {f"!{name}" for name in copied} <= set(ignored)
    assert all((project / name).exists() for name in copied)


def test_the_container_is_not_killed_before_the_worker_has_drained(
    docker: Dockerfile, service: dict[str, Any]
) -> None:
    grace = float(service["environment"]["WOPR_TASKS_SHUTDOWN_SECONDS"])
    assert grace == float(docker.environment["WOPR_TASKS_SHUTDOWN_SECONDS"])
    assert float(service["stop_grace_period"].removesuffix("s")) > grace + 1


def test_the_service_is_watched_and_keeps_its_data(
    docker: Dockerfile, service: dict[str, Any], project: Path
) -> None:
    check = service["healthcheck"]
    assert ("30s", "10s", 3) == (check["interval"], check["timeout"], check["retries"])
    assert check["test"] == ["CMD", *docker.healthcheck]
    assert service["volumes"] == ["data:/data"]
    assert "data" in yaml.safe_load((project / "compose.yaml").read_text())["volumes"]


def test_each_setting_is_in_the_example_and_in_the_compose_file(
    project: Path, service: dict[str, Any]
) -> None:
    example = re.findall(r"^([A-Z_]+)=", (project / ".env.example").read_text(), re.MULTILINE)
    settings = (project / "src/shop_worker/settings.py").read_text()
    declared = re.findall(r"^    (\w+): ", settings, re.MULTILINE)
    own = {name.upper() for name in declared}
    assert len(own) == 6
    assert own == {name for name in example if not name.startswith("WOPR_")}
    assert set(service["environment"]) == set(example)


# -- installed and run ---------------------------------------------------------------


@dataclass
class Worker:
    """A worker process whose log is read all the time."""

    process: subprocess.Popen[str]
    log: queue.Queue[str | None]

    def until(self, text: str) -> str:
        """Return the log up to the line that holds ``text``."""
        read = ""
        while (line := self.log.get(timeout=PATIENCE)) is not None:
            read += line
            if text in line:
                return read
        raise AssertionError(f"{text!r} never came; the worker logged:\n{read}")

    def stop(self) -> str:
        """Tell it to stop, and return what it says when it does."""
        self.process.send_signal(signal.SIGTERM)
        return self.until("Draining")

    def end(self) -> str:
        """Return the rest of the log once it has stopped with exit code 0."""
        last = self.until("Stopped after")
        assert 0 == self.process.wait(PATIENCE)
        return last


@dataclass
class Installed:
    """The project in an environment of its own."""

    python: Path
    project: Path
    docker: Dockerfile

    def environment(self, **more: str) -> dict[str, str]:
        return {**clean_environment(self.python.parent), **self.docker.environment, **more}

    @contextlib.contextmanager
    def worker(self, api: BusinessApi, database: Path, grace: float) -> Iterator[Worker]:
        """Run what the image runs, on this machine; it is gone afterwards, whatever happens."""
        command = " ".join(self.docker.entrypoint).replace("0.0.0.0:8080", "127.0.0.1:0")
        process = subprocess.Popen(
            [self.python, "-m", *command.split()],
            cwd=database.parent,
            env=self.environment(
                BUSINESS_API_URL=api.url,
                CLEANUP_INTERVAL_SECONDS=str(INTERVAL),
                NOTIFICATIONS_INTERVAL_SECONDS=str(INTERVAL),
                WOPR_TASKS_DATABASE=str(database),
                WOPR_TASKS_SHUTDOWN_SECONDS=str(grace),
            ),
            stderr=subprocess.PIPE,
            text=True,
        )
        worker = Worker(process, queue.Queue())
        reader = threading.Thread(target=_read, args=(process, worker.log))
        with process:
            reader.start()
            try:
                yield worker
            finally:
                process.kill()
                reader.join(PATIENCE)

    def healthcheck(self, url: str) -> int:
        """Return the exit code of the image's own check."""
        command = [word.replace("http://127.0.0.1:8080", url) for word in self.docker.healthcheck]
        return run([self.python, *command[1:]], self.project).returncode


def _read(process: subprocess.Popen[str], log: queue.Queue[str | None]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        log.put(line)
    log.put(None)


@pytest.fixture(scope="module")
def installed(
    project: Path, docker: Dockerfile, tmp_path_factory: pytest.TempPathFactory
) -> Installed:
    """Install the project into an environment that has this one's packages, without a network."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(home, symlinks=True, with_pip=False)
    python = home / "bin" / "python"
    inside = run_ok(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], project
    )
    here = sysconfig.get_path("purelib")
    (Path(inside.strip()) / "parent.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    pip = [sys.executable, "-m", "pip", "--python", python, "install", *offline]
    run_ok([*pip, project], home, timeout=120)
    return Installed(python, project, docker)


def ask(url: str) -> int:
    """Return the status of an answer."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return int(error.code)


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    """Return what a query answers when no worker runs."""
    out = run_ok([BIN / "wopr", "sql", "--json", "-d", database, query], database.parent)
    return [tuple(row.values()) for row in json.loads(out)["rows"]]


def state(database: Path, task_id: str | None) -> tuple[Any, ...]:
    (row,) = rows(database, f"select status, attempt from tasks where id = '{task_id}'")
    return row


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_tests_of_the_project_pass(installed: Installed) -> None:
    out = run_ok([installed.python, "-m", "pytest", "-q"], installed.project, timeout=200)
    assert re.search(r"^10 passed", out, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_worker_calls_on_schedule_and_stops_without_losing_a_task(
    installed: Installed, tmp_path: Path
) -> None:
    database = tmp_path / "shop.duckdb"
    with business_api() as api:
        api.pending = ["1", "bad", "2"]
        api.refused = {send_path("bad")}

        # Both tasks call on schedule; each notification is sent once, whatever the others do.
        with installed.worker(api, database, grace=600) as worker:
            url = re.findall(r"http://127\.0\.0\.1:\d+", worker.until("Started"))[-1]
            api.wait(CLEANUP, 2)
            api.wait(PENDING, 3)
            api.wait(send_path("1"))
            api.wait(send_path("2"))
            assert (200, 200) == (ask(f"{url}/health"), ask(f"{url}/ready"))
            assert 0 == installed.healthcheck(url)

            # A task that runs at the signal may end in peace.
            with api.holding(CLEANUP) as finished:
                worker.stop()
                assert (200, 503) == (ask(f"{url}/health"), ask(f"{url}/ready"))
            assert " 0 went back" in worker.end()
            assert 0 != installed.healthcheck(url)
        assert ("success", 1) == state(database, finished.key)

        # One that takes too long is interrupted, and waits.
        with (
            installed.worker(api, database, grace=0.1) as worker,
            api.holding(CLEANUP) as interrupted,
        ):
            worker.stop()
            assert " 0 went back" not in worker.end()
        assert ("pending", 1) == state(database, interrupted.key)

        # The next worker runs it again, with the same key.
        with installed.worker(api, database, grace=600) as worker:
            api.wait(CLEANUP, 2, key=interrupted.key)
            worker.stop()
            worker.end()
        assert ("success", 2) == state(database, interrupted.key)
        assert 2 == len(api.of(CLEANUP, interrupted.key))
        assert (1, 1) == (api.done.count(send_path("1")), api.done.count(send_path("2")))
        assert api.done.count(CLEANUP) == len({one.key for one in api.of(CLEANUP)})
        assert {"notification-bad"} == {one.key for one in api.of(send_path("bad"))}
    check_plan(database)
    doctor(database)


def check_plan(database: Path) -> None:
    """Check that the cleanup ran at planned times, each once."""
    plan = rows(
        database,
        "select epoch_us(scheduled_for) from schedule_runs where schedule = 'cleanup' order by 1",
    )
    times = [time for (time,) in plan]
    steps = [(after - before) / (INTERVAL * 1e6) for before, after in itertools.pairwise(times)]
    assert steps
    assert all(step >= 1 and step == int(step) for step in steps)
