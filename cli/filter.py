"""Reject the undecided pairs for which an expression is false. None is accepted, your verdicts stay, and pairs
without a score stay undecided."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict

from pairsmith.backends.text import one_line
from pairsmith.pairs.expressions import parse_expression
from pairsmith.pairs.filtering import FilterReport, filter_pairs

from .arguments import add_workspace
from .environment import present_judge, read_environment
from .opening import opened
from .output import counted, say
from .stopping import graceful

EXAMPLE = """
pairsmith filter git.pairsmith --where 'helpfulness >= 3 and verbosity <= 2.5' --preview
pairsmith filter git.pairsmith --where 'helpfulness >= 3 and verbosity <= 2.5'
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument(
        "--where",
        required=True,
        metavar="EXPR",
        help="attributes (the present judge's newest scores; 'judge/attribute' for another's), topic, verdict, numbers,"
        " quoted text, < <= > >= == !=, and or not, parentheses",
    )
    parser.add_argument("--preview", action="store_true", help="only count; change nothing")


def run(arguments: Namespace) -> int:
    """Filter, as one act that undo takes back. Raises UsageError for what is no expression."""
    parse_expression(arguments.where)
    with opened(arguments, readonly=arguments.preview) as workspace:
        judge = present_judge(workspace, read_environment(arguments))
        with graceful() as stop:
            report = filter_pairs(
                workspace, arguments.where, judge=judge, preview=arguments.preview, check=stop.check
            )
    data = {"where": arguments.where, "judge": judge, "preview": arguments.preview, **asdict(report)}
    data["decided"] = report.decided
    say(arguments, lambda: _lines(report, judge, arguments.preview), data)
    return 0


def _lines(report: FilterReport, judge: str | None, preview: bool) -> list[str]:
    whose = f" ({one_line(judge)})" if judge else ""
    lines = [
        f"keeps {report.keeps:,} of {counted(report.pairs, 'pair')}, {report.falls_below:,} below,"
        f" {report.not_scored:,} not scored{whose}"
    ]
    if report.decided:
        share = round(100 * report.agrees / report.decided)
        lines.append(
            f"you decided {report.decided:,} of them: it agrees with {report.agrees:,} ({share} %), keeps"
            f" {report.keeps_rejected:,} that you rejected, would drop {report.drops_accepted:,} that you accepted"
        )
    if preview:
        lines.append(f"would reject {counted(report.rejects, 'undecided pair')}; nothing was changed")
    elif not report.changed:
        lines.append("no undecided pair was to be rejected; nothing was changed")
    else:
        lines.append(
            f"rejected {counted(report.changed, 'undecided pair')} in one step (pairsmith undo takes it back)"
        )
    return lines
