"""Make exactly so many pairs. An unfinished run with the same settings goes on; otherwise a new one makes N more."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import Any

from pairsmith.backends.text import one_line
from pairsmith.pairs.control import Control
from pairsmith.pairs.events import Ended, Event, Notice, Progress, Started
from pairsmith.pairs.expressions import parse_expression
from pairsmith.pairs.generating import GenerateJob, GenerateOptions
from pairsmith.pairs.generation_plan import GenerateSettings
from pairsmith.pairs.recipes import METHODS, read_recipe
from pairsmith.pairs.rubrics import load_rubric
from pairsmith.pairs.store.runs import RunTopic
from pairsmith.pairs.store.workspace import Workspace

from .arguments import KINDS, add_limits, add_workspace, limits, model, path, seed, whole
from .environment import (
    Choice,
    Environment,
    add_backend_arguments,
    check_usable,
    present_generator,
    present_judge,
    read_environment,
)
from .jobs import exit_code, failure_of, run_job
from .ledger_text import ledger_lines
from .opening import opened
from .output import Failed, fail, say
from .progress import Progress as Bar
from .progress import progress

EXAMPLE = """
pairsmith generate git.pairsmith --pairs 500 --generator nim:meta/llama-3.1-405b-instruct
pairsmith generate git.pairsmith --pairs 500 --judge ollama:llama3.1 --where 'helpfulness >= 3' --max-calls 2000
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument("--pairs", type=whole, required=True, metavar="N", help="how many pairs")
    parser.add_argument(
        "--generator",
        type=model,
        metavar="BACKEND:MODEL",
        help="who writes; becomes the workspace's generator",
    )
    parser.add_argument(
        "--method", choices=METHODS, help="how instructions are found (the recipe's, where not given)"
    )
    parser.add_argument(
        "--judge", type=model, metavar="BACKEND:MODEL", help="score every pair; becomes the workspace's judge"
    )
    parser.add_argument(
        "--where", metavar="EXPR", help="count only pairs of which this is true (needs a judge)"
    )
    parser.add_argument("--kind", choices=KINDS, help="how the judge judges")
    parser.add_argument("--rubric", type=path, metavar="FILE", help="what the judge judges by (TOML)")
    parser.add_argument(
        "--seed-tasks", type=path, metavar="FILE", help="human-written tasks for self-instruct"
    )
    parser.add_argument("--seed", type=seed, metavar="N", help="for backends that can repeat themselves")
    add_backend_arguments(parser)
    add_limits(parser)


def run(arguments: Namespace) -> int:
    """Run the job. Raises what stops it from beginning; what ends it is its exit code."""
    if arguments.where is not None:
        parse_expression(arguments.where)
    rubric = load_rubric(arguments.rubric) if arguments.rubric else None
    with opened(arguments) as workspace:
        environment = read_environment(arguments, workspace)
        recipe = read_recipe(workspace.meta("recipe") or "", "the workspace's recipe")
        generator, judge = _models(arguments, workspace, environment)
        kind = arguments.kind or (
            recipe.judge.kind if recipe.judge is not None and recipe.judge.model == judge else "auto"
        )
        choice = Choice(
            workspace,
            {
                "generator": generator if arguments.generator else None,
                "judge": judge if arguments.judge else None,
                "base_url": arguments.base_url,
            },
        )
        choice.store()
        control = Control()
        job = GenerateJob(
            workspace,
            GenerateSettings(
                arguments.pairs,
                arguments.method or recipe.method,
                arguments.where,
                arguments.seed,
                str(arguments.seed_tasks) if arguments.seed_tasks else None,
            ),
            environment.settings,
            GenerateOptions(
                limits=limits(arguments),
                judge_kind=kind,
                rubric=rubric,
                generator=environment.user.generator,
                judge=environment.user.judge,
            ),
            control,
        )
        shown = _Shown(arguments.pairs)
        try:
            ended = run_job(job.events, control, shown)
        except BaseException:
            choice.take_back()
            raise
        finally:
            shown.close()
        ledger = ended.ledger
        if ended.error is not None and ledger is not None and ledger.calls.useful == 0:
            choice.take_back()
    return _told(arguments, ended, shown)


def _models(arguments: Namespace, workspace: Workspace, environment: Environment) -> tuple[str, str | None]:
    judge = arguments.judge or present_judge(workspace, environment)
    if arguments.where is not None and judge is None:
        raise Failed("--where needs a judge", 2, advice="Give --judge BACKEND:MODEL", kind="usage")
    generator, judge = check_usable(
        [arguments.generator or present_generator(workspace, environment), judge], environment
    )
    assert generator is not None
    return generator, judge


class _Shown:
    """What the user sees while the job runs."""

    def __init__(self, pairs: int) -> None:
        self._open = progress("generate", pairs, "pairs")
        self._bar: Bar = self._open.__enter__()
        self.run_id: int | None = None
        self.topics: tuple[RunTopic, ...] = ()

    def close(self) -> None:
        self._open.__exit__(None, None, None)

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self.run_id, self.topics = event.run_id, event.topics
            if event.continued:
                self._bar.say(
                    f"run {event.run_id} goes on: {event.ledger.kept:,} of {event.ledger.asked:,} are there"
                )
            self._bar.restart(event.ledger.kept)
        elif isinstance(event, Progress):
            self.topics = event.topics
            doing = ", ".join(f"{count} {name}" for name, count in sorted(event.doing.items()))
            lost = sum(event.ledger.losses.values())
            self._bar.update(
                event.ledger.kept, event.ledger.asked, f"{doing}  lost {lost:,}" if lost else doing
            )
        elif isinstance(event, Notice):
            self._bar.say(event.text)


def _told(arguments: Namespace, ended: Ended, shown: _Shown) -> int:
    assert ended.ledger is not None
    code = exit_code(ended)
    failure = failure_of(ended)
    data: dict[str, Any] = {
        **ended.ledger.as_json(),
        "run": ended.run_id,
        "state": ended.state,
        "reason": ended.reason,
        "topics": [
            {"path": t.path, "planned": t.planned, "quota": t.quota, "kept": t.kept, "exhausted": t.exhausted}
            for t in shown.topics
        ],
    }
    if failure is not None:
        data["error"] = {
            "kind": failure.kind,
            "message": failure.message,
            "advice": failure.advice,
            "exit": code,
        }
    say(arguments, lambda: _lines(ended, shown.topics), data)
    if failure is not None:
        fail(failure, json_wanted=False)
    elif ended.state != "done":
        fail(Failed(f"not done: {one_line(ended.reason)}", code, advice=_advice(code)), json_wanted=False)
    return code


def _lines(ended: Ended, topics: Sequence[RunTopic]) -> list[str]:
    assert ended.ledger is not None
    if ended.error is not None and not ended.ledger.calls.useful:
        return []  # nothing came of it: the error says all there is
    why = f", {one_line(ended.reason)}" if ended.reason else ""
    return [*ledger_lines(ended.ledger, topics), f"run {ended.run_id}: {ended.state}{why}"]


def _advice(code: int) -> str:
    if code == 3:
        return "The same command goes on where it stopped, with higher limits or more topics"
    return "The same command goes on where it stopped"
