"""Fine-tune GPT-2 on the pairs. Losses, speed and sample answers are shown while it runs; an interrupt saves and stops,
and --resume goes on with the same curve."""

from __future__ import annotations

import asyncio
from argparse import Namespace
from typing import Any

from pairsmith.backends.text import one_line
from pairsmith.pairs.chosen_pairs import VerdictChoice, verdicts_said
from pairsmith.pairs.control import Control
from pairsmith.pairs.events import Ended, Event
from pairsmith.pairs.expressions import parse_expression
from pairsmith.pairs.store.runs import get_run
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.pairs.train_job import TrainJob, TrainOptions
from pairsmith.pairs.training_preview import estimate, first_batch, first_batch_text
from pairsmith.pairs.training_settings import DEFAULTS, FREE, TrainSettings, canonical_base, usual_style

from .environment import Environment, present_judge, read_environment
from .jobs import exit_code, failure_of, run_job
from .opening import opened
from .output import Failed, amount, fail, number, say, table
from .progress import progress
from .train_arguments import add_arguments as add_arguments
from .train_progress import TrainingShow

EXAMPLE = """
pairsmith train git.pairsmith --base gpt2-small --epochs 2
pairsmith train git.pairsmith --base scratch:tiny --epochs 20 --lr 0.003
pairsmith train git.pairsmith --resume
"""
_OTHERS = (
    *(
        "accumulate",
        "checkpoint_every",
        "clip_norm",
        "cuda_graph",
        "device",
        "dropout",
        "early_stop",
        "max_steps",
        "precision",
    ),
    *("sample_tokens", "schedule", "threads", "validate_every", "vocabulary", "warmup_steps"),
)


def run(arguments: Namespace) -> int:
    """Train. Raises what stops it from beginning; what ends it is its exit code."""
    if arguments.where is not None:
        parse_expression(arguments.where)
    settings, free = _settings(arguments)
    with opened(arguments) as workspace:
        environment = read_environment(arguments, workspace)
        judge = present_judge(workspace, environment)
        if arguments.show_batch or arguments.estimate:
            if settings is None:
                raise Failed("no base model is named", 2, advice="Give --base", kind="usage")
            return _look(arguments, workspace, environment, settings, judge)
        control = Control()
        options = TrainOptions(arguments.resume, arguments.unload, judge, free)
        job = TrainJob(workspace, environment.settings, settings, options, control)
        with progress("train", unit="steps") as bar:
            show = TrainingShow(bar)

            def shown(event: Event) -> None:
                show(event)

            ended = run_job(job.events, control, shown)
        result = dict(workspace.read(lambda conn: get_run(conn, ended.run_id)).result or {})
    return _told(arguments, ended, result)


def _settings(arguments: Namespace) -> tuple[TrainSettings | None, dict[str, Any]]:
    given = {
        name: value for name in (*DEFAULTS, *_OTHERS) if (value := getattr(arguments, name, None)) is not None
    }
    free = {name: value for name, value in given.items() if name in FREE}
    if arguments.base is None:
        if not arguments.resume:
            raise Failed(
                "no base model is named",
                2,
                advice="Give --base, such as gpt2-small, or scratch:tiny for random weights",
                kind="usage",
            )
        decided = sorted(given.keys() - FREE)
        if decided or arguments.where or arguments.verdict or arguments.gpus != 1:
            raise Failed(
                "--resume alone goes on with the newest unfinished run as it was begun",
                2,
                advice="Leave the other settings out, or name all of them, --base too",
                kind="usage",
            )
        return None, free
    if arguments.parity and given.get("batch_size", 8) != 8:
        raise Failed(
            "--parity has batches of 8", 2, advice="Leave --batch-size out, or --parity", kind="usage"
        )
    base = canonical_base(arguments.base)
    usual = {**DEFAULTS, "prompt_style": usual_style(base)}
    config = {**usual, **{name: value for name, value in given.items() if name not in FREE}}
    verdict: VerdictChoice = arguments.verdict or "not-rejected"
    return TrainSettings(base, verdict, arguments.where, config, arguments.gpus), free


