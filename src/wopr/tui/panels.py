"""A table that stays where it is while what it shows changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable

from wopr.domain.terminal import clean
from wopr.tui.view import COLUMNS, EMPTY, Row, Subject, cells, key_of

STYLES = {
    "success": "green",
    "failed": "red",
    "retry": "yellow",
    "started": "cyan",
    "cancelled": "dim",
    "free": "dim",
}
"""How a word looks; everything else is plain."""


class Panel(DataTable[Text]):
    """One of the tables. A row keeps its place, and the cursor its row, as long as both are there.

    Args:
        subject: what it is about.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]

    def __init__(self, subject: Subject) -> None:
        super().__init__(id=subject.name.lower(), cursor_type="row", zebra_stripes=True)
        self.subject = subject
        self._rows: dict[str, Row] = {}

    def on_mount(self) -> None:
        """Have columns."""
        self.add_columns(*COLUMNS[self.subject])

    @property
    def selected(self) -> Row | None:
        """The row under the cursor."""
        if not self._rows:
            return None
        key = self.coordinate_to_cell_key(Coordinate(self.cursor_row, 0)).row_key.value
        return None if key is None else self._rows.get(key)

    def show(self, rows: Sequence[Row], now: datetime, title: str) -> None:
        """Show other rows, or the same with other values."""
        self.border_title = title
        self.border_subtitle = None if rows else EMPTY[self.subject]
        found = {key_of(row): row for row in rows}
        if list(found) == list(self._rows):
            self._rows = found
            self._refill(now)
        else:
            self._rebuild(found, now)

    def _refill(self, now: datetime) -> None:
        for at, row in enumerate(self._rows.values()):
            for column, cell in enumerate(self._cells(row, now)):
                place = Coordinate(at, column)
                if self.get_cell_at(place) != cell:
                    self.update_cell_at(place, cell, update_width=True)

    def _rebuild(self, found: dict[str, Row], now: datetime) -> None:
        before = self.selected
        key = None if before is None else key_of(before)
        top, at = self.scroll_y, self.cursor_row
        self.clear()
        self._rows = found
        for name, row in found.items():
            self.add_row(*self._cells(row, now), key=name)
        if found:
            at = list(found).index(key) if key in found else min(at, len(found) - 1)
            self.move_cursor(row=at, scroll=False)
            self.scroll_to(y=top, animate=False)

    def _cells(self, row: Row, now: datetime) -> list[Text]:
        return [_cell(value) for value in cells(self.subject, row, now)]


def _cell(value: str | int) -> Text:
    if isinstance(value, int):
        return Text(f"{value:,}", justify="right")
    return Text(clean(value), STYLES.get(value, ""), no_wrap=True, overflow="ellipsis")
