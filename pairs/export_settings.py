"""What an export is asked for, and whether that makes sense."""

from __future__ import annotations

import re
from dataclasses import dataclass

from pairsmith.backends.text import one_line

from .chosen_pairs import VerdictChoice
from .errors import UsageError
from .export_formats import FORMATS, HUB, FolderFormat, TableFormat, TextFormat
from .expressions import parse_expression

_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{0,49}")


@dataclass(frozen=True, slots=True)
class ExportSettings:
    """Which pairs, in which format. `judge`: whose scores an attribute's bare name in `where` means."""

    format: str = "jsonl"
    verdict: VerdictChoice = "not-rejected"
    where: str | None = None
    judge: str | None = None
    balance_topics: bool = False
    seed: int = 0
    """Which pairs of a larger topic are taken when topics are balanced."""
    split: bool = False
    """Only for "hf": the workspace's own train, validation and test instead of train alone."""
    spreadsheet: bool = False
    """Only for "csv": an apostrophe before every cell that a spreadsheet would compute."""
    card: bool = False
    """A dataset card beside the file (PATH.card.md); a folder always has one (README.md)."""
    licence: str = ""
    """For the card: an identifier as the Hub has them (cc-by-4.0); empty: not stated."""

    @property
    def form(self) -> TextFormat | TableFormat | FolderFormat:
        """How the format is written."""
        return HUB if self.format == HUB.name else FORMATS[self.format]


def check_settings(settings: ExportSettings) -> None:
    """Raises UsageError for what does not go together, ExpressionError."""
    if settings.format not in (*FORMATS, HUB.name):
        raise UsageError(
            f"{one_line(settings.format)} is not a format of export", f"Formats: {', '.join(FORMATS)}"
        )
    if settings.split and not isinstance(settings.form, FolderFormat):
        raise UsageError("only the format hf has splits", "Give --format hf with it")
    if settings.spreadsheet and settings.format != "csv":
        raise UsageError("only the format csv is for spreadsheets", "Give --format csv with it")
    if settings.where is not None:
        parse_expression(settings.where)
    check_licence(settings.licence)


def check_licence(licence: str) -> None:
    """Raises UsageError for what is no identifier of a licence; empty is "not stated"."""
    if licence and not _LICENCE.fullmatch(licence):
        raise UsageError(
            f"{one_line(licence)} is no identifier of a licence",
            "They are lower-case words like cc-by-4.0, mit or other",
        )
