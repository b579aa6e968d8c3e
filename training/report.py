"""`report FOLDER`: `losses.svg` and `report.md` from a run's events and evaluations. Plain SVG, nothing to install."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import atomic, statistics
from .errors import TrainingError
from .events import Event

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 420, 60, 20, 46, 56
_COLOURS = ("#9db8d6", "#1f5fa8", "#c2571a", "#3a7d44", "#7a3b8f", "#6b6b6b")


def write(folder: Path) -> list[Path]:
    """Publish both files; their paths. Raises TrainingError("data") where nothing was trained or evaluated."""
    events = read_events(folder / "events.jsonl")
    evaluations = _evaluations(folder / "evaluation")
    if not events and not evaluations:
        raise TrainingError("data", f"{folder.name}: nothing was trained or evaluated there yet")
    written = []
    curves = curves_of(events)
    if any(curves.values()):
        atomic.text(folder / "losses.svg", svg(curves))
        written.append(folder / "losses.svg")
    atomic.text(folder / "report.md", markdown(events, evaluations, bool(written)))
    return [*written, folder / "report.md"]


def read_events(path: Path) -> list[Event]:
    """The events of a run; of those that came twice (after a resume) the later ones, torn lines left out."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    kept: dict[Any, Event] = {}
    for number, line in enumerate(lines):
        try:
            item = json.loads(line)
            name = item["event"]
        except (ValueError, KeyError, TypeError):
            continue
        key = (
            (name, item["step"]) if name in ("step", "validation", "sample", "checkpoint") else (name, number)
        )
        kept.pop(key, None)
        kept[key] = item
    return list(kept.values())


def curves_of(events: Sequence[Event]) -> dict[str, list[tuple[float, float]]]:
    """Points (step, loss) by name: every step, training and validation."""
    curves: dict[str, list[tuple[float, float]]] = {"step": [], "training": [], "validation": []}
    for item in events:
        if item["event"] == "step" and item.get("loss") is not None:
            curves["step"].append((item["step"], item["loss"]))
        elif item["event"] == "validation":
            for name, key in (("training", "train_loss"), ("validation", "validation_loss")):
                if item.get(key) is not None:
                    curves[name].append((item["step"], item[key]))
    return {name: sorted(points) for name, points in curves.items()}


