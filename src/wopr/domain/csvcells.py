"""CSV for programs and for spreadsheets, which take some texts for formulas."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What a spreadsheet takes for the beginning of a formula, or leaves away before one."""


def cell(value: object) -> object:
    """Return what is written of a value: a text that looks like a formula behind a ``'``.

    Numbers stay, also negative ones: they are values of the database and not texts.
    """
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value
