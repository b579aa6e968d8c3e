"""Export: which pairs, in which format, to which file; how many that is, before and while it is written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from textual.binding import Binding
from textual.widget import Widget

from pairsmith.backends.errors import BackendError
from pairsmith.backends.text import one_line
from pairsmith.pairs.chosen_pairs import VerdictChoice, verdicts_said
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.export_choice import ExportPreview, preview_export
from pairsmith.pairs.export_formats import FORMATS
from pairsmith.pairs.export_place import check_target
from pairsmith.pairs.export_settings import ExportSettings, check_licence
from pairsmith.pairs.exporting import ExportReport, export_pairs
from pairsmith.pairs.trainer_configs import check_trainers, readers, trainers_folder, write_trainers

from ..text import line, wrap
from ..widgets.line import Piece
from ..widgets.lines import Lines, Row, plain
from ..widgets.meters import size
from ..widgets.pick_list import PickList
from ..working import begin
from .ask import AskYes, FormScreen, Text, Values
from .form_rows import Setting, near, present_folder, setting_entries, tail
from .list_place import ListPlace
from .progress import ProgressScreen

ABOUT = {
    "jsonl": "everything there is about a pair, one on each line: scores, verdict, topic, model",
    "alpaca": "instruction, input, output: one JSON array, as Alpaca has it",
    "messages": "chat messages, one conversation on each line, as OpenAI and most trainers take them",
    "sharegpt": "conversations from human and gpt, one on each line",
    "prompt-completion": "prompt and completion, one on each line",
    "csv": "three columns, every text as it is, or made safe to open in a spreadsheet",
    "dpo": "prompt, chosen and rejected, for preference training",
    "parquet": "columns, for pandas and the Hub",
    "hf": "a folder that datasets.load_from_disk reads",
    "argilla": "Argilla's records: fields, suggestions, responses and their statuses",
}
VERDICTS: tuple[tuple[VerdictChoice, str], ...] = (
    ("not-rejected", "all that are not rejected"),
    ("accepted", "accepted only"),
    ("any", "all, rejected ones too"),
)


class ExportScreen(ListPlace):
    """See the module."""

    PLACE = "export"
    LIST = "form"
    CSS = """
    ExportScreen #form { margin: 1 0 0 0; }
    ExportScreen #said { height: 7; }
    """
    BINDINGS = [  # noqa: RUF012 - Textual's own declaration
        Binding("g", "write", "write", id="export.write", tooltip="Write the file"),
        Binding("p", "push", "push", id="export.push", tooltip="Upload pairs, or a model, to the Hugging Face Hub"),
        Binding("m", "model", "model", id="export.model", tooltip="Write a trained model to a GGUF file, and use it"),
        Binding("enter", "change", "change", id="export.change", tooltip="Type a value, or take the next one"),
        Binding("left,h", "turn(-1)", "choose", key_display="←/→", id="export.back", tooltip="The choice before"),
        Binding("right,l", "turn(1)", "choose on", show=False, id="export.on", tooltip="The next choice"),
        Binding("j,down", "move(1)", "next", show=False, id="export.next", tooltip="The next line"),
        Binding("k,up", "move(-1)", "previous", show=False, id="export.previous", tooltip="The line before"),
    ]  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.chosen = ExportSettings()
        self.path: Path | None = None
        self.trainers = False
        self._preview: ExportPreview | None = None
        self._problem = ""
        self._written: list[str] = []

    def body(self) -> Iterable[Widget]:
        """The settings, and what they come to."""
        yield PickList(id="form")
        yield Lines(id="said")

    @property
    def form(self) -> PickList:
        """The list of settings."""
        return self.list

    @property
    def said(self) -> str:
        """What stands below, for tests."""
        return plain(self.query_one("#said", Lines).rows)

    @property
    def target(self) -> Path:
        """The file that would be written."""
        workspace = self.session.path or Path("pairs")
        # Formats of one suffix get names of their own, lest one replaces the other.
        name = self.chosen.format
        plain_name = name in ("jsonl", "csv", "parquet")
        return (
            self.path
            or present_folder() / f"{workspace.stem}{'' if plain_name else f'-{name}'}{FORMATS[name].suffix}"
        )

    def on_screen_resume(self) -> None:
        """Pairs may have come or gone."""
        super().on_screen_resume()
        self._count()

    def _count(self) -> None:
        self._preview, self._problem = None, ""
        self.paint()
        begin(self, self._counted, group="count")

    async def _counted(self) -> None:
        workspace = self.session.workspace
        if workspace is None:
            return
        chosen = replace(self.chosen, judge=self.session.judge)
        try:
            self._preview = await asyncio.to_thread(preview_export, workspace, chosen)
        except (PairsmithError, BackendError) as error:
            self._problem = str(error)
        self.paint()

    def paint(self) -> None:
        """Paint both."""
        width = self.form.size.width
        if not width:
            return
        chosen = self.chosen
        verdict = dict(VERDICTS)[chosen.verdict]
        settings = [
            Setting("format", "format", chosen.format, True, ABOUT.get(chosen.format, "")),
            Setting("verdict", "verdicts", verdict, True),
            Setting(
                "where",
                "where",
                chosen.where or "any scores",
                note="enter types a condition, such as helpfulness >= 3",
            ),
            Setting("balance", "balance", "as many of every topic" if chosen.balance_topics else "no", True),
            *self._format_settings(),
            Setting("file", "file", tail(self.target, width - 22)),
        ]
        self.form.show_entries(setting_entries(settings, width))
        area = self.query_one("#said", Lines)
        area.show_rows(self._said_rows(width)[: area.size.height])

    def _format_settings(self) -> list[Setting]:
        """What only some formats have."""
        chosen = self.chosen
        if chosen.format == "hf":
            sides = (
                "train, validation and test, as the workspace splits them" if chosen.split else "train alone"
            )
            return [Setting("split", "splits", sides, True), self._licence()]
        found = []
        if chosen.format == "csv":
            safe = "yes: nothing in it is computed" if chosen.spreadsheet else "no: every text as it is"
            found.append(Setting("spreadsheet", "spreadsheet", safe, True))
        found.append(Setting("card", "card", "a dataset card beside it" if chosen.card else "no", True))
        if chosen.card:
            found.append(self._licence())
        if names := readers(chosen.format):
            beside = f"configurations beside it for {', '.join(names)}" if self.trainers else "no"
            found.append(Setting("trainers", "trainers", beside, True))
        return found

    def _licence(self) -> Setting:
        return Setting("licence", "licence", self.chosen.licence or "not stated")

    def _said_rows(self, width: int) -> list[Row]:
        rows: list[Row] = [(Piece("─" * width, "quiet"),)]
        if self._problem:
            rows += [(Piece(f" ✗ {text}", "bad"),) for text in wrap(self._problem, width - 4)[:3]]
        elif self._preview is None:
            rows.append((Piece(" counting…", "quiet"),))
        else:
            text = verdicts_said(self._preview.pairs, self._preview.verdicts)
            rows.append(
                (
                    Piece(f" {text}", "strong"),
                    Piece("   g writes them" if self._preview.pairs else "", "accent"),
                )
            )
            rows += [(Piece(f" {text}", "quiet"),) for text in left_out(self._preview)]
        return rows + [(Piece(f" {line(text, width - 2)}", "good"),) for text in self._written]

    def action_turn(self, steps: int) -> None:
        """Another choice on this line."""
        here = self.form.current
        if here == "format":
            names = list(FORMATS)
            self.chosen = replace(
                self.chosen, format=names[(names.index(self.chosen.format) + steps) % len(names)]
            )
        elif here == "verdict":
            names = [name for name, _ in VERDICTS]
            at = (names.index(self.chosen.verdict) + steps) % len(names)
            self.chosen = replace(self.chosen, verdict=VERDICTS[at][0])
        elif here == "split":
            self.chosen = replace(self.chosen, split=not self.chosen.split)
        elif here == "spreadsheet":
            self.chosen = replace(self.chosen, spreadsheet=not self.chosen.spreadsheet)
        elif here == "card":
            self.chosen = replace(self.chosen, card=not self.chosen.card)
        elif here == "trainers":
            self.trainers = not self.trainers
        elif here == "balance":
            self.chosen = replace(self.chosen, balance_topics=not self.chosen.balance_topics)
        else:
            self.notify("enter changes this one")
            return
        self._count()

    def take(self) -> None:
        """Change it."""
        self.action_change()

    def action_change(self) -> None:
        """Ask for a value, or take the next choice."""
        if self.form.current == "where":
            self.app.push_screen(self._where_form())
        elif self.form.current == "file":
            self.app.push_screen(self._file_form())
        elif self.form.current == "licence":
            self.app.push_screen(self._licence_form())
        else:
            self.action_turn(1)

    def _where_form(self) -> FormScreen:
        async def do(values: Values) -> str | None:
            from pairsmith.pairs.expressions import parse_expression

            where = values["where"].strip() or None
            if where is not None:
                parse_expression(where)
            self.chosen = replace(self.chosen, where=where)
            self._count()
            return None

        hint = "such as helpfulness >= 3 and verbosity <= 2.5; empty: no condition"
        return FormScreen(
            "Only pairs of which this is true", [Text("where", "where", self.chosen.where or "", hint)], do
        )

    def _licence_form(self) -> FormScreen:
        async def do(values: Values) -> str | None:
            licence = values["licence"].strip()
            check_licence(licence)
            self.chosen = replace(self.chosen, licence=licence)
            self.paint()
            return None

        hint = "an identifier for the card, such as cc-by-4.0 or mit; empty: not stated"
        return FormScreen("Under which licence?", [Text("licence", "licence", self.chosen.licence, hint)], do)

    def _file_form(self) -> FormScreen:
        async def do(values: Values) -> str | None:
            assert self.session.path is not None
            text = values["file"].strip()
            path = Path(text).expanduser().absolute() if text else None
            if path is not None:
                folder = self.chosen.format == "hf"
                await asyncio.to_thread(check_target, path, self.session.path, folder=folder)
            self.path = path
            self.paint()
            return None

        return FormScreen(
            "To which file?", [Text("file", "file", str(self.target), "empty: beside you, by format")], do
        )

    def action_write(self) -> None:
        """Write the file."""
        begin(self, self._write, group="write")

    def action_push(self) -> None:
        """Upload to the Hub."""
        begin(self, self._push, group="push")

    def action_model(self) -> None:
        """Write a trained model to a file."""
        begin(self, self._model, group="write")

    async def _model(self) -> None:
        from .tuned import tuned_form

        try:
            self.app.push_screen(await tuned_form(self.application))
        except (PairsmithError, BackendError) as error:
            self.notify(str(error), severity="error")

    async def _write(self) -> None:
        workspace, target = self.session.workspace, self.target
        assert workspace is not None
        chosen = replace(self.chosen, judge=self.session.judge)
        wanted = ("all",) if self.trainers and readers(chosen.format) else ()
        try:
            trainers = await asyncio.to_thread(check_trainers, target, chosen.format, wanted)
        except PairsmithError as error:
            self.notify(str(error), severity="error")
            return
        if await asyncio.to_thread(target.exists):
            lines = [
                f"{one_line(str(target), 200)} is there already.",
                "It is replaced as a whole when all is written.",
            ]
            if not await self.app.push_screen_wait(
                AskYes("Replace the file?", lines, yes="replace it", no="leave it")
            ):
                return
        work: ProgressScreen[ExportReport] = ProgressScreen(
            f"Writing {one_line(target.name, 60)}",
            lambda tell, check: export_pairs(workspace, target, chosen, progress=tell, check=check),
            "pairs",
        )
        report = await self.app.push_screen_wait(work)
        if report is not None:
            said = f"✓ {verdicts_said(report.pairs, report.verdicts)} to {near(report.path)} ({size(report.size)})"
            splits = ", ".join(f"{count:,} {name}" for name, count in report.splits.items())
            self._written = [said, *([splits] if splits else []), *report.notes]
            try:
                if await asyncio.to_thread(write_trainers, target, chosen.format, trainers):
                    self._written.append(
                        f"{', '.join(trainers)}: see README.md in {near(trainers_folder(target))}"
                    )
            except PairsmithError as error:
                self.notify(str(error), severity="error")
            self.paint()

    async def _push(self) -> None:
        from .push import push_form

        chosen = replace(self.chosen, judge=self.session.judge)
        self.app.push_screen(await push_form(self.application, chosen, self._show_written))

    def _show_written(self, lines: Sequence[str]) -> None:
        self._written = [one_line(text, 300) for text in lines]
        self.paint()


def left_out(preview: ExportPreview) -> list[str]:
    """What is not taken, and why."""
    found = []
    if preview.left_out:
        found.append(f"{preview.left_out:,} left out: the condition is false or unknown for them")
    if preview.balanced_out:
        found.append(f"{preview.balanced_out:,} left out so that every topic has equally many")
    return found
