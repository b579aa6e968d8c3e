"""Take pairs from a file: Alpaca, Dolly, chat messages, ShareGPT, prompt and completion, preferences or seed tasks, as
JSON, JSONL, CSV, TSV or Parquet; a folder of datasets; another workspace; any SQLite database. All or nothing on the
disk; what is refused is reported by line."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import asdict

from pairsmith.backends.text import one_line
from pairsmith.pairs.import_formats import MAPPED, NAMES
from pairsmith.pairs.importing import FileImport, import_file

from .arguments import add_workspace, path
from .opening import opened
from .output import counted, say
from .progress import progress
from .stopping import graceful

EXAMPLE = """
pairsmith import git.pairsmith instruction-data.json
pairsmith import git.pairsmith more.jsonl --preview
pairsmith import git.pairsmith faq.csv --column instruction=Question --column output=Answer
"""
_SHOWN = 20


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument("file", metavar="FILE", type=path, help="the file, or a folder that datasets saved")
    parser.add_argument("--format", choices=NAMES, default="auto", help="what the file is (auto: look at it)")
    parser.add_argument("--preview", action="store_true", help="only report; change nothing")
    parser.add_argument("--strict", action="store_true", help="import nothing where a single row is refused")
    parser.add_argument("--skip-malformed", action="store_true", help="leave out lines that are not JSON")
    parser.add_argument(
        "--column",
        action="append",
        type=_column,
        default=[],
        metavar="FIELD=NAME",
        help="what instruction, input or output is called in the file (may be repeated)",
    )
    parser.add_argument("--table", metavar="NAME", help="which table of a SQLite database")


def _column(text: str) -> tuple[str, str]:
    field, mark, name = text.partition("=")
    if not mark or field not in MAPPED or not name:
        raise ArgumentTypeError(f"not one of {', '.join(f'{field}=NAME' for field in MAPPED)}")
    return field, name


def run(arguments: Namespace) -> int:
    """Import. Raises PairsmithError for a file that cannot be used; then nothing was changed."""
    with (
        opened(arguments) as workspace,
        graceful() as stop,
        progress("import", unit="bytes") as bar,
    ):
        report = import_file(
            workspace,
            arguments.file,
            format=arguments.format,
            strict=arguments.strict,
            skip_malformed=arguments.skip_malformed,
            preview=arguments.preview,
            columns=dict(arguments.column),
            table=arguments.table,
            progress=bar.update,
            check=stop.check,
        )
    data = asdict(report)
    data["file"] = str(arguments.file)
    say(arguments, lambda: _lines(report, arguments), data)
    return 0


def _lines(report: FileImport, arguments: Namespace) -> list[str]:
    name = one_line(arguments.file.name)
    did = "would import" if report.preview else "imported"
    lines = [
        f"{did} {counted(report.added, 'pair')} of {counted(report.rows, 'row')} from {name} ({report.format})"
    ]
    if report.duplicates:
        line, pair = report.duplicate_lines[0]
        where = f", the first in line {line} (pair {pair})" if line else ""
        lines.append(
            f"{counted(report.duplicates, 'row')} there already: same instruction, input and response{where}"
        )
    if report.cleaned:
        lines.append(
            f"{counted(report.cleaned, 'pair')} cleaned: NUL characters and lone surrogates became U+FFFD"
        )
    if report.without_response:
        lines.append(f"{counted(report.without_response, 'row')} with an empty response")
    lines += report.notes
    if report.refused:
        lines.append(f"{counted(report.refused, 'row')} refused:")
        lines += [f"  {one_line(str(refusal), 300)}" for refusal in report.refusals[:_SHOWN]]
        if report.refused > _SHOWN:
            lines.append(
                f"  and {report.refused - min(_SHOWN, len(report.refusals)):,} more (--json names a hundred)"
            )
    return lines
