"""Make exactly so many pairs. An unfinished run with the same settings goes on; otherwise a new one makes N more."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from typing import Any

from pairsmith.backends.text import one_line
from pairsmith.pairs.control import Control
from pairsmith.pairs.diversity import Meters
from pairsmith.pairs.events import Ended, Event, Notice, Progress, Started
from pairsmith.pairs.examples import PRESETS, parse_examples
from pairsmith.pairs.expressions import parse_expression
from pairsmith.pairs.generating import GenerateJob, GenerateOptions
from pairsmith.pairs.generation_plan import GenerateSettings
from pairsmith.pairs.recipes import METHODS, Recipe, read_recipe
from pairsmith.pairs.rubrics import load_rubric
from pairsmith.pairs.seed_tasks import read_seed_tasks
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
from .jobs import exit_code, failure_of, run_chosen, suggested_kind, unfinished_said
from .ledger_text import diversity_lines, ledger_lines, meter_words
from .opening import opened
from .output import Failed, say
from .progress import Progress as Bar
from .progress import progress

EXAMPLE = """
pairsmith generate git.pairsmith --pairs 500 --generator nim:meta/llama-3.1-405b-instruct
pairsmith generate git.pairsmith --pairs 500 --judge ollama:llama3.1 --where 'helpfulness >= 3' --max-calls 2000
pairsmith generate tasks.pairsmith --pairs 1000 --method self-instruct --seed-tasks seed_tasks.jsonl --refine
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
        "--seed-tasks",
        type=path,
        metavar="FILE",
        help="human-written tasks for self-instruct: seed_tasks.jsonl, or one on each line; the workspace keeps them",
    )
    parser.add_argument(
        "--examples",
        type=_examples,
        metavar="CHOICE",
        help="tasks that a self-instruct prompt shows: paper (6 seeds + 2 of the model's), alpaca (3 seeds), mixed (3),"
        " or like 4+2",
    )
    parser.add_argument(
        "--refine",
        action="store_true",
        help="let the model rewrite an instruction once that breaks a rule which can be mended",
    )
    parser.add_argument("--seed", type=seed, metavar="N", help="for backends that can repeat themselves")
    add_backend_arguments(parser)
    add_limits(parser)


def run(arguments: Namespace) -> int:
    """Run the job. Raises what stops it from beginning; what ends it is its exit code."""
    if arguments.where is not None:
        parse_expression(arguments.where)
    rubric = load_rubric(arguments.rubric) if arguments.rubric else None
    seed_tasks = tuple(read_seed_tasks(arguments.seed_tasks)) if arguments.seed_tasks else ()
    with opened(arguments) as workspace:
        environment = read_environment(arguments, workspace)
        recipe = read_recipe(workspace.meta("recipe") or "", "the workspace's recipe")
        generator, judge = _models(arguments, workspace, environment)
        flags = {
            "generator": generator if arguments.generator else None,
            "judge": judge if arguments.judge else None,
            "base_url": arguments.base_url,
        }
        options = GenerateOptions(
            limits=limits(arguments),
            judge_kind=arguments.kind or suggested_kind(recipe, judge),
            rubric=rubric,
            generator=environment.user.generator,
            judge=environment.user.judge,
            seed_tasks=seed_tasks,
        )
        control = Control()
        job = GenerateJob(workspace, _wanted(arguments, recipe), environment.settings, options, control)
        with progress("generate", arguments.pairs, "pairs") as bar:
            shown = _Shown(bar)
            ended = run_chosen(job.events, control, shown, Choice(workspace, flags))
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


def _wanted(arguments: Namespace, recipe: Recipe) -> GenerateSettings:
    return GenerateSettings(
        arguments.pairs,
        arguments.method or recipe.method,
        arguments.where,
        arguments.seed,
        arguments.examples,
        arguments.refine,
    )


def _examples(text: str) -> str:
    if parse_examples(text) is None:
        raise ArgumentTypeError(f"{one_line(text)} is none of {', '.join(PRESETS)}, nor like 6+2")
    return text


class _Shown:
    """What the user sees while the job runs."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self.topics: tuple[RunTopic, ...] = ()
        self.meters: Meters | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, Started):
            self.topics = event.topics
            if event.continued:
                self._bar.say(
                    f"run {event.run_id} goes on: {event.ledger.kept:,} of {event.ledger.asked:,} are there"
                )
            self._bar.restart(event.ledger.kept)
        elif isinstance(event, Progress):
            self.topics = event.topics
            self.meters = event.diversity
            doing = ", ".join(f"{count} {name}" for name, count in sorted(event.doing.items()))
            lost = sum(event.ledger.losses.values())
            if lost:
                doing = f"{doing}  lost {lost:,}"
            self._bar.update(event.ledger.kept, event.ledger.asked, "  ".join([doing, *meter_words(event)]))
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
        "share_kept": ended.ledger.share_kept,
        "diversity": None if shown.meters is None else shown.meters.as_json(),
    }
    if failure is not None:
        data["error"] = {**failure.as_json(), "exit": code}
    say(arguments, lambda: _lines(ended, shown), data)
    unfinished_said(ended, failure)
    return code


def _lines(ended: Ended, shown: _Shown) -> list[str]:
    assert ended.ledger is not None
    if ended.error is not None and not ended.ledger.calls.useful:
        return []  # nothing came of it: the error says all there is
    why = f", {one_line(ended.reason)}" if ended.reason else ""
    lines = ledger_lines(ended.ledger, shown.topics)
    if shown.meters is not None:
        lines += diversity_lines(shown.meters)
    return [*lines, f"run {ended.run_id}: {ended.state}{why}"]
