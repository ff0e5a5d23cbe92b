"""What the documentation shows, runs.

Every ``python``, ``console``, ``bash``, ``sh`` and ``sql`` block of README.md and docs/
is one test, and so is every program in examples/.

- A Python block is a program of its own, in an empty folder; it starts with wopr imported
  (support/forked.py). ``python continues`` puts the block before it in front;
  ``python file=app.py`` is also saved beside the later blocks of the page. ``python
  needs=celery`` is a program of another project's users; it is run where that project is
  installed, and its warnings are not ours.
- In shell blocks, lines after ``$ `` are run in a folder that holds a small database
  ``wopr_tasks.duckdb`` (support/seed.py); what they print is not compared. ``wopr
  worker`` is stopped after a few seconds.
- Each SQL statement runs on that database and must find something.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from support.blocks import Block, blocks_of, commands_of, program_of, statements_of
from support.forked import Forks, forks
from support.paths import ROOT, relative
from support.postgres import need_server, new_database
from support.programs import clean_environment, run_ok
from support.seed import seed
from wopr import TaskQueue
from wopr.domain.address import PostgresAddress

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCKS = [block for page in PAGES if page.exists() for block in blocks_of(page)]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SHELL = {"bash", "console", "sh"}
NOT_CODE = {"", "ini", "json", "mermaid", "text", "toml", "yaml"}

NOT_RUN = {
    r"\b(pip|uv|pipx|poetry) (add|install)\b": "installing is what tests/packaging tries",
    r"^git clone\b": "needs the network",
    r"^(\./)?scripts/": "sets up .venv, in which this very test runs",
    r"\b(django-admin|manage\.py) ": "tests/integrations/test_django_page.py makes the project",
    r"^(docker|systemctl|sudo)\b": "needs a service of the machine",
}
"""Commands that a test can't run, and why; a block with one of them is skipped."""

# Runs until it is stopped, once it has started: stopping is part of what the page shows.
WORKER = """
wopr() {
    case "${1:-}" in
        worker) command wopr "$@" 2>worker.log & ;;
        web) command wopr "$@" >worker.log & ;;
        *) command wopr "$@"; return ;;
    esac
    local pid=$!
    until grep -qsE 'Started|has the dashboard' worker.log || ! kill -0 $pid; do sleep 0.1; done
    kill -TERM $pid && wait $pid || { cat worker.log >&2; return 1; }
}
"""


def of(*languages: str) -> list[pytest.param]:
    return [pytest.param(block, id=block.place) for block in BLOCKS if block.language in languages]


def put_files(block: Block, folder: Path) -> None:
    """Save the named blocks that stand before this one on its page."""
    for other in blocks_of(block.page):
        if other.file and other.line < block.line:
            (folder / other.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / other.file).write_text(program_of(other, blocks_of(block.page)))


@pytest.fixture(scope="session")
def seeded_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    database = tmp_path_factory.mktemp("seed") / "wopr_tasks.duckdb"
    asyncio.run(seed(database))
    return database


@pytest.fixture
def database(seeded_file: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(seeded_file, tmp_path / "wopr_tasks.duckdb"))


async def test_the_small_database_has_something_of_everything(database: Path) -> None:
    async with TaskQueue(enabled=True, database=database) as queue:
        rows = await queue.sql("select distinct category, status from tasks")
        found = [(row["category"], row["status"]) for row in rows]
    assert {"mail", "reports", "scan"} == {category for category, _ in found}
    statuses = {status for _, status in found}
    assert {"pending", "success", "failed", "cancelled", "retry"} == statuses


@pytest.fixture(scope="module")
def started() -> Iterator[Forks]:
    with forks(clean_environment()) as process:
        yield process


@pytest.mark.parametrize("block", of("python"))
def test_python_block_runs(block: Block, tmp_path: Path, started: Forks) -> None:
    lacking = [name for name in block.needs if find_spec(name) is None]
    if lacking:
        pytest.skip(f"{', '.join(lacking)} is not installed: pip install 'wopr[test]'")
    put_files(block, tmp_path)
    program = tmp_path / (block.file or "program.py")
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(program_of(block, blocks_of(block.page)))
    if block.needs:
        run_ok([sys.executable, "-W", "default", program], tmp_path)
    else:
        started.run_ok(program, tmp_path)


@pytest.mark.parametrize("block", of(*SHELL))
def test_shell_block_runs(block: Block, database: Path) -> None:
    commands = commands_of(block)
    for pattern, reason in NOT_RUN.items():
        if re.search(pattern, commands, re.MULTILINE):
            pytest.skip(f"{reason}: {commands.splitlines()[0]}")
    put_files(block, database.parent)
    run_ok(["bash", "-euo", "pipefail", "-c", WORKER + commands], database.parent)


@pytest.mark.parametrize("block", of("sql"))
async def test_sql_block_finds_something(block: Block, database: Path) -> None:
    statements = statements_of(block)
    assert statements, f"{block.place}: no statement"
    async with TaskQueue(enabled=True, database=database) as queue:
        for statement in statements:
            rows = list(await queue.sql(statement))
            assert rows, f"{block.place}: no row from\n{statement}"


@pytest.mark.parametrize("example", [pytest.param(path, id=relative(path)) for path in EXAMPLES])
def test_example_runs(example: Path, tmp_path: Path) -> None:
    env = clean_environment()
    if "WOPR_TASKS_DATABASE=postgresql" in example.read_text(encoding="utf-8"):
        need_server()
        env["WOPR_TASKS_DATABASE"] = new_database(f"example_{uuid4().hex}")
    run_ok([sys.executable, "-W", "error", example], tmp_path, env=env)


def test_the_containers_of_an_example_run_what_the_example_has() -> None:
    services = yaml.safe_load((ROOT / "examples/two_hosts.compose.yaml").read_text())["services"]
    program = (ROOT / "examples/two_hosts.py").read_text(encoding="utf-8")
    assert {"database", "north", "south", "web"} == set(services)
    for name in ("north", "south", "web"):
        target = re.search(r"two_hosts:(\w+)", services[name]["command"])
        assert target is not None
        assert f"\n{target[1]} = " in program
        address = services[name]["environment"]["WOPR_TASKS_DATABASE"]
        assert PostgresAddress(address).conninfo
        assert {"WOPR_TASKS_DATABASE", "HOST_NAME"} >= set(services[name]["environment"])


@pytest.mark.parametrize(
    "block", [pytest.param(b, id=b.place) for b in BLOCKS if b.language not in NOT_CODE]
)
def test_block_is_of_a_kind_that_is_run(block: Block) -> None:
    assert block.language in {"python", "sql", *SHELL}, "name the language so that it is tested"
    unknown = [w for w in block.words if w != "continues" and not w.startswith(("file=", "needs="))]
    assert unknown == []


def test_the_readme_shows_code_and_commands() -> None:
    languages = {block.language for block in blocks_of(ROOT / "README.md")}
    assert {"python"} <= languages
    assert languages & SHELL


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=relative(page)) for page in PAGES if page.exists()]
)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s#]+)[^)]*\)", prose)
    dead = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert dead == []
