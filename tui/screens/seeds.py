"""Seed tasks, the human-written instructions from which Self-Instruct starts: write, change, import, take away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from textual.binding import Binding
from textual.widget import Widget

from pairsmith.backends.text import one_line
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.run_plan import RunPlan, read_plan, write_plan
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.seed_tasks import (
    SeedTask,
    StoredSeedTask,
    change_seed_task,
    import_seed_tasks,
    list_seed_tasks,
    remove_seed_task,
    write_seed_task,
)

from ..text import cut, fill, line, wrap
from ..widgets.line import Piece
from ..widgets.lines import Lines, Row, plain
from ..widgets.pick_list import Entry, PickList
from ..working import begin
from .ask import FormScreen, Text, Values
from .edit_seed import EditSeedScreen
from .method import Way, method_form
from .undoing import UndoesActs

SHOWN = 1000
"""Entries in the list; / finds others."""
_Rows = list[Row]
_EMPTY = (
    ("a  ", "write one by hand: an instruction, and an example of its answer"),
    ("i  ", "import the paper's seed_tasks.jsonl, or one instruction on each line"),
    ("esc", "back"),
)


class SeedsScreen(UndoesActs):
    """See the module. It lies over the place that it was opened from."""

    CSS = """
    SeedsScreen #head { height: 2; margin: 1 0 0 0; }
    SeedsScreen #detail { height: 7; }
    SeedsScreen.wide #detail { height: 14; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("a,plus", "add", "add", id="seeds.add", tooltip="Write a seed task by hand"),
        Binding("enter,e", "edit", "edit", key_display="enter", id="seeds.edit", tooltip="Change this one"),
        Binding("x", "remove", "delete", id="seeds.remove", tooltip="Take this one out of the pool; u brings it back"),
        Binding("i", "import", "import", id="seeds.import",
                tooltip="Add those of a file: seed_tasks.jsonl, or one instruction on each line"),
        Binding("slash", "find", "find", key_display="/", id="seeds.find", tooltip="Only those with these words"),
        Binding("u", "undo(True)", "undo", id="seeds.undo", tooltip="Take the last act back"),
        Binding("U", "undo(False)", "redo", show=False, id="seeds.redo", tooltip="Do again what was undone"),
        Binding("M", "method", "method", id="seeds.method", tooltip="How the next run finds instructions"),
        Binding("escape,q", "leave", "back", key_display="esc", id="seeds.leave", tooltip="Back to where one was"),
        Binding("j,down", "move(1)", "next", show=False, id="seeds.next", tooltip="The next one"),
        Binding("k,up", "move(-1)", "previous", show=False, id="seeds.previous", tooltip="The one before"),
        Binding("pagedown", "move(10)", "on", show=False, id="seeds.on", tooltip="Ten on"),
        Binding("pageup", "move(-10)", "up", show=False, id="seeds.up", tooltip="Ten back"),
    ]  # fmt: skip

    def __init__(self, place: str = "generate") -> None:
        super().__init__()
        self.PLACE = place  # type: ignore[misc]
        self.seeds: Sequence[StoredSeedTask] = ()
        self.words = ""
        self.plan = RunPlan()
        self._way: Way | None = None

    def body(self) -> Iterable[Widget]:
        """Numbers, the list, the task under the cursor."""
        yield Lines(id="head")
        yield PickList(id="all")
        yield Lines(id="detail")

    @property
    def text(self) -> str:
        """What is on the screen, for tests."""
        head, detail = (plain(self.query_one(name, Lines).rows) for name in ("#head", "#detail"))
        return "\n".join([head, self.list.text, detail])

    @property
    def current(self) -> StoredSeedTask | None:
        """The one under the cursor."""
        here = self.list.current
        return next((seed for seed in self.seeds if str(seed.id) == here), None)

    @property
    def found(self) -> Sequence[StoredSeedTask]:
        """Those with the words that were looked for."""
        words = self.words.casefold().split()
        return [
            seed for seed in self.seeds if all(word in seed.task.instruction.casefold() for word in words)
        ]

    def on_screen_resume(self) -> None:
        """Others may have changed them."""
        super().on_screen_resume()
        begin(self, self.read, group="read")

    async def read(self) -> None:
        """Read all of them."""
        workspace = self.session.workspace
        if workspace is None:
            return

        def look(conn: sqlite3.Connection) -> tuple[Sequence[StoredSeedTask], RunPlan, Way]:
            return list_seed_tasks(conn), read_plan(conn), Way.read(conn)

        try:
            self.seeds, self.plan, self._way = await workspace.aread(look)
        except PairsmithError as error:
            self.notify(str(error), severity="error")
        self.paint()

    def paint(self) -> None:
        """Paint all three."""
        head = self.query_one("#head", Lines)
        width = head.size.width
        if not width:
            return
        head.show_rows(self._head_rows(width))
        found = self.found
        if found:
            entries = [_entry(seed, width) for seed in found[:SHOWN]]
            if len(found) > SHOWN:
                more = f" and {len(found) - SHOWN:,} more: / finds them"
                entries.append(Entry("more", ((Piece(more, "quiet"),),), pickable=False))
        elif self.seeds:
            entries = [Entry("none", ((Piece("None has these words: / looks for others", "quiet"),),), False)]
        else:
            rows = [Entry("empty", ((Piece("No seed task yet.", "strong"),), ()), pickable=False)]
            entries = rows + [
                Entry(key, ((Piece(f"  {key}  ", "accent"), Piece(cut(text, width - 12))),), pickable=False)
                for key, text in _EMPTY
            ]
        self.list.show_entries(entries)
        self._paint_detail()

    def _head_rows(self, width: int) -> _Rows:
        kinds = sum(seed.task.is_classification for seed in self.seeds)
        count = f" {len(self.seeds):,} seed task{'' if len(self.seeds) == 1 else 's'}"
        said = f"{count}, {kinds:,} of them classifications" if kinds else count
        if self.words:
            said += f" · {len(self.found):,} with “{line(self.words, 30)}”"
        way = self._way.said(self.plan).partition(" · ")[0] if self._way is not None else "…"
        note = (
            ""
            if self._way is None or self._way.of(self.plan) == "self-instruct"
            else " · M takes self-instruct"
        )
        return [
            (Piece(cut(said, width - 1), "strong"),),
            (Piece(cut(f" next run: {way}{note}", width - 1), "quiet"),),
        ]

    def _paint_detail(self) -> None:
        area = self.query_one("#detail", Lines)
        width, height = area.size
        if not width:
            return
        rows: _Rows = [(Piece("─" * width, "quiet"),)]
        seed = self.current
        if seed is not None:
            task = seed.task
            rows += [(Piece(f" {text}", "strong"),) for text in wrap(task.instruction, width - 2, 4000)[:3]]
            for instance in task.instances[:1]:
                for name, text in (("input", instance.input), ("output", instance.output)):
                    lines = wrap(text, width - 10, 4000) if text else []
                    rows += [
                        (Piece(f" {name if not number else '':<8}", "quiet"), Piece(part))
                        for number, part in enumerate(lines[: max(1, (height - 4) // 2)])
                    ]
            rows.append((Piece(f" {line(_about(task), width - 2)}", "quiet"),))
        area.show_rows(rows[:height])

    def on_pick_list_moved(self, event: PickList.Moved) -> None:
        """Another one, another text."""
        event.stop()
        self._paint_detail()

    def action_leave(self) -> None:
        """Back."""
        self.dismiss()

    def action_add(self) -> None:
        """Write one."""
        self._open(None, write_seed_task)

    def _open(self, before: SeedTask | None, store: Callable[[sqlite3.Connection, SeedTask], object]) -> None:
        async def keep(task: SeedTask) -> None:
            await self._store(lambda conn: store(conn, task))

        self.app.push_screen(EditSeedScreen(before, keep))

    def take(self) -> None:
        """Change it."""
        self.action_edit()

    def action_edit(self) -> None:
        """Change one."""
        seed = self.current
        if seed is None:
            self.notify("a writes one, i imports a file")
            return
        if not EditSeedScreen.can_hold(seed.task):
            self.notify(
                "This one is too long to edit here: change it in the file, and import it", severity="warning"
            )
            return
        self._open(seed.task, lambda conn, task: change_seed_task(conn, seed.id, task))

    def action_remove(self) -> None:
        """Take one away."""
        seed = self.current
        if seed is not None:
            begin(self, self._remove, seed, group="write")

    async def _remove(self, seed: StoredSeedTask) -> None:
        if await self._write(lambda conn: remove_seed_task(conn, seed.id)):
            self.notify(f"Took out: {line(seed.task.instruction, 40)} · u brings it back")

    async def _write(self, work: Callable[[sqlite3.Connection], object]) -> bool:
        """Write, show what is there now; whether it worked."""
        try:
            await self._store(work)
        except PairsmithError as error:
            self.notify(str(error), severity="error")
            return False
        return True

    async def _store(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Write, show what is there now. Raises PairsmithError."""
        workspace = self.session.workspace
        assert workspace is not None
        done = await workspace.awrite(work)
        await self.read()
        if isinstance(done, int):
            self.list.go_to(str(done))

    def action_import(self) -> None:
        """Ask for a file."""

        async def do(values: Values) -> str | None:
            from pairsmith.pairs.seed_tasks import read_seed_tasks

            if not values["file"].strip():
                return "Type the path of a file"
            path = Path(values["file"].strip()).expanduser()
            tasks = await asyncio.to_thread(read_seed_tasks, path)
            workspace = self.session.workspace
            assert workspace is not None
            source = one_line(path.name, 60)
            added = await workspace.awrite(lambda conn: import_seed_tasks(conn, tasks, source))
            begin(self, self._told, len(added), len(tasks) - len(added), group="told")
            return None

        hint = "the paper's seed_tasks.jsonl, or one instruction on each line"
        self.app.push_screen(FormScreen("Import seed tasks", [Text("file", "file", "", hint)], do))

    async def _told(self, added: int, known: int) -> None:
        await self.read()
        there = f"; {known:,} were there already" if known else ""
        undo = " · u takes them back" if added else ""
        self.notify(f"Added {added:,} seed task{'' if added == 1 else 's'}{there}{undo}")

    def action_find(self) -> None:
        """Ask for words."""

        async def do(values: Values) -> str | None:
            self.words = values["words"].strip()
            self.paint()
            return None

        self.app.push_screen(
            FormScreen("Find seed tasks", [Text("words", "words", self.words, "empty: all of them")], do)
        )

    def action_method(self) -> None:
        """Ask how the next run finds instructions."""
        if self._way is None:
            return

        async def keep(plan: RunPlan) -> None:
            await self._write(lambda conn: write_plan(conn, plan))

        self.app.push_screen(method_form(self.session, self.plan, self._way, keep))


def _entry(seed: StoredSeedTask, width: int) -> Entry:
    task = seed.task
    marks = "label" if task.is_classification else ""
    marks += "" if task.instances else " no example"
    end = f"{marks.strip():>17} "
    text = fill(line(task.instruction, max(8, width - 10 - len(end))), max(8, width - 10 - len(end)))
    return Entry(str(seed.id), ((Piece(f"{seed.id:>5} ", "quiet"), Piece(text), Piece(end, "quiet")),))


def _about(task: SeedTask) -> str:
    parts = ["classification"] if task.is_classification else []
    parts += [f"{len(task.instances):,} examples"] if len(task.instances) > 1 else []
    parts += ["no example"] if not task.instances else []
    return " · ".join([*parts, f"from {task.source}"])
