"""What a training run leaves in the workspace: its figures, its curve and its samples; weights stay in the folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_MOST_POINTS = 500
_MOST_SAMPLES = 50
_LONGEST_TEXT = 2000
_OF_DONE = (
    *("state", "step", "train_loss", "validation_loss", "best_step", "minutes", "tokens_seen"),
    *("tokens_per_s", "peak_memory_mb", "device", "table"),
)
_OF_STARTED = (
    *("precision", "base", "base_is_random", "parameters", "trainable", "shape", "examples", "truncated"),
    *("truncated_tokens", "epochs", "steps", "steps_per_epoch", "tokens_per_epoch", "world_size", "notes"),
)


def result_of(folder: Path, done: Mapping[str, Any] | None) -> dict[str, Any]:
    """Everything worth keeping of a run's events, the killed child's too (blocking).

    `losses`: [step, loss] thinned to 500 points; `validations`: [step, epoch, train loss, validation loss, tokens].
    """
    events = read_events(folder / "events.jsonl")
    result: dict[str, Any] = {}
    for event in events:
        if event["event"] == "started":
            result |= {name: event[name] for name in _OF_STARTED if name in event}
    steps = [[event["step"], event.get("loss")] for event in events if event["event"] == "step"]
    if steps:
        result["step"] = steps[-1][0]
    if done is not None:
        result |= {name: done[name] for name in _OF_DONE if done.get(name) is not None}
        result["published"] = done.get("model") is not None
    result["losses"] = thinned(steps)
    result["validations"] = [
        [event.get(name) for name in _POINT] for event in events if event["event"] == "validation"
    ]
    result["samples"] = [
        {
            name: event[name][:_LONGEST_TEXT] if isinstance(event.get(name), str) else event.get(name)
            for name in ("step", "id", "prompt", "expected", "text")
        }
        for event in events
        if event["event"] == "sample"
    ][-_MOST_SAMPLES:]
    return result


_POINT = ("step", "epoch", "train_loss", "validation_loss", "tokens_seen")
_REPEATED = ("step", "validation", "sample")


def read_events(path: Path) -> list[dict[str, Any]]:
    """The kept events of a run; of those that came again after a resume the later ones; torn lines left out."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return []
    kept: dict[object, dict[str, Any]] = {}
    for number, line in enumerate(lines):
        try:
            event = json.loads(line)
            name = event["event"]
            key = (name, int(event["step"])) if name in _REPEATED else (name, -1 - number)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        if name == "started":
            _forget_after(kept, event.get("resumed_from"))
        kept.pop(key, None)
        kept[key] = event
    return list(kept.values())


def _forget_after(kept: dict[object, dict[str, Any]], step: Any) -> None:
    """A run that went on from a checkpoint makes the steps behind it again."""
    last = step if isinstance(step, int) else 0
    for key, event in list(kept.items()):
        if event["event"] in _REPEATED and event["step"] > last:
            del kept[key]


def thinned(points: Sequence[Any], most: int = _MOST_POINTS) -> list[Any]:
    """At most so many of the points, evenly, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    stride = (len(points) - 1) / (most - 1)
    return [points[round(place * stride)] for place in range(most)]
