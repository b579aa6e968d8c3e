"""Measure a trained model on the pairs that were held back from it: base against tuned, with intervals; with a judge
also 0 to 100 against the reference answers, and with --against who is better."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from typing import Any

from pairsmith.backends.text import one_line
from pairsmith.pairs.control import Control
from pairsmith.pairs.evaluate_job import EvaluateJob, EvaluateOptions
from pairsmith.pairs.events import Ended, Event, Notice
from pairsmith.pairs.store.runs import get_run
from pairsmith.pairs.training_events import Evaluating

from .arguments import add_limits, add_workspace, device, limits, model, path, whole
from .environment import Choice, add_backend_arguments, default_judge, read_environment
from .jobs import exit_code, failure_of, run_job, unfinished_said
from .opening import opened
from .output import Failed, number, say, table
from .progress import progress

EXAMPLE = """
pairsmith evaluate git.pairsmith --run 3
pairsmith evaluate git.pairsmith --judge ollama:llama3 --against ollama:llama3.2
pairsmith evaluate git.pairsmith --against 2 --choices mmlu.csv
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument("--run", metavar="ID", help="which training run; default: the newest that is done")
    parser.add_argument(
        "--judge", type=model, metavar="BACKEND:MODEL", help="who grades; becomes the workspace's judge"
    )
    parser.add_argument(
        "--explain",
        action="store_true",
        help="let the judge explain every score; the explanations are stored",
    )
    parser.add_argument(
        "--against",
        metavar="BACKEND:MODEL|RUN",
        help="compare with this model, this training run, or base, by the judge in both orders",
    )
    parser.add_argument(
        "--choices",
        type=path,
        metavar="FILE",
        help="multiple-choice questions (CSV: question,A,B,C,D,letter)",
    )
    parser.add_argument("--no-base", action="store_true", help="do not measure the base model beside it")
    parser.add_argument("--max-new-tokens", type=whole, default=256, metavar="N", help="default: 256")
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda or mps; default: auto")
    add_backend_arguments(parser)
    add_limits(parser)


def run(arguments: Namespace) -> int:
    """Evaluate. Raises what stops it from beginning; what ends it is its exit code."""
    if arguments.choices is not None and not arguments.choices.is_file():
        raise Failed(f"there is no file {one_line(str(arguments.choices))}", 2, kind="usage")
    with opened(arguments) as workspace:
        environment = read_environment(arguments, workspace)
        options = EvaluateOptions(
            run=arguments.run,
            judge=arguments.judge,
            default_judge=default_judge(workspace, environment),
            explain=arguments.explain,
            against=arguments.against,
            choices=arguments.choices,
            base=not arguments.no_base,
            max_new_tokens=arguments.max_new_tokens,
            device=arguments.device,
            limits=limits(arguments),
        )
        control = Control()
        job = EvaluateJob(workspace, environment.settings, options, control)
        choice = Choice(workspace, {"judge": arguments.judge, "base_url": arguments.base_url})
        with progress("evaluate", unit="answers") as bar:

            def show(event: Event) -> None:
                if isinstance(event, Evaluating):
                    failed = f", {event.failed:,} failed" if event.failed else ""
                    bar.update(event.done, event.total, f"{event.what} {event.subject}{failed}")
                elif isinstance(event, Notice):
                    bar.say(event.text)

            ended = run_job(job.events, control, show)
        if ended.error is None:
            choice.store()
        result = dict(workspace.read(lambda conn: get_run(conn, ended.run_id)).result or {})
    return _told(arguments, ended, result)


def _told(arguments: Namespace, ended: Ended, result: dict[str, Any]) -> int:
    code, failure = exit_code(ended), failure_of(ended)
    data: dict[str, Any] = {"run": ended.run_id, "state": ended.state, "reason": ended.reason, **result}
    if failure is not None:
        data["error"] = {**failure.as_json(), "exit": code}
    say(arguments, lambda: lines_of(result), data)
    unfinished_said(ended, failure)
    return code


