"""Where settings come from, in which order, and what is said about those that are wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.programs import clean_environment
from wopr import InvalidSettingError, Settings, SettingsFileError, TaskQueue
from wopr.config.files import unknown_variables
from wopr.config.settings import origins

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Be in an empty directory; return what writes a file there."""
    monkeypatch.chdir(tmp_path)

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_the_strongest_source_wins(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [Settings().window]
    write("pyproject.toml", "[tool.wopr]\nwindow = 11\n")
    seen.append(Settings().window)
    write("wopr.toml", "window = 12\n")
    seen.append(Settings().window)
    write(".env", "WOPR_TASKS_WINDOW=13\n")
    seen.append(Settings().window)
    monkeypatch.setenv("WOPR_TASKS_WINDOW", "14")
    seen.append(Settings().window)
    seen.append(Settings(window=15).window)
    assert [10_000, 11, 12, 13, 14, 15] == seen


def test_sources_complete_each_other(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    project = write("pyproject.toml", "[tool.wopr]\nwindow = 11\nquery_rows = 5\n")
    toml = write("wopr.toml", "window = 12\n")
    env = write(".env", "WOPR_TASKS_LOG_LEVEL=debug\nPASSWORD=x\n")
    monkeypatch.setenv("wopr_tasks_http", "8080")
    settings = Settings()
    assert (12, 5) == (settings.window, settings.query_rows)
    assert ("DEBUG", "8080") == (settings.log_level, settings.http)
    where = origins({"database": "--database"})
    assert list(Settings.model_fields) == list(where)
    assert {
        "query_rows": str(project),
        "window": str(toml),
        "log_level": str(env),
        "http": "wopr_tasks_http",
        "database": "--database",
    } == {name: origin for name, origin in where.items() if origin != "default"}


def test_a_queue_uses_them(write: Write) -> None:
    write("wopr.toml", 'enabled = true\ndatabase = "shop.duckdb"\n')
    queue = TaskQueue()
    assert (True, Path("shop.duckdb").absolute()) == (queue.enabled, queue.database)


@pytest.mark.parametrize("name", [".env", "wopr.toml", "pyproject.toml"])
@pytest.mark.parametrize("way", ["../victim.duckdb", "link.duckdb", "{above}/victim.duckdb"])
def test_a_file_that_leads_out_of_its_directory_is_told(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, way: str
) -> None:
    texts = {
        ".env": "WOPR_TASKS_DATABASE={}\n",
        "wopr.toml": 'database = "{}"\n',
        "pyproject.toml": '[tool.wopr]\ndatabase = "{}"\n',
    }
    (tmp_path / "link.duckdb").symlink_to("../victim.duckdb")
    file = write(name, texts[name].format(way.format(above=tmp_path.parent)))

    TaskQueue()

    [said] = [one.getMessage() for one in caplog.records]
    assert f"{tmp_path.parent / 'victim.duckdb'}, outside of {tmp_path}: {file} says so" in said


def test_a_default_name_that_is_a_link_out_of_the_directory_is_told(
    write: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "wopr_tasks.duckdb").symlink_to("../victim.duckdb")
    TaskQueue()
    assert f"{tmp_path / 'wopr_tasks.duckdb'} is a link" in caplog.text


def test_who_calls_may_lead_anywhere_without_being_told(
    write: Write,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    TaskQueue(database="../mine.duckdb")
    write("wopr.toml", 'database = "below.duckdb"\n')
    TaskQueue()
    monkeypatch.setenv("WOPR_TASKS_DATABASE", "../mine.duckdb")
    TaskQueue()
    assert [] == caplog.records


def test_a_changed_file_counts_for_the_next_queue(write: Write) -> None:
    write("wopr.toml", "window = 12\n")
    assert 12 == Settings().window
    write("wopr.toml", "window = 13\n")
    assert 13 == Settings().window


def test_only_the_working_directory_is_looked_at(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("wopr.toml", "window = 12\n")
    write(".env", "WOPR_TASKS_QUERY_ROWS=5\n")
    below = write("below/app.py", "").parent
    monkeypatch.chdir(below)
    assert {"default"} == set(origins({}).values())
    assert Settings() == Settings(window=10_000, query_rows=100_000)


def test_files_of_others_may_be_broken(write: Write) -> None:
    write(".env", "WHAT='is this\n")
    write("pyproject.toml", "[tool\n")
    assert {"default"} == set(origins({}).values())


def test_a_directory_named_env_is_no_file_with_settings(write: Write) -> None:
    write(".env/pyvenv.cfg", "")
    assert 10_000 == Settings().window


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        (".env", "A=1\nWOPR_TASKS_WINDOW='12\n", "line 2: this is not NAME=value"),
        (".env", "A=1\nexport wopr_tasks_enabled\n", "line 2: this is not NAME=value"),
        ("wopr.toml", "window = 12\nhttp = \n", "at line 2"),
        ("pyproject.toml", "[tool.wopr]\nwindow\n", "at line 2"),
        ("pyproject.toml", "tool = 'wopr'\n", "is no TOML"),
        ("pyproject.toml", "[tool]\nwopr = 1\n", "tool.wopr is no table"),
        ("wopr.toml", "windows = 12\n", "there is no setting 'windows'. Did you mean window?"),
        (
            "pyproject.toml",
            "[tool.wopr]\nfoo = 1\n",
            "no setting 'foo'. There are ",
        ),
    ],
)
def test_a_broken_file_is_refused_by_name_and_line(
    write: Write, name: str, text: str, expected: str
) -> None:
    path = write(name, text)
    with pytest.raises(SettingsFileError) as refused:
        TaskQueue()
    assert str(path) in str(refused.value)
    assert expected in str(refused.value)


def test_a_line_of_another_program_may_have_no_value(write: Write) -> None:
    write(".env", "DEBUG\nWOPR_TASKS_WINDOW=13\n")
    assert 13 == Settings().window


def test_a_line_of_an_env_file_may_name_another_variable(write: Write) -> None:
    write(".env", "AT=/srv\nWOPR_TASKS_DATABASE=${AT}/tasks.duckdb\n")
    assert Path("/srv/tasks.duckdb") == Settings().database


def test_a_program_with_a_wrong_value_in_a_file_gets_a_letter_and_not_pydantics(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("wopr.toml", 'window = "many"\n')
    monkeypatch.setenv("WOPR_TASKS_MAX_CRASHES", "0")
    with pytest.raises(InvalidSettingError) as refused:
        TaskQueue(settings=Settings(memory_limit="much"))
    assert [
        "A setting is wrong.",
        "memory_limit: a size is a number and a unit, as in 500MB, not 'much'.",
        "WOPR_TASKS_MAX_CRASHES: Input should be greater than or equal to 1, not '0'.",
        f"{path}: window: Input should be a valid integer, unable to parse string as an integer, "
        "not 'many'.",
    ] == str(refused.value).splitlines()


def test_a_setting_that_there_is_not_is_refused_by_name() -> None:
    with pytest.raises(InvalidSettingError, match=r"windows: Extra inputs are not permitted"):
        Settings(windows=3)


def test_a_file_that_is_not_utf8_is_refused_by_line(write: Write) -> None:
    path = write("wopr.toml", "window = 12\n")
    path.write_bytes(b'window = 12\ndatabase = "b\xe4r.duckdb"\n')
    with pytest.raises(SettingsFileError, match=r"wopr.toml, line 2: byte 0xe4 is not UTF-8"):
        Settings()


def test_an_env_file_in_utf16_is_refused_and_not_passed_over(write: Write) -> None:
    write(".env", "").write_bytes("WOPR_TASKS_WINDOW=13\n".encode("utf-16"))
    with pytest.raises(SettingsFileError, match=r"\.env, line 1: byte 0xf[ef] is not UTF-8"):
        Settings()


def test_a_file_with_a_byte_order_mark_is_read(write: Write) -> None:
    write(".env", "\ufeffWOPR_TASKS_WINDOW=13\n")
    write("wopr.toml", "\ufeffquery_rows = 5\n")
    assert (13, 5) == (Settings().window, Settings().query_rows)


def test_a_file_that_may_not_be_read_is_refused(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    path = write(".env", "X=1\n")
    monkeypatch.setattr(Path, "read_bytes", deny)
    with pytest.raises(SettingsFileError, match="Permission denied") as refused:
        Settings()
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("address", ["8080", "localhost:80", "0.0.0.0:0", "[::1]:8080", ":99"])
def test_an_address_is_host_and_port(address: str) -> None:
    assert address == Settings(http=address).http


@pytest.mark.parametrize("address", ["", "localhost", "a b:1", "::1:80", "x:65536", "x:-1", "1.5"])
def test_another_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidSettingError, match="an address is a port or host:port"):
        Settings(http=address)


def test_a_port_in_toml_may_be_a_number(write: Write) -> None:
    write("wopr.toml", "http = 8080\n")
    assert "8080" == Settings().http


def test_a_size_has_a_unit() -> None:
    assert "1.5GB" == Settings(process_memory_limit="1.5GB").process_memory_limit
    for name in ("memory_limit", "process_memory_limit"):
        for wrong in ("500", "1.2.3MB", ".MB"):
            with pytest.raises(InvalidSettingError, match="as in 500MB"):
                Settings(**{name: wrong})


def test_a_variable_that_is_no_setting_is_found(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = write(".env", "WOPR_TASKS_DATABSE=x\nOTHER=1\n")
    monkeypatch.setenv("WOPR_TASKS_ROWS_OF_QUERY", "1")
    monkeypatch.setenv("WOPR_TASKS_WINDOW", "20")
    assert [
        "WOPR_TASKS_ROWS_OF_QUERY in the environment is no setting and has no effect.",
        f"WOPR_TASKS_DATABSE in {env} is no setting and has no effect. "
        "Did you mean WOPR_TASKS_DATABASE?",
    ] == list(unknown_variables(Settings.model_fields))
    assert Path("wopr_tasks.duckdb") == Settings().database


def test_a_queue_that_is_switched_off_loads_nothing_for_its_settings(write: Write) -> None:
    write("wopr.toml", 'database = "shop.duckdb"\n')
    folder = write(".env", "WOPR_TASKS_LOG_FORMAT=json\n").parent
    code = "import sys; from wopr import TaskQueue; print(TaskQueue().settings.log_format)"
    code += "; print(*({'duckdb', 'structlog', 'logging.config'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ["json", ""] == done.stdout.split("\n")[:2]
    assert {".env", "wopr.toml"} == set(os.listdir(folder))
