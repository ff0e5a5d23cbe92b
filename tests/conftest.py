"""What every test shares: settings of hypothesis, and no leak of the caller's environment."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

from support.files import ANEW, copy_file
from support.paths import ROOT
from support.tight import lower_thresholds
from wopr.storage.duckdb.file import migrate

# In CI the same examples every time, and no database of failures to depend on.
settings.register_profile(
    "ci",
    derandomize=True,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
# At a desk new examples every time; a deadline would only measure the machine.
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")

# A script's background job ignores Ctrl-C, and so would every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the same tests run while everything that happens now and then happens all the time."""
    parser.addoption("--postgres", action="store_true", help="run all that can on PostgreSQL")
    parser.addoption("--tight", action="store_true", help="lower all thresholds of the storage")


@pytest.fixture(autouse=True)
def _no_wopr_settings(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Take WOPR_* of the person running the tests away: they would change defaults."""
    for name in list(os.environ):
        if name.startswith("WOPR_"):
            monkeypatch.delenv(name)
    if request.config.getoption("--tight"):
        lower_thresholds(monkeypatch)


@pytest.fixture(autouse=True)
def _new_files_are_copies(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Let what is the same in each new file be made once: most tests make one, or several."""
    name = request.path.relative_to(ROOT / "tests").as_posix()
    if not ANEW.match(name):
        monkeypatch.setattr(migrate, "create_file", copy_file)
