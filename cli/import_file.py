"""Take pairs from a file: Alpaca, Dolly, chat messages, ShareGPT, prompt and completion, preferences or seed tasks, as
JSON, JSONL, CSV, TSV or Parquet; a folder of datasets; another workspace; any SQLite database; a dataset of the Hugging
Face Hub (hf:OWNER/NAME). All or nothing; what is refused is reported by line."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from pairsmith.backends.text import one_line
from pairsmith.pairs.hub_access import find_access
from pairsmith.pairs.hub_names import HubSource, is_hub_source, read_hub_source
from pairsmith.pairs.hub_process import TIMEOUT_S
from pairsmith.pairs.import_formats import MAPPED, NAMES
from pairsmith.pairs.import_hub import KINDS, MOST_BYTES, Download, download_dataset
from pairsmith.pairs.importing import FileImport, import_file, import_files
from pairsmith.pairs.store.workspace import Workspace

from .arguments import above_zero, add_workspace, path
from .environment import read_environment
from .opening import opened
from .output import counted, say
from .progress import progress
from .stopping import graceful

EXAMPLE = """
pairsmith import git.pairsmith instruction-data.json
pairsmith import git.pairsmith more.jsonl --preview
pairsmith import git.pairsmith faq.csv --column instruction=Question --column output=Answer
pairsmith import git.pairsmith hf:databricks/databricks-dolly-15k --preview
"""
_SHOWN = 20
_MOST_MB = 1e9
"""More than any disk holds."""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument(
        "file",
        metavar="FILE",
        type=_source,
        help="the file, or a folder that datasets saved, or hf:OWNER/NAME[@REVISION][:CONFIG/SPLIT]",
    )
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
    hub = parser.add_argument_group("with hf:OWNER/NAME")
    hub.add_argument(
        "--max-size",
        type=above_zero,
        default=MOST_BYTES / 1e6,
        metavar="MB",
        help=f"the most that may be downloaded (default: {MOST_BYTES / 1e6:g})",
    )
    hub.add_argument(
        "--timeout",
        type=above_zero,
        default=TIMEOUT_S,
        metavar="SECONDS",
        help=f"how long the Hub may stay silent (default: {TIMEOUT_S:g})",
    )
    hub.add_argument("--env-file", metavar="PATH", help="read HF_TOKEN from this .env file")


def _source(text: str) -> Path | HubSource:
    return read_hub_source(text) if is_hub_source(text) else path(text)


def _column(text: str) -> tuple[str, str]:
    field, mark, name = text.partition("=")
    if not mark or field not in MAPPED or not name:
        raise ArgumentTypeError(f"not one of {', '.join(f'{field}=NAME' for field in MAPPED)}")
    return field, name


def run(arguments: Namespace) -> int:
    """Import. Raises PairsmithError for a file that cannot be used; then nothing was changed."""
    source: Path | HubSource = arguments.file
    with opened(arguments) as workspace, graceful() as stop:
        download = (
            _download(source, workspace, arguments, stop.check) if isinstance(source, HubSource) else None
        )
        with progress("import", unit="bytes") as bar:
            how = {
                "format": arguments.format,
                "strict": arguments.strict,
                "skip_malformed": arguments.skip_malformed,
                "preview": arguments.preview,
                "columns": dict(arguments.column),
                "table": arguments.table,
                "progress": bar.update,
                "check": stop.check,
            }
            if download is not None:
                report = import_files(workspace, download.files, download.name, kinds=KINDS, **how)
                if not arguments.preview:
                    download.forget()
            else:
                assert isinstance(source, Path)
                report = import_file(workspace, source, **how)
    data = asdict(report)
    data["file"] = str(source)
    if download is not None:
        data |= {"revision": download.commit, "files": len(download.files), "bytes": download.bytes}
    name = one_line(source.name if isinstance(source, Path) else str(source))
    say(arguments, lambda: _lines(report, name, download), data)
    return 0


def _download(
    source: HubSource, workspace: Workspace, arguments: Namespace, check: Callable[[], None]
) -> Download:
    environment = read_environment(arguments, workspace)
    access = find_access(environment.env, local_only=workspace.local_only)
    with progress("download", unit="bytes") as bar:
        return download_dataset(
            source,
            access,
            environment.settings.home,
            most_bytes=int(min(arguments.max_size, _MOST_MB) * 1_000_000),
            timeout_s=arguments.timeout,
            tell=lambda what, done, total: bar.update(done, total or None, what),
            note=lambda text: bar.say(f"the Hub: {text}"),
            check=check,
        )


def _lines(report: FileImport, name: str, download: Download | None) -> list[str]:
    did = "would import" if report.preview else "imported"
    lines = [
        f"{did} {counted(report.added, 'pair')} of {counted(report.rows, 'row')} from {name} ({report.format})"
    ]
    if download is not None:
        lines.append(
            f"revision {one_line(download.commit)}, {counted(len(download.files), 'file')},"
            f" {download.bytes / 1e6:,.1f} MB"
        )
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
