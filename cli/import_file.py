"""Take pairs from a file: Alpaca JSON or JSONL (the response may also be called 'response' or 'responses'), or an
export of Pairsmith. All or nothing on the disk; what is refused is reported by line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from pairsmith.backends.text import one_line
from pairsmith.pairs.import_formats import NAMES
from pairsmith.pairs.importing import FileImport, import_file

from .arguments import add_workspace, path
from .opening import opened
from .output import counted, say
from .progress import progress
from .stopping import graceful

EXAMPLE = """
pairsmith import git.pairsmith instruction-data.json
pairsmith import git.pairsmith more.jsonl --preview
"""
_SHOWN = 20


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument("file", metavar="FILE", type=path)
    parser.add_argument("--format", choices=NAMES, default="auto", help="what the file is (auto: look at it)")
    parser.add_argument("--preview", action="store_true", help="only report; change nothing")
    parser.add_argument("--strict", action="store_true", help="import nothing where a single row is refused")
    parser.add_argument("--skip-malformed", action="store_true", help="leave out lines that are not JSON")


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
    if report.refused:
        lines.append(f"{counted(report.refused, 'row')} refused:")
        lines += [f"  {one_line(str(refusal), 300)}" for refusal in report.refusals[:_SHOWN]]
        if report.refused > _SHOWN:
            lines.append(
                f"  and {report.refused - min(_SHOWN, len(report.refusals)):,} more (--json names a hundred)"
            )
    return lines
