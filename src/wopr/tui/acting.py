"""What keys do to a queue: a preview, then the act if it is agreed to, then what came of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from textual.app import App

from wopr.core.tasks import SelectedTasks
from wopr.domain.act import Act, ActAnswer, ActProgress, Preview
from wopr.domain.errors import WoprError
from wopr.domain.spoken import counted, local
from wopr.domain.terminal import clean
from wopr.queue.queue import TaskQueue
from wopr.tui.deeds import DONE, Deed, Key, deed, is_paused, previewed, to_pause
from wopr.tui.dialogs import ActList, Confirm, Told
from wopr.tui.view import Quick, Row

LISTED = 100
"""So many of the newest acts are listed."""


class Stage(App[None]):
    """What shows it all, as far as acts are concerned."""

    @property
    def quick(self) -> Quick | None:
        """What was read last; ``None``: nothing yet."""
        raise NotImplementedError

    def look_again(self) -> None:
        """Look now, and not only when it is time."""
        raise NotImplementedError

    def complain(self, error: Exception | str) -> None:
        """Tell why something was not done."""
        raise NotImplementedError


class Acting:
    """Acts on one queue for who sits before the terminal.

    Args:
        stage: shows dialogs and answers.
        queue: what is acted on.
        read_only: refuse all acts.
    """

    def __init__(self, stage: Stage, queue: TaskQueue, *, read_only: bool) -> None:
        self._stage = stage
        self._queue = queue
        self._read_only = read_only
        self.doing = ""
        """What goes on now, in words; empty: nothing."""

    async def change(self, key: Key, row: Row | None) -> None:
        """Cancel or retry what a row is about."""
        wanted = None if row is None else deed(key, row)
        if wanted is None:
            self._stage.complain(f"There is nothing to {key} on this row.")
        elif self._may():
            await self._guarded(lambda: self._change(wanted))

    async def pause(self, row: Row | None) -> None:
        """Pause what a row is about, or resume it."""
        if row is None:
            self._stage.complain("There is no row to pause something of.")
        elif self._may():
            target = to_pause(row)
            await self._guarded(lambda: self._pause(target))

    async def undo_newest(self) -> None:
        """Take the newest act back."""

        async def undo() -> None:
            acts = await self._queue.acts(1)
            if not acts:
                self._stage.complain("Nobody has done anything yet.")
            else:
                await self._undo(acts[0])

        if self._may():
            await self._guarded(undo)

    async def list_acts(self) -> None:
        """List the acts, and take one back if asked to."""

        async def ask() -> None:
            act = await self._stage.push_screen_wait(ActList(await self._queue.acts(LISTED)))
            if act is not None and self._may():
                await self._undo(act)

        await self._guarded(ask)

    # -- inside ---------------------------------------------------------------

    def _may(self) -> bool:
        quick = self._stage.quick
        if self._read_only:
            self._stage.complain("It was started with --read-only.")
        elif quick is None or not quick.acts:
            self._stage.complain(
                "No worker has the database open, so wopr top only looks. Start one: wopr worker "
                "module:queue. Or act from the command line: wopr tasks cancel, wopr tasks retry."
            )
        else:
            return True
        return False

    async def _guarded(self, doing: Callable[[], Awaitable[None]]) -> None:
        try:
            await doing()
        except (WoprError, OSError) as error:
            self._stage.complain(error)
        finally:
            self.doing = ""
            self._stage.look_again()

    async def _change(self, wanted: Deed) -> None:
        tasks = self._queue.tasks.where(**wanted.selection)
        preview = await _preview(tasks, wanted.key)
        title, lines = f"{wanted.key.capitalize()} {wanted.what}?", previewed(preview, wanted.key)
        if not preview.changes:
            await self._stage.push_screen_wait(Told(title, lines))
            return
        reason = await self._stage.push_screen_wait(Confirm(title, lines))
        if reason is None:
            return
        self._told(ActProgress(0, preview.selected, 0))
        do = tasks.cancel if wanted.key is Key.CANCEL else tasks.retry
        answer = await do(reason=reason or None, on_progress=self._told)
        self._say(answer, DONE[wanted.key], "task")

    async def _pause(self, target: dict[str, str]) -> None:
        [what] = target.items()
        quick = self._stage.quick
        paused = quick is not None and is_paused(target, quick.pauses)
        lines = [clean(line) for line in str(await self._group(target)).split("\n")]
        title = f"{'Resume' if paused else 'Pause'} {' '.join(what)}?"
        lines += ["", "Its tasks start again." if paused else "What runs goes on."]
        dialog = Confirm(title, lines, wants_reason=not paused)
        reason = await self._stage.push_screen_wait(dialog)
        if reason is None:
            return
        if paused:
            await self._queue.resume(**target)
        else:
            await self._queue.pause(**target, reason=reason or "by hand")
        done = "resumed" if paused else "paused; p resumes it"
        self._stage.notify(clean(f"{' '.join(what)} {done}."), markup=False)

    async def _group(self, target: dict[str, str]) -> object:
        if "category" in target:
            return await self._queue.explain(category=target["category"])
        return await self._queue.explain(name=target["task"])

    async def _undo(self, act: Act) -> None:
        lines = [
            f"{act.verb} by {act.who}, {local(act.began_at)}",
            f"about: {act.selection}",
            f"changed: {act.changed:,}",
            *([f"reason: {act.reason}"] if act.reason else []),
            "",
            "Of its tasks only those go back that have not run since.",
        ]
        dialog = Confirm(
            f"Take act {act.number} back?", [clean(line) for line in lines], wants_reason=False
        )
        if await self._stage.push_screen_wait(dialog) is not None:
            answer = await self._queue.undo(act.number, on_progress=self._told)
            self._say(answer, "taken back", "change")

    def _told(self, progress: ActProgress) -> None:
        self.doing = f"{progress.done:,} of about {progress.total:,} …"

    def _say(self, answer: ActAnswer, word: str, what: str) -> None:
        text = f"{counted(answer.act.changed, what)} {word} (act {answer.act.number})."
        if answer.left:
            first = answer.unchanged[0].why if answer.unchanged else ""
            text += f" {answer.left:,} stayed as they are. {first}"
        self._stage.notify(clean(f"{text} u takes it back, as far as that can be."), markup=False)


async def _preview(tasks: SelectedTasks, key: Key) -> Preview:
    if key is Key.CANCEL:
        return await tasks.cancel(dry_run=True)
    return await tasks.retry(dry_run=True)
