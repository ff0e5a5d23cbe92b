"""Rules of the house that ruff, mypy and import-linter can't state, over src/."""

from __future__ import annotations

import ast

import pytest

from support.sources import Source, calls, imported_modules, package_sources

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40  # docstrings do not count

SOURCES = [pytest.param(source, id=source.name) for source in package_sources()]

CLOCK = "src/wopr/domain/clock.py"
COMPOSITION_ROOT = "src/wopr/queue/queue.py"
WORLD = "src/wopr/testing/world.py"
"""Where tasks of users run on simulated time: their own chance is seeded, and given back."""
TIME_AND_CHANCE = (
    "datetime.now",
    "datetime.today",
    "datetime.utcnow",
    "date.today",
    "time.time",
    "time.time_ns",
    "uuid.uuid1",
    "uuid.uuid4",
)

# What runs code, or gives a stored value the means to run some.
NEVER_IMPORTED = {"pickle", "dill", "cloudpickle", "marshal", "shelve"}
NEVER_CALLED = {"eval", "exec", "compile", "__import__", "os.system"}

CONNECTING = "src/wopr/storage/duckdb/file/connecting.py"
ENGINE = "sqlalchemy.create_engine"
OPENS_FILES = {
    "duckdb.connect": CONNECTING,
    "duckdb.DuckDBPyConnection": CONNECTING,
    ENGINE: CONNECTING,
}
"""What can open a file without the settings that keep its SQL in it."""

SYNCING = "src/wopr/storage/duckdb/disk.py"
SYNCS = {"os.fsync", "os.fdatasync", "os.sync"}
"""What leaves bytes in the cache of the drive on macOS."""


STORAGE = "src/wopr/storage/duckdb/"
OPENS_SAFELY = {
    f"{STORAGE}private.py",
    f"{STORAGE}disk.py",  # to sync
    f"{STORAGE}file/signature.py",  # for other processes, which take nothing from it but numbers
}


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its decorators and docstring."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function) is not None and first.end_lineno is not None:
        lines -= first.end_lineno - first.lineno + 1
    return lines


@pytest.mark.parametrize("source", SOURCES)
def test_a_file_fits_in_a_readers_head(source: Source) -> None:
    assert len(source.text.splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("source", SOURCES)
def test_a_function_fits_on_a_screen(source: Source) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    too_long = {
        f"{source.name}:{node.lineno} {node.name}": length(node)
        for node in ast.walk(source.tree)
        if isinstance(node, functions) and length(node) > MAX_FUNCTION_LINES
    }
    assert too_long == {}


@pytest.mark.parametrize("source", SOURCES)
def test_time_and_chance_come_through_the_clock(source: Source) -> None:
    if source.name == CLOCK:
        pytest.skip("this is the clock")
    # A generator with a fixed seed leaves nothing to chance; the one with a random seed is
    # made where the queue is put together, unless the caller gives one, and handed down.
    read = [
        f"{source.name}:{call.lineno} calls {name}"
        for call, name in calls(source.tree)
        if (name.endswith(TIME_AND_CHANCE) or name.split(".")[0] in {"random", "secrets"})
        and not (name == "random.Random" and (call.args or source.name == COMPOSITION_ROOT))
        and not (source.name == WORLD and name in {"random.seed", "random.setstate"})
        and not (source.name == WORLD and name == "random.getstate")
    ]
    assert read == []


@pytest.mark.parametrize("source", SOURCES)
def test_nothing_stored_can_run_code(source: Source) -> None:
    imports = [
        f"{source.name}:{line} imports {name}"
        for line, name in imported_modules(source.tree)
        if name.split(".")[0] in NEVER_IMPORTED
    ]
    run = [
        f"{source.name}:{call.lineno} calls {name}"
        for call, name in calls(source.tree)
        if name in NEVER_CALLED
    ]
    assert imports + run == []


@pytest.mark.parametrize("source", SOURCES)
def test_annotations_are_not_evaluated(source: Source) -> None:
    annotated = (ast.FunctionDef, ast.AsyncFunctionDef, ast.AnnAssign)
    if any(isinstance(node, annotated) for node in ast.walk(source.tree)):
        names = {name for _, name in imported_modules(source.tree)}
        assert "__future__.annotations" in names


@pytest.mark.parametrize("source", SOURCES)
def test_a_module_says_what_it_is(source: Source) -> None:
    assert ast.get_docstring(source.tree)


@pytest.mark.parametrize("source", SOURCES)
def test_one_place_opens_files_of_duckdb(source: Source) -> None:
    opened = [
        f"{source.name}:{call.lineno} calls {name}"
        for call, name in calls(source.tree)
        if name in OPENS_FILES
        and source.name != OPENS_FILES[name]
        # An engine over a connection that is there opens nothing.
        and not (name == ENGINE and any(given.arg == "creator" for given in call.keywords))
    ]
    assert opened == []


@pytest.mark.parametrize("source", [one for one in SOURCES if STORAGE in str(one.id)])
def test_what_lies_beside_the_database_is_opened_by_those_who_follow_nothing(
    source: Source,
) -> None:
    found = [
        f"{source.name}:{call.lineno} calls {name}"
        for call, name in calls(source.tree)
        if name in {"open", "os.open", "os.truncate", "shutil.copyfile", "shutil.copy"}
        or name.rpartition(".")[2] in {"read_bytes", "write_bytes", "write_text"}
        if source.name not in OPENS_SAFELY
    ]
    assert found == []


@pytest.mark.parametrize("source", SOURCES)
def test_one_place_says_what_makes_bytes_durable(source: Source) -> None:
    synced = [f"{source.name}:{call.lineno}" for call, name in calls(source.tree) if name in SYNCS]
    assert source.name == SYNCING or synced == []


def test_that_place_opens_them_once() -> None:
    [source] = (one for one in package_sources() if one.name == CONNECTING)
    assert 1 == sum(name == "duckdb.connect" for _, name in calls(source.tree))
