"""What stands before the tables for a moment: a preview to say yes to, details, acts, help."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import DataTable, Input, Static

from wopr.domain.act import Act
from wopr.domain.spoken import local
from wopr.domain.terminal import clean


class Confirm(ModalScreen[str | None]):
    """What would be done, to say yes or no to; its answer is the reason given, ``None`` is no.

    Args:
        title: a question.
        lines: what would be done, safe for a terminal.
        wants_reason: whether a reason can be given.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave it"),
        Binding("enter", "agree", "Do it"),
    ]

    def __init__(self, title: str, lines: Sequence[str], *, wants_reason: bool = True) -> None:
        super().__init__()
        self._title = clean(title)
        self._lines = "\n".join(lines)
        self._wants_reason = wants_reason

    def compose(self) -> ComposeResult:
        """Lay it out."""
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="title", markup=False)
            with VerticalScroll(can_focus=not self._wants_reason):
                yield Static(self._lines, markup=False)
            if self._wants_reason:
                yield Input(placeholder="reason, for those who look later", max_length=1_000)
            yield Static("Enter: do it.  Escape: leave it.", classes="keys", markup=False)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Say yes, with a reason."""
        self.dismiss(event.value.strip())

    def action_agree(self) -> None:
        """Say yes."""
        self.dismiss("")

    def action_leave(self) -> None:
        """Say no."""
        self.dismiss(None)


class Told(ModalScreen[None]):
    """Lines to read.

    Args:
        title: what they are about.
        lines: safe for a terminal.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,question_mark", "leave", "Back"),
    ]

    def __init__(self, title: str, lines: Sequence[str]) -> None:
        super().__init__()
        self._title = clean(title)
        self._lines = "\n".join(lines)

    def compose(self) -> ComposeResult:
        """Lay it out."""
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="title", markup=False)
            with VerticalScroll():
                yield Static(self._lines, markup=False)
            yield Static("Escape: back.", classes="keys", markup=False)

    def action_leave(self) -> None:
        """Go back."""
        self.dismiss()


class ActList(ModalScreen[Act | None]):
    """What was done, the newest first; its answer is the act to take back.

    Args:
        acts: some of them.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,a", "leave", "Back"),
        Binding("u", "undo", "Undo…"),
    ]

    def __init__(self, acts: Sequence[Act]) -> None:
        super().__init__()
        self._acts = acts

    def compose(self) -> ComposeResult:
        """Lay it out."""
        with Vertical(classes="dialog wide"):
            yield Static("Acts", classes="title", markup=False)
            yield DataTable[Text](cursor_type="row", zebra_stripes=True)
            yield Static("u: take it back…  Escape: back.", classes="keys", markup=False)

    def on_mount(self) -> None:
        """Fill the table."""
        table = self.query_one(DataTable)
        table.add_columns("act", "began", "verb", "changed", "who", "reason", "about")
        for act in self._acts:
            values = act.number, local(act.began_at), act.verb, act.changed, act.who, act.reason
            table.add_row(*(Text(clean(value)[:200]) for value in (*values, act.selection)))

    def action_undo(self) -> None:
        """Answer with the act under the cursor."""
        if self._acts:
            self.dismiss(self._acts[self.query_one(DataTable).cursor_row])

    def action_leave(self) -> None:
        """Answer with none."""
        self.dismiss(None)


HELP = (
    "1 … 5, tab   the tables, one after the other",
    "↑ ↓, k j     go through the rows; enter tells more of one",
    "/            show only rows with a text in them. Among all tasks it",
    "             looks for names, categories, ids and a status: failed mail",
    "escape       show all again",
    "s            all reasons why something does not run, and their cures",
    "",
    "p            pause the category or the name of the row, or resume it",
    "c            cancel the tasks that the row is about",
    "r            retry those of them that have failed",
    "u            take the newest act back",
    "a            list the acts; u takes back the one under the cursor",
    "",
    "Each shows first what it would do. Enter does it, escape leaves it.",
    "",
    "q            quit; what runs goes on",
)
"""What the keys do."""
