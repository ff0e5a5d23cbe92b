"""The pytest plugin. Suites that do not ask for its fixtures notice nothing of it."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Offer the fixtures, now that it is known which plugins there are."""
    from wopr.testing import fixtures

    config.pluginmanager.register(fixtures, "wopr-fixtures")
