"""What users install works: built, put in an empty environment, and used elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import duckdb
import pytest

from support.paths import ROOT
from support.programs import clean_environment, run_ok
from wopr.storage.duckdb.file import migrate

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

PROGRAM = """
import asyncio
import wopr
from wopr import TaskQueue

assert "site-packages" in wopr.__file__, wopr.__file__

async def main():
    async with TaskQueue(enabled=True, database="jobs.duckdb") as queue:

        @queue.task(category="sums")
        async def add(a: int, b: int) -> int:
            return a + b

        handle = await add.enqueue(20, 22)
        await queue.start_workers("sums", 1)
        assert await handle.result(timeout=30) == 42
        rows = list(await queue.sql("select status, count(*) as n from tasks group by all"))
        assert rows == [{"status": "success", "n": 1}], rows

asyncio.run(main())
print("worked")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist and, from it, the wheel, as a release does."""
    out = tmp_path_factory.mktemp("dist")
    # Without isolation: hatchling is here, in the pinned version.
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT]
    run_ok(build, out, timeout=120)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the bin folder of an environment that holds wopr and what it needs."""
    home = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(home, symlinks=os.name != "nt", with_pip=False)
    python = home / "bin" / "python"
    # This environment's pip fills the other one: no second pip, and the same settings.
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    run_ok([*pip, "--constraint", ROOT / "constraints.txt", wheel], home, timeout=300)
    return python.parent


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"wopr", f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"} == {
        name.split("/")[0] for name in names
    }
    assert [] == [name for name in names if "__pycache__" in name or name.endswith(".pyc")]
    assert "wopr/py.typed" in names


def test_the_wheel_holds_every_source_file_and_migration(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = [*(ROOT / "src").rglob("*.py"), *(ROOT / "src/wopr/_project").rglob("*.tmpl")]
    sources = {f"wopr/{p.relative_to(ROOT / 'src/wopr')}" for p in files}
    migrations = {
        f"wopr/_migrations/{path.relative_to(ROOT / 'migrations')}"
        for path in (ROOT / "migrations").rglob("*.py")
    }
    assert migrations
    assert (sources | migrations) - names == set()


def test_the_wheel_holds_the_pages_and_the_scripts_of_others_as_they_were_checked(
    wheel: Path,
) -> None:
    archive, folder = zipfile.ZipFile(wheel), "wopr/web/pages/static/vendor"
    listed = json.loads(archive.read(f"{folder}/vendored.json"))
    for package in listed["packages"]:
        for name, wanted in package["files"].items():
            assert hashlib.sha256(archive.read(f"{folder}/{name}")).hexdigest() == wanted
    pages = ROOT / "src/wopr/web/pages"
    files = [one for kind in ("static", "templates") for one in (pages / kind).rglob("*.*")]
    names = {f"wopr/{one.relative_to(ROOT / 'src/wopr')}" for one in files if one.is_file()}
    assert len(names) > 20
    assert names - set(archive.namelist()) == set()


def test_the_wheel_holds_what_an_assistant_reads(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"wopr/_docs/guides/retries.md", "wopr/_docs/reference/settings.md"} <= names


def test_the_sdist_holds_the_tests_and_the_documentation(wheel: Path) -> None:
    (sdist,) = wheel.parent.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        top = {"/".join(name.split("/")[1:2]) for name in archive.getnames()}
    assert {"src", "tests", "docs", "migrations", "README.md", "LICENSE"} <= top


def test_the_installed_package_works_outside_the_repository(
    installed: Path, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    env = clean_environment(first_on_path=installed)
    assert run_ok([installed / "python", program], tmp_path, env=env) == "worked\n"
    assert run_ok(
        [installed / "wopr", "db", "current", "--database", "jobs.duckdb"], tmp_path, env=env
    ).strip()
    run_ok([installed / "wopr", "doctor", "--database", "jobs.duckdb"], tmp_path, env=env)
    run_ok([installed / "wopr", "init", "shop"], tmp_path, env=env)
    assert (tmp_path / "shop" / "src" / "shop" / "app.py").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="DuckDB's library has other sizes elsewhere")
def test_what_a_user_installs_is_below_a_hundred_megabytes(installed: Path) -> None:
    (packages,) = installed.parent.glob("lib/python*/site-packages")
    sizes = {path: path.stat().st_size for path in packages.rglob("*") if path.is_file()}
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:5]
    assert sum(sizes.values()) < 100 * 1000 * 1000, largest
    assert [] == [path for path in packages.iterdir() if path.name in {"alembic", "sqlalchemy"}]


def test_an_older_file_is_upgraded_and_checked_without_alembic(
    installed: Path, tmp_path: Path
) -> None:
    path = tmp_path / "older.duckdb"
    with duckdb.connect(str(path)) as connection:
        migrate.upgrade(connection, "0002")
    env = clean_environment(first_on_path=installed)
    wopr = installed / "wopr"
    run_ok([wopr, "db", "upgrade", "--database", path], tmp_path, env=env)
    checked = run_ok([wopr, "db", "check", "--database", path], tmp_path, env=env)
    assert "The schema is as it should be." in checked
