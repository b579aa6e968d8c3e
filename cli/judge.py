"""Score the pairs that the judge has not scored yet. A judge that fails on a pair leaves its reason, never a number."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections import Counter
from typing import Any

from pairsmith.backends.text import one_line
from pairsmith.pairs.control import Control
from pairsmith.pairs.events import Ended, Event, Judged, Notice
from pairsmith.pairs.expressions import parse_expression
from pairsmith.pairs.judge_job import JudgeJob, JudgeOptions
from pairsmith.pairs.recipes import read_recipe
from pairsmith.pairs.rubrics import load_rubric
from pairsmith.pairs.store.workspace import Workspace

from .arguments import KINDS, add_limits, add_workspace, limits, model, path, whole
from .environment import (
    Choice,
    Environment,
    add_backend_arguments,
    check_usable,
    default_judge,
    read_environment,
)
from .jobs import exit_code, failure_of, run_chosen, suggested_kind, unfinished_said
from .opening import opened
from .output import Failed, counted, say, table
from .progress import Progress as Bar
from .progress import progress

EXAMPLE = """
pairsmith judge git.pairsmith --judge nim:nvidia/llama-3.1-nemotron-70b-reward
pairsmith judge git.pairsmith --judge llama-cpp:/models/qwen.gguf --kind expected --limit 50
"""
_SHOWN_REASONS = 5


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument(
        "--judge", type=model, metavar="BACKEND:MODEL", help="who judges; becomes the workspace's judge"
    )
    parser.add_argument(
        "--kind", choices=KINDS, help="a reward model, a rubric by expected score, or one by JSON"
    )
    parser.add_argument("--where", metavar="EXPR", help="only pairs of which this is true")
    parser.add_argument("--limit", type=whole, metavar="N", help="at most so many pairs")
    parser.add_argument(
        "--rubric", type=path, metavar="FILE", help="what is judged by (TOML; HelpSteer2's otherwise)"
    )
    add_backend_arguments(parser)
    add_limits(parser)


def run(arguments: Namespace) -> int:
    """Run the job. Raises what stops it from beginning; what ends it is its exit code."""
    if arguments.where is not None:
        parse_expression(arguments.where)
    rubric = load_rubric(arguments.rubric) if arguments.rubric else None
    with opened(arguments) as workspace:
        environment = read_environment(arguments, workspace)
        judge = _judge(arguments, workspace, environment)
        recipe = read_recipe(workspace.meta("recipe") or "", "the workspace's recipe")
        options = JudgeOptions(
            kind=arguments.kind or suggested_kind(recipe, judge),
            where=arguments.where,
            limit=arguments.limit,
            rubric=rubric,
            limits=limits(arguments),
            judge=environment.user.judge or judge,
        )
        control = Control()
        job = JudgeJob(workspace, environment.settings, options, control)
        flags = {"judge": judge if arguments.judge else None, "base_url": arguments.base_url}
        with progress("judge", unit="pairs") as bar:
            tally = _Tally(bar)
            ended = run_chosen(job.events, control, tally, Choice(workspace, flags))
    return _told(arguments, judge, ended, tally)


def _judge(arguments: Namespace, workspace: Workspace, environment: Environment) -> str:
    wanted = arguments.judge or default_judge(workspace, environment)
    if wanted is None:
        raise Failed("no judge is named", 2, advice="Give --judge BACKEND:MODEL", kind="usage")
    (judge,) = check_usable([wanted], environment)
    assert judge is not None
    return judge


class _Tally:
    """What came of the pairs so far, and the showing of it."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self.scored = self.failed = 0
        self.sums: dict[str, list[float]] = {}
        self.reasons: Counter[str] = Counter()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Notice):
            self._bar.say(event.text)
        elif isinstance(event, Judged):
            self._add(event)
            self._bar.update(event.done, event.total, f"{self.failed:,} failed" if self.failed else "")

    def _add(self, event: Judged) -> None:
        if event.reason is not None:
            self.failed += 1
            self.reasons[event.reason] += 1
            return
        self.scored += 1
        for name, value in event.scores.items():
            self.sums.setdefault(name, []).append(value)


def _told(arguments: Namespace, judge: str, ended: Ended, tally: _Tally) -> int:
    failure = failure_of(ended)
    if ended.state == "done" and tally.failed and not tally.scored:
        failure = Failed(
            f"{one_line(judge)} scored none of {counted(tally.failed, 'pair')}",
            advice="Try another judge, or another --kind of judging",
            kind="not scored",
        )
    code = exit_code(ended) or (failure.code if failure else 0)
    means = {name: sum(values) / len(values) for name, values in tally.sums.items()}
    data: dict[str, Any] = {
        "judge": judge,
        "run": ended.run_id,
        "state": ended.state,
        "reason": ended.reason,
        "scored": tally.scored,
        "failed": tally.failed,
        "failures": dict(tally.reasons),
        "means": means,
    }
    if failure is not None:
        data["error"] = {**failure.as_json(), "exit": code}
    say(arguments, lambda: _lines(judge, tally, means), data)
    unfinished_said(ended, failure)
    return code


def _lines(judge: str, tally: _Tally, means: dict[str, float]) -> list[str]:
    if not tally.scored and not tally.failed:
        return [f"nothing to do: {one_line(judge)} has scored every pair"]
    rows = [
        (f"  {one_line(name)}", f"{mean:.2f}", f"{min(tally.sums[name]):.2f} to {max(tally.sums[name]):.2f}")
        for name, mean in means.items()
    ]
    failed = f", {tally.failed:,} failed (not scored, never rejected for it)" if tally.failed else ""
    lines = [f"{one_line(judge)} scored {counted(tally.scored, 'pair')}{failed}", *table(rows, right=(1,))]
    return lines + [
        f"  failed {count:,}: {one_line(reason)}"
        for reason, count in tally.reasons.most_common(_SHOWN_REASONS)
    ]