def svg(curves: dict[str, list[tuple[float, float]]]) -> str:
    """Loss curves over steps as an SVG picture."""
    points = [point for line in curves.values() for point in line]
    right = max((x for x, _ in points), default=1.0) or 1.0
    top = max((y for _, y in points), default=1.0) * 1.05 or 1.0
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        return round(_LEFT + wide * x / right, 2), round(_TOP + high * (1 - y / top), 2)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
    ]
    for tick in range(6):
        x, y = at(right * tick / 5, 0)
        _, level = at(0, top * tick / 5)
        parts.append(
            f'<line x1="{_LEFT}" y1="{level}" x2="{_WIDTH - _RIGHT}" y2="{level}" stroke="#e4e4e4"/>'
        )
        parts.append(f'<text x="{_LEFT - 6}" y="{level + 4}" text-anchor="end">{top * tick / 5:.2f}</text>')
        parts.append(f'<text x="{x}" y="{y + 18}" text-anchor="middle">{right * tick / 5:.0f}</text>')
    parts.append(
        f'<text x="{_LEFT + wide / 2}" y="{_HEIGHT - 14}" text-anchor="middle">optimiser steps</text>'
    )
    parts.append(f'<text x="16" y="{_TOP - 12}">loss per token (natural log)</text>')
    for place, (name, line) in enumerate(curves.items()):
        colour = _COLOURS[place % len(_COLOURS)]
        path = " ".join(f"{x},{y}" for x, y in (at(*point) for point in line))
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{1 if name == "step" else 2}"/>'
        )
        x = _LEFT + wide - 110 * (len(curves) - place)
        parts.append(f'<text x="{x}" y="{_TOP - 12}" fill="{colour}">{html.escape(name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _evaluations(folder: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        if path.stem.endswith("-responses"):
            continue
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(values, dict) and "metrics" in values:
            values["items"] = _items(path.with_suffix(".jsonl"))
            found[path.stem] = values
    return found


def _items(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return []


def markdown(events: Sequence[Event], evaluations: dict[str, dict[str, Any]], picture: bool) -> str:
    """The report as Markdown."""
    lines = ["# Training report", ""]
    for item in events:
        if item["event"] == "started" and item.get("verb") == "train":
            lines += _about(item)
            break
    if picture:
        lines += ["![Loss curves](losses.svg)", ""]
    points = [item for item in events if item["event"] == "validation"]
    if points:
        lines += ["## Losses", "", "| step | epoch | training | validation |", "|---|---|---|---|"]
        lines += [
            f"| {p['step']} | {p['epoch']:.2f} | {_number(p['train_loss'])} | {_number(p['validation_loss'])} |"
            for p in points
        ]
        lines.append("")
    for name, evaluation in evaluations.items():
        lines += _evaluation(name, evaluation)
    lines += _comparison(evaluations)
    for item in events:
        if item["event"] == "done" and item.get("table"):
            lines += [
                "## Against the reference text",
                "",
                "| figure | published | ours | difference |",
                "|---|---|---|---|",
            ]
            lines += [
                f"| {row['figure']} | {row['published']} | {_number(row['ours'])} | {_number(row['difference'])} |"
                for row in item["table"]
            ]
            lines.append("")
    return "\n".join(lines)


def _about(item: Event) -> list[str]:
    random = " (random weights: no general ability is to be expected)" if item["base_is_random"] else ""
    lines = [
        f"- base: `{_code(item['base'])}`{random}, {item['parameters']:,} parameters, {item['trainable']:,} trained",
        f"- device: {item['device']}, {item['precision']}",
        f"- pairs: {item['examples']['train']} train, {item['examples']['validation']} validation, "
        f"{item['examples']['test']} test",
        f"- truncated: {sum(item['truncated'].values())} examples, {item['truncated_tokens']} tokens",
        f"- {item['epochs']} epochs, {item['steps']} steps",
    ]
    return [*lines, ""]


def _code(text: str) -> str:
    return "".join(letter for letter in text if letter.isprintable() and letter != "`")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def _evaluation(name: str, evaluation: dict[str, Any]) -> list[str]:
    lines = [
        f"## Evaluation: {_code(name)}",
        "",
        f"{evaluation.get('n', 0)} test pairs. Intervals are 95 %.",
        "",
    ]
    lines += ["| measure | value | interval | n |", "|---|---|---|---|"]
    for measure, found in evaluation["metrics"].items():
        interval = f"{_number(found['low'])} to {_number(found['high'])}"
        lines.append(f"| {measure} | {_number(found['value'])} | {interval} | {found['n']} |")
    perplexity = evaluation.get("perplexity", {})
    for kind in ("response", "text"):
        if kind in perplexity:
            lines.append(
                f"| perplexity of the {kind} | {_number(perplexity[kind])} | | {perplexity[f'tokens_{kind}']} tokens |"
            )
    choices = evaluation.get("choices")
    if choices:
        interval = f"{_number(choices['low'])} to {_number(choices['high'])}"
        lines.append(f"| multiple choice | {_number(choices['accuracy'])} | {interval} | {choices['n']} |")
    return [*lines, ""]


def _comparison(evaluations: dict[str, dict[str, Any]]) -> list[str]:
    """Base against tuned, item by item, where both answered the same pairs."""
    if "base" not in evaluations or "tuned" not in evaluations:
        return []
    base = {str(item["id"]): item for item in evaluations["base"]["items"]}
    both = [
        (item, base[str(item["id"])]) for item in evaluations["tuned"]["items"] if str(item["id"]) in base
    ]
    if len(both) < 2:
        return []
    lines = ["## Tuned against base", "", f"{len(both)} pairs, each answered by both.", ""]
    lines += ["| measure | base | tuned | difference | interval | p |", "|---|---|---|---|---|---|"]
    for measure in ("rouge1", "rouge2", "rougeL", "bleu", "short_answer_match", "nll"):
        pairs = [
            (new[measure], old[measure])
            for new, old in both
            if None not in (new.get(measure), old.get(measure))
        ]
        if len(pairs) < 2:
            continue
        found = statistics.paired([new for new, _ in pairs], [old for _, old in pairs])
        means = [sum(column) / len(pairs) for column in zip(*pairs, strict=True)]
        lines.append(
            f"| {measure} | {_number(means[1])} | {_number(means[0])} | {_number(found.difference.mean)} | "
            f"{_number(found.difference.low)} to {_number(found.difference.high)} | {found.p:.4f} |"
        )
    return [*lines, ""]
