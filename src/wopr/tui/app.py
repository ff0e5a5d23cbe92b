"""The dashboard in a terminal: lays the tables out, looks again and again, and hears keys."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.events import AppBlur, AppFocus
from textual.widgets import DataTable, Footer, Input, Static

from wopr.domain.clock import Clock
from wopr.domain.errors import StorageError, WoprError
from wopr.domain.spoken import local
from wopr.domain.terminal import clean
from wopr.queue.queue import TaskQueue
from wopr.tui.acting import Acting, Stage
from wopr.tui.deeds import Key
from wopr.tui.details import details
from wopr.tui.dialogs import HELP, Told
from wopr.tui.panels import Panel
from wopr.tui.reading import Reads
from wopr.tui.styles import CSS
from wopr.tui.view import Quick, Row, Slow, Subject, all_reasons, rows_of, said_of_age, why

EVERY = 1.0
SLOWLY_EVERY = 10.0
"""Seconds between two looks, at least; they take a tenth of the time at most."""
UNFOCUSED = 10
"""So many times as long it waits while another window has the keyboard."""
SHARE = 9
"""After a look that took a second it waits for so many."""
REASONS = {"-narrow": 3, "-wide": 8}
"""So many reasons are shown, by the width of the terminal."""

WANTED = "a name, a category, an id, a status"


def rest(every: float, took: float, *, blurred: bool) -> float:
    """Return the seconds between a look that took so long and the next one."""
    return max(every * (UNFOCUSED if blurred else 1), took * SHARE)


class Top(Stage):
    """What flows in a queue, what does not and why.

    Args:
        queue: acts go to it, and questions about one row.
        reads: tells what there is.
        clock: says how old that is.
    """

    TITLE = "wopr top"
    CSS = CSS
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (150, "-wide")]  # noqa: RUF012 - of an instance
    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(str(number), f"turn_to('{subject.name}')", subject.value, show=False)
            for number, subject in enumerate(Subject, 1)
        ),
        Binding("tab", "turn(1)", show=False, priority=True),
        Binding("shift+tab", "turn(-1)", show=False, priority=True),
        Binding("slash", "filter", "Filter"),
        Binding("p", "pause", "Pause…"),
        Binding("c", "cancel", "Cancel…"),
        Binding("r", "retry", "Retry…"),
        Binding("u", "undo", "Undo…"),
        Binding("a", "acts", "Acts"),
        Binding("s", "status", "Status"),
        Binding("question_mark", "help", "Help"),
        Binding("q", "quit", "Quit"),
        Binding("escape", "show_all", show=False),
    ]

    def __init__(
        self, queue: TaskQueue, reads: Reads, clock: Clock, *, read_only: bool = False
    ) -> None:
        super().__init__()
        self.queue = queue
        self._reads = reads
        self._time = clock
        self._acting = Acting(self, queue, read_only=read_only)
        self._quick: Quick | None = None
        self._slow = Slow()
        self._trouble = ""
        self._wanted = ""
        self._turned_to = Subject.CATEGORIES
        self._blurred = False
        self._again = asyncio.Event()
        self._head = Static(id="head", markup=False)
        self._why = Static(id="why", markup=False)
        self._tabs = Static(id="tabs", markup=False)
        self._filter = Input(id="filter", placeholder=WANTED, max_length=200)
        self._panels = {subject: Panel(subject) for subject in Subject}

    # -- what there is --------------------------------------------------------

    @property
    def quick(self) -> Quick | None:
        """What was read last."""
        return self._quick

    @property
    def row(self) -> Row | None:
        """The row that keys are about."""
        return self._panels[self._turned_to].selected

    def compose(self) -> ComposeResult:
        """Lay it out."""
        yield from (self._head, self._why, self._tabs)
        yield Container(*self._panels.values(), id="panels")
        yield self._filter
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self._turn_to(self._turned_to)
        self._say_how_old()
        self.set_interval(EVERY, self._say_how_old)
        self._look_often()
        self._look_seldom()

    # -- look, again and again ------------------------------------------------

    def look_again(self) -> None:
        """Look now, and not only when it is time."""
        self._again.set()

    @work
    async def _look_often(self) -> None:
        await self._repeat(self._look, EVERY)

    @work
    async def _look_seldom(self) -> None:
        await self._repeat(self._look_back, SLOWLY_EVERY)

    async def _repeat(self, look: Callable[[], Awaitable[None]], every: float) -> None:
        while True:
            began, took = self._time.monotonic(), 0.0
            try:
                await look()
                took = self._time.monotonic() - began
            except StorageError as error:  # what does not answer has no work with it
                self._trouble = str(error)
                self._say_how_old()
            seconds = rest(every, took, blurred=self._blurred)
            try:
                async with asyncio.timeout(seconds):
                    await self._again.wait()
            except TimeoutError:
                continue
            self._again.clear()

    async def _look(self) -> None:
        self._quick = await self._reads.quick(self._wanted)
        self._trouble = ""
        self._show()

    async def _look_back(self) -> None:
        self._slow = await self._reads.slow()
        self._show()

    def on_app_blur(self, _: AppBlur) -> None:
        """Look seldom: nobody types here."""
        self._blurred = True

    def on_app_focus(self, _: AppFocus) -> None:
        """Look as often as before."""
        self._blurred = False
        self.look_again()

    # -- show -----------------------------------------------------------------

    def on_resize(self) -> None:
        """Show as much as there is room for."""
        self.call_after_refresh(self._show)

    def _show(self) -> None:
        self._say_how_old()
        quick = self._quick
        if quick is None or not self.is_running:
            return
        self._why.update(self._reasons(quick, "-wide" if self._is_wide() else "-narrow"))
        for number, subject in enumerate(Subject, 1):
            rows = rows_of(quick, self._slow, subject, self._wanted)
            title = f"{number} {subject} ({len(rows):,})"
            self._panels[subject].show(rows, quick.moment, title)
        wanted = f"   only: {clean(self._wanted)}" if self._wanted else ""
        names = (
            f"[{number} {one}]" if one is self._turned_to else f" {number} {one} "
            for number, one in enumerate(Subject, 1)
        )
        self._tabs.update(" ".join(names) + wanted)

    def _is_wide(self) -> bool:
        return bool(self.screen_stack) and self.screen_stack[0].has_class("-wide")

    def _reasons(self, quick: Quick, width: str) -> str:
        reasons, most = all_reasons(quick, self._slow), REASONS[width]
        lines = [quick.status.text]
        for number, one in enumerate(reasons[:most], 1):
            cure = f"  $ {one.command}" if one.command else ""
            lines.append(f"{number}. {one.text}{cure}")
        if len(reasons) > most:
            lines.append(f"… and {len(reasons) - most} more: s")
        return "\n".join(clean(line) for line in lines)

    def _say_how_old(self) -> None:
        now, moment = self._time.now(), None if self._quick is None else self._quick.moment
        self._head.set_class(bool(self._trouble), "old")
        if self._trouble:
            self._head.update(said_of_age(moment, now, self._trouble))
        else:
            self._head.update(self._line(moment))

    def _line(self, moment: datetime | None) -> str:
        if self._quick is None or moment is None:
            return clean(f"wopr top  {self.queue.database.name}  …")
        owner = f"owner {self._quick.status.owner}" if self._quick.acts else "nobody works on it"
        doing = f"  {self._acting.doing}" if self._acting.doing else ""
        return clean(f"wopr top  {self.queue.database.name}  {owner}  {local(moment)}{doing}")

    # -- keys -----------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Leave the keys of the tables alone while a dialog is open."""
        return not (action == "turn" and len(self.screen_stack) > 1)

    def action_turn_to(self, name: str) -> None:
        """Turn to a panel."""
        self._turn_to(Subject[name])

    def action_turn(self, by: int) -> None:
        """Turn to the next panel, or to the one before."""
        subjects = list(Subject)
        self._turn_to(subjects[(subjects.index(self._turned_to) + by) % len(subjects)])

    def _turn_to(self, subject: Subject) -> None:
        self._turned_to = subject
        for one in Subject:
            self._panels[one].set_class(one is subject, "current")
        self._panels[subject].focus()
        self._show()

    def action_filter(self) -> None:
        """Ask for a text."""
        self._filter.add_class("open")
        self._filter.focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Show only what holds the text."""
        if event.input is self._filter:
            self._wanted = event.value
            self._show()
            self.look_again()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Keep the text, and go back to the table."""
        if event.input is self._filter:
            self._close_filter()

    def action_show_all(self) -> None:
        """Forget the text."""
        self._filter.value = ""
        self._close_filter()

    def _close_filter(self) -> None:
        self._filter.remove_class("open")
        self._panels[self._turned_to].focus()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Tell more of a row."""
        if isinstance(event.data_table, Panel) and (row := event.data_table.selected) is not None:
            self._tell_more(row)

    @work(exclusive=True, group="dialog")
    async def _tell_more(self, row: Row) -> None:
        try:
            lines = await details(self.queue, row)
        except (WoprError, OSError) as error:
            self.complain(error)
        else:
            await self.push_screen_wait(Told(str(self._turned_to), lines))

    def action_status(self) -> None:
        """Say in full whether work flows, and why not."""
        if self._quick is not None:
            lines = [clean(line) for line in why(self._quick, self._slow)]
            self.push_screen(Told("Status", lines))

    def action_help(self) -> None:
        """Say what the keys do."""
        self.push_screen(Told("Keys", HELP))

    # The decorator makes each a worker of its own: a dialog waits for its answer.

    @work(exclusive=True, group="dialog")
    async def action_cancel(self) -> None:
        """Cancel what the row is about."""
        await self._acting.change(Key.CANCEL, self.row)

    @work(exclusive=True, group="dialog")
    async def action_retry(self) -> None:
        """Retry what of the row has failed."""
        await self._acting.change(Key.RETRY, self.row)

    @work(exclusive=True, group="dialog")
    async def action_pause(self) -> None:
        """Pause what the row is about, or resume it."""
        await self._acting.pause(self.row)

    @work(exclusive=True, group="dialog")
    async def action_undo(self) -> None:
        """Take the newest act back."""
        await self._acting.undo_newest()

    @work(exclusive=True, group="dialog")
    async def action_acts(self) -> None:
        """List the acts."""
        await self._acting.list_acts()

    def complain(self, error: Exception | str) -> None:
        """Tell an error."""
        text = clean(str(error) or type(error).__name__)
        self.notify(text[:1_000], title="Not done", severity="error", timeout=15, markup=False)