def lines_of(result: Mapping[str, Any]) -> list[str]:
    """An evaluation's result for people."""
    lines = [f"training run {result['train_run']}, {result['n']:,} test pairs; intervals are 95 %"]
    measured = {name: report for name, report in result["subjects"].items() if "metrics" in report}
    lines += _measures(measured)
    for name, report in result["subjects"].items():
        if report.get("choices"):
            found = report["choices"]
            lines.append(
                f"multiple choice, {one_line(name)}: {_interval(found['accuracy'], found)} of {found['n']:,}"
            )
        if report.get("truncated"):
            lines.append(
                f"{one_line(name)}: {report['truncated']:,} test pairs are too long for it and were cut"
            )
        if report.get("failed"):
            lines.append(f"{one_line(name)}: {report['failed']:,} of {report['n']:,} were not answered")
    lines += _paired(result.get("paired", {}))
    if "judge" in result:
        lines += _judged(result["judge"])
    if "pairwise" in result:
        lines += _pairwise(result["pairwise"])
    lines += _human(result.get("human") or {})
    for row in result.get("table", ()):
        if row.get("figure") == "judge score":
            lines.append(
                f"judge score of the reference text {number(row['published'])}, ours {number(row['ours'])},"
                f" difference {number(row['difference'])}"
            )
    return lines + [f"written: {one_line(name, 500)}" for name in result.get("files", ())]


def _measures(reports: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not reports:
        return []
    names = list(reports)
    rows = [("  measure", *(one_line(name, 40) for name in names))]
    for measure in next(iter(reports.values()))["metrics"]:
        cells = [reports[name]["metrics"].get(measure) for name in names]
        rows.append(
            (f"  {measure}", *("-" if cell is None else _interval(cell["value"], cell) for cell in cells))
        )
    for kind in ("response", "text"):
        values = [reports[name].get("perplexity", {}).get(kind) for name in names]
        rows.append((f"  perplexity of the {kind}", *map(number, values)))
    return table(rows)


def _paired(paired: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for other, measures in paired.items():
        lines.append(f"tuned less {one_line(other, 60)}:")
        rows = [
            (
                f"  {name}",
                _interval(found["difference"]["mean"], found["difference"]),
                f"p = {found['p']:.4f}",
            )
            for name, found in measures.items()
        ]
        lines += table(rows)
    return lines


def _judged(judge: Mapping[str, Any]) -> list[str]:
    lines = [f"{one_line(judge['judge'])} grades 0 to 100 ({judge['prompt']} prompt):"]
    rows = [
        (
            f"  {one_line(name, 40)}",
            _interval(found["mean"], found),
            f"{found['scored']:,} of {found['n']:,} scored, {found['failed']:,} failed,"
            f" {found['unreadable_answers']:,} unreadable answers",
        )
        for name, found in judge["subjects"].items()
    ]
    lines += table(rows)
    for name, found in judge["paired"].items():
        difference = found["difference"]
        lines.append(
            f"  tuned less {one_line(name, 40)}: {_interval(difference['mean'], difference)}, {_p(found['p'])}"
        )
    for name, found in judge["subjects"].items():
        lines += [
            f"  not scored, {one_line(name, 40)}: {one_line(one['reason'])}" for one in found["failures"][:5]
        ]
    return lines


def _pairwise(found: Mapping[str, Any]) -> list[str]:
    rate = found["win_rate"]
    return [
        f"{one_line(found['subject'])} against {one_line(found['against'])}, by {one_line(found['judge'])}"
        " in both orders:",
        f"  {found['wins']:,} wins, {found['ties']:,} ties ({found['inconsistent']:,} where the orders disagree),"
        f" {found['losses']:,} losses, {found['failed']:,} failed,"
        f" {found['unreadable_answers']:,} unreadable answers",
        f"  win rate {_interval(rate['mean'], rate)}, {_p(found['p'])}",
    ]


def _human(human: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    for found in human.get("compare", ()):
        one = found["together"]
        lines += [
            f"{one_line(found['subject'])} against {one_line(found['against'])}, rated blind by"
            f" {', '.join(one_line(name) for name in found['raters'])}:",
            f"  {one['wins']:,} wins, {one['ties']:,} ties, {one['losses']:,} losses, {one['skipped']:,} skipped,"
            f" {found['same']:,} answered alike and not asked",
            f"  win rate {_interval(one['win_rate']['mean'], one['win_rate'])}, {_p(one['p'])}",
        ]
    if "scale" in human:
        names = sorted({name for found in human["scale"] for name in found["raters"]})
        lines.append(f"graded blind from 1 to 5 by {', '.join(map(one_line, names))}:")
        rows = [
            (
                f"  {one_line(found['subject'], 40)}",
                _interval(found["together"]["mean"], found["together"]),
                f"{found['together']['n']:,} of {found['items']:,} graded, {found['together']['skipped']:,} skipped",
            )
            for found in human["scale"]
        ]
        lines += table(rows)
    return lines


def _interval(value: float | None, found: Mapping[str, Any]) -> str:
    if value is None:
        return "-"
    if found.get("low") is None:
        return number(value)
    return f"{number(value)} ({number(found['low'])} to {number(found['high'])})"


def _p(value: float | None) -> str:
    if value is None:
        return "p = -"
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.4f}"