def _look(
    arguments: Namespace,
    workspace: Workspace,
    environment: Environment,
    settings: TrainSettings,
    judge: str | None,
) -> int:
    if arguments.show_batch:
        if arguments.json:
            batch = asyncio.run(first_batch(workspace, environment.settings, settings, judge))
            say(arguments, list, dict(batch))
        else:
            text = asyncio.run(first_batch_text(workspace, environment.settings, settings, judge))
            say(arguments, lambda: [text.rstrip("\n")], None)
        return 0
    done, choice = asyncio.run(estimate(workspace, environment.settings, settings, judge))
    data = {
        name: value for name, value in done.items() if name not in ("v", "event", "time", "verb", "state")
    }
    data |= {"pairs": len(choice.sides), "verdicts": dict(choice.verdicts), "sides": choice.counts()}
    say(arguments, lambda: _estimate_lines(data), data)
    return 0


def _estimate_lines(data: dict[str, Any]) -> list[str]:
    sides = data["sides"]
    lines = [
        verdicts_said(data["pairs"], data["verdicts"]),
        f"  {sides['train']:,} train, {sides['test']:,} test, {sides['validation']:,} validation",
        f"{one_line(str(data['base']), 80)}: {amount(data['parameters'])} parameters,"
        f" {amount(data['trainable'])} trained",
        f"{data['steps']:,} steps in {data['epochs']} epochs, {data['tokens_per_epoch']:,} label tokens an epoch",
        f"{one_line(str(data['device']), 80)}, {one_line(str(data['precision']))}:"
        f" needs about {data['memory_needed_mb']:,} MB, {data['memory_free_mb']:,} MB free",
    ]
    cut = sum(data["truncated"].values())
    if cut:
        lines.append(f"{cut:,} examples are too long: {data['truncated_tokens']:,} tokens are cut")
    return lines + [f"  {one_line(str(note), 300)}" for note in data.get("notes", ())]


def _told(arguments: Namespace, ended: Ended, result: dict[str, Any]) -> int:
    code, failure = exit_code(ended), failure_of(ended)
    data: dict[str, Any] = {
        "run": ended.run_id,
        "state": ended.state,
        "reason": ended.reason,
        "result": result,
    }
    if failure is not None:
        data["error"] = {**failure.as_json(), "exit": code}
    say(arguments, lambda: _lines(arguments, ended, result), data)
    if failure is not None:
        if ended.state == "unfinished" and "--resume" not in failure.advice:
            advice = f"{failure.advice} Go on with --resume".strip()
            failure = Failed(failure.message, failure.code, advice=advice, kind=failure.kind)
        fail(failure, json_wanted=False)
    elif ended.state != "done":
        advice = "pairsmith train --resume goes on where it stopped"
        fail(Failed(f"not done: {one_line(ended.reason)}", code, advice=advice), json_wanted=False)
    return code


def _lines(arguments: Namespace, ended: Ended, result: dict[str, Any]) -> list[str]:
    if ended.state != "done":
        step, steps = result.get("step"), result.get("steps")
        return [f"run {ended.run_id} stands at step {step:,} of {steps:,}"] if step and steps else []
    name = one_line(str(arguments.workspace))
    random = " from random weights" if result.get("base_is_random") else ""
    lines = [
        f"run {ended.run_id}: {one_line(str(result.get('base')), 80)}{random} trained in"
        f" {result.get('step', 0):,} steps,"
        f" {result.get('minutes', 0.0):.2f} minutes, {amount(round(result.get('tokens_per_s', 0)))} tokens/s"
        f" on {one_line(str(result.get('device')), 80)}" + (f" ({ended.reason})" if ended.reason else ""),
        f"training loss {number(result.get('train_loss'))}, validation loss {number(result.get('validation_loss'))}",
    ]
    if result.get("table"):
        rows: list[tuple[str, ...]] = [("figure", "published", "ours", "difference")]
        rows += [
            (one_line(str(row["figure"])), *(number(row[key]) for key in ("published", "ours", "difference")))
            for row in result["table"]
        ]
        lines += ["", *table(rows, right=(1, 2, 3)), ""]
    return [
        *lines,
        f"measure it: pairsmith evaluate {name} --run {ended.run_id}",
        f"talk to it: pairsmith chat {name} --run {ended.run_id}",
    ]
