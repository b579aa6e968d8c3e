"""Write pairs to a file, with a manifest that seals every row. The file appears whole or not at all, and repeating
the command gives the same bytes."""

from __future__ import annotations

import shutil
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pairsmith.backends.text import one_line
from pairsmith.pairs.chosen_pairs import verdicts_said
from pairsmith.pairs.errors import UsageError
from pairsmith.pairs.export_formats import FORMATS
from pairsmith.pairs.export_settings import ExportSettings
from pairsmith.pairs.exporting import ExportReport, export_pairs
from pairsmith.pairs.trainer_configs import TRAINERS, check_trainers, trainers_folder, write_trainers

from .arguments import add_choice, add_workspace, path
from .environment import present_judge, read_environment
from .opening import opened
from .output import counted, say, table, writing
from .progress import progress
from .stopping import graceful

EXAMPLE = """
pairsmith export git.pairsmith git.jsonl
pairsmith export git.pairsmith git-dataset --format hf --split
pairsmith export git.pairsmith git.json --format alpaca --verdict accepted --where 'helpfulness >= 3'
pairsmith export git.pairsmith git.jsonl --format messages --card --licence cc-by-4.0 --trainer all
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument(
        "path", metavar="PATH", type=path, help="the file to write (hf: the folder), or - for standard output"
    )
    parser.add_argument("--format", choices=tuple(FORMATS), default="jsonl", help="default: jsonl")
    add_choice(parser)
    parser.add_argument(
        "--split",
        action="store_true",
        help="with hf: the workspace's train, validation and test, not train alone",
    )
    parser.add_argument(
        "--spreadsheet", action="store_true", help="with csv: an apostrophe before cells like formulas"
    )
    parser.add_argument(
        "--card", action="store_true", help="also write PATH.card.md (a folder always has its card)"
    )
    parser.add_argument(
        "--trainer",
        action="append",
        choices=TRAINERS,
        default=[],
        help="also write PATH.trainers/ with configurations for Gemma 2 2B and Llama 3.1 8B"
        " (may be repeated; all: those that read the format)",
    )


def run(arguments: Namespace) -> int:
    """Export. Raises UsageError and PairsmithError; then an older file is as it was."""
    if str(arguments.path) == "-":
        return _to_standard_output(arguments)
    trainers = check_trainers(arguments.path, arguments.format, arguments.trainer)
    report = _export(arguments, arguments.path)
    configurations = write_trainers(arguments.path, arguments.format, trainers)
    say(
        arguments,
        lambda: _lines(report, arguments, trainers),
        _data(report) | {"trainers": [str(file) for file in configurations]},
    )
    return 0


def _to_standard_output(arguments: Namespace) -> int:
    """The rows and nothing else; for a program, since a terminal would obey what stands in them."""
    if sys.stdout.isatty():
        raise UsageError(
            "pairs are not written raw to a terminal; name a file, or pipe: export WORKSPACE - | less"
        )
    if arguments.json or arguments.card or arguments.trainer or arguments.format == "hf":
        raise UsageError(
            "standard output holds one file of rows; with --json, --card, --trainer or --format hf name a path"
        )
    with tempfile.TemporaryDirectory() as folder:
        report = _export(arguments, Path(folder) / "rows")
        with report.path.open("rb") as rows, writing():
            shutil.copyfileobj(rows, sys.stdout.buffer)
    return 0


def _export(arguments: Namespace, path: Path) -> ExportReport:
    with (
        opened(arguments, readonly=not arguments.split) as workspace,
        graceful() as stop,
        progress("export", unit="pairs") as bar,
    ):
        settings = ExportSettings(
            arguments.format,
            arguments.verdict,
            arguments.where,
            present_judge(workspace, read_environment(arguments)),
            arguments.balance_topics,
            arguments.seed,
            arguments.split,
            arguments.spreadsheet,
            arguments.card,
            arguments.licence,
        )
        return export_pairs(workspace, path, settings, progress=bar.update, check=stop.check)


def _data(report: ExportReport) -> dict[str, Any]:
    return {
        "path": str(report.path),
        "format": report.format,
        "pairs": report.pairs,
        "bytes": report.size,
        "verdicts": report.verdicts,
        "topics": [{"path": list(path), "pairs": count} for path, count in report.topics.items()],
        "left_out": report.left_out,
        "balanced_out": report.balanced_out,
        "manifest": str(report.manifest),
        "splits": dict(report.splits),
        "notes": list(report.notes),
    }


def _lines(report: ExportReport, arguments: Namespace, trainers: Sequence[str]) -> list[str]:
    lines = [
        f"{verdicts_said(report.pairs, report.verdicts)} to {one_line(str(report.path))} ({report.format})"
    ]
    if report.splits:
        lines.append(", ".join(f"{name} {rows:,}" for name, rows in report.splits.items()))
    lines += report.notes
    if trainers:
        folder = one_line(str(trainers_folder(report.path)))
        lines.append(f"configurations for {', '.join(trainers)} in {folder}: its README.md has the commands")
    if report.left_out:
        lines.append(
            f"{counted(report.left_out, 'pair')} left out: the expression is false or unknown for them"
        )
    if report.balanced_out:
        lines.append(f"{counted(report.balanced_out, 'pair')} left out to balance the topics")
    if arguments.balance_topics:
        rows = [
            (f"  {one_line(' › '.join(path), 80) or 'no topic'}", f"{count:,}")
            for path, count in report.topics.items()
        ]
        lines += table(rows, right=(1,))
    return lines
