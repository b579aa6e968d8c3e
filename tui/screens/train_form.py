"""The settings of a training run as lines, what each of them may be, and what they come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pairsmith.pairs.chosen_pairs import VerdictChoice
from pairsmith.pairs.training_settings import (
    DEFAULTS,
    EMBEDDED,
    SCRATCH,
    SIZES,
    TrainSettings,
    canonical_base,
    usual_style,
)
from pairsmith.pairs.training_settings import settings_of as settings_of

from ..text import line
from ..widgets.meters import amount
from .ask import whole_number
from .form_rows import Setting, tail

if TYPE_CHECKING:
    from pairsmith.pairs.store.runs import Run
    from pairsmith.pairs.training_child import ChildEvent

BASES = (*SIZES, EMBEDDED, *(f"scratch:{size}" for size in SCRATCH))
ABOUT = {
    "gpt2-small": "124M parameters; downloaded once if it is not here",
    "gpt2-medium": "355M parameters; downloaded once if it is not here",
    "gpt2-large": "774M parameters; downloaded once if it is not here",
    "gpt2-xl": "1,558M parameters; downloaded once if it is not here",
    EMBEDDED: "the small model that ships with Pairsmith",
    "scratch:tiny": "random weights: knows nothing; for trying how this works",
}
VERDICTS: tuple[tuple[VerdictChoice, str], ...] = (
    ("not-rejected", "all that are not rejected"),
    ("accepted", "accepted only"),
    ("any", "all, rejected ones too"),
)
STYLES = ("alpaca", "phi3", "short")
RANKS = (0, 4, 8, 16, 32)
TURNS: Mapping[str, Sequence[Any]] = {
    "prompt_style": STYLES,
    "mask_instructions": (False, True),
    "lora_rank": RANKS,
}
TYPED = {
    "base": ("Which model is trained?", "gpt2-small, scratch:tiny, owner/name on the Hub, or a path"),
    "where": ("Only pairs of which this is true", "such as helpfulness >= 3; empty: no condition"),
    "epochs": ("How many epochs?", "times that every pair is seen"),
    "batch_size": ("How many pairs in a step?", "default: 8"),
    "learning_rate": ("Which learning rate?", "default: 5e-5; random weights want about 1e-3"),
    "max_length": ("How many tokens of an example?", "longer ones are cut and counted; at most 1024"),
}


def start_settings(run: Run | None, *, small: bool = False) -> TrainSettings:
    """What the form begins with: the settings of the last run, or sane ones.

    `small`: the model that ships, where it is at work anyway: nothing is downloaded, and a minute is enough.
    """
    if run is not None:
        return settings_of(run)
    first = TrainSettings(SIZES[0], config=dict(DEFAULTS))
    return with_base(first, EMBEDDED) if small else first


def form_settings(
    chosen: TrainSettings, device: str, devices: Sequence[Mapping[str, Any]] | None
) -> list[Setting]:
    """The lines of the form."""
    config = {**DEFAULTS, **chosen.config}
    rank = int(config["lora_rank"])
    base = chosen.base if chosen.base in BASES else tail_of(chosen.base)
    return [
        Setting("base", "base model", base, True, ABOUT.get(chosen.base, _about(chosen.base))),
        Setting("verdict", "pairs", dict(VERDICTS)[chosen.verdict], True),
        Setting("where", "where", chosen.where or "any scores"),
        Setting("epochs", "epochs", f"{config['epochs']:,}"),
        Setting("batch_size", "batch size", f"{config['batch_size']:,}"),
        Setting("learning_rate", "learning rate", f"{config['learning_rate']:g}"),
        Setting("prompt_style", "prompt style", str(config["prompt_style"]), True),
        Setting("mask_instructions", "loss on", "responses only" if config["mask_instructions"] else "all", True),
        Setting("lora_rank", "LoRA", f"rank {rank}" if rank else "no: all weights are trained", True),
        Setting("max_length", "cut at", f"{config['max_length']:,} tokens"),
        Setting("device", "device", device_said(device, devices), True, "" if devices else "looking for devices…"),
    ]  # fmt: skip


def _about(base: str) -> str:
    return "random weights, all of them to be learned" if base.startswith("scratch:") else ""


def tail_of(base: str) -> str:
    """A base that was typed."""
    from pathlib import Path

    return tail(Path(base), 60) if base.startswith("/") else base


def device_said(device: str, devices: Sequence[Mapping[str, Any]] | None) -> str:
    """A device with what is known of it."""
    for one in devices or ():
        if one.get("device") == device:
            free = float(one.get("memory_free_mb") or 0) / 1024
            return f"{line(str(one.get('label')), 50)}, {free:.1f} GB free, {one.get('precision')}"
    if device == "auto":
        names = ", ".join(line(str(one.get("device")), 20) for one in devices or ())
        return f"auto: the fastest of {names}" if names else "auto"
    return device


def has_embedded() -> bool:
    """Whether this copy ships with the demonstration model."""
    from pairsmith.backends.errors import NoSuchModel
    from pairsmith.backends.llama_cpp.catalogue import EMBEDDED as NAME
    from pairsmith.backends.llama_cpp.catalogue import resolve

    try:
        resolve(NAME, None, {})
    except NoSuchModel:
        return False
    return True


def turned(chosen: TrainSettings, name: str, steps: int) -> TrainSettings | None:
    """The settings with the next choice on a line; None where it has none."""
    if name == "base":
        bases = BASES if has_embedded() else tuple(base for base in BASES if base != EMBEDDED)
        at = bases.index(chosen.base) if chosen.base in bases else -1
        return with_base(chosen, bases[(at + steps) % len(bases)])
    if name == "verdict":
        names = [verdict for verdict, _ in VERDICTS]
        return replace(chosen, verdict=names[(names.index(chosen.verdict) + steps) % len(names)])
    if name not in TURNS:
        return None
    options = TURNS[name]
    now = {**DEFAULTS, **chosen.config}[name]
    at = options.index(now) if now in options else 0
    return with_config(chosen, name, options[(at + steps) % len(options)])


def with_base(chosen: TrainSettings, base: str) -> TrainSettings:
    """The settings with another base, in the style that is usual for it where the old one's usual style stood."""
    style = str({**DEFAULTS, **chosen.config}["prompt_style"])
    changed = replace(chosen, base=base)
    if style != usual_style(chosen.base) or usual_style(base) == style:
        return changed
    return with_config(changed, "prompt_style", usual_style(base))


def with_config(chosen: TrainSettings, name: str, value: Any) -> TrainSettings:
    """The settings with one field of config.json changed."""
    return replace(chosen, config={**DEFAULTS, **chosen.config, name: value})


def typed(chosen: TrainSettings, name: str, text: str) -> TrainSettings:
    """The settings with a value that was typed. Raises ValueError and PairsmithError with a sentence."""
    text = text.strip()
    if name == "base":
        return with_base(chosen, canonical_base(text))
    if name == "where":
        from pairsmith.pairs.expressions import parse_expression

        if text:
            parse_expression(text)
        return replace(chosen, where=text or None)
    if name == "learning_rate":
        try:
            rate = float(text)
        except ValueError:
            rate = 0.0
        if not 0 < rate < 1:
            raise ValueError("The learning rate is a number between 0 and 1, such as 5e-5")
        return with_config(chosen, name, rate)
    number = whole_number(text, {"epochs": "Epochs", "batch_size": "A batch"}.get(name, "It"))
    return with_config(chosen, name, number)


def value_of(chosen: TrainSettings, name: str) -> str:
    """What stands in the field that one types in."""
    if name == "base":
        return chosen.base
    if name == "where":
        return chosen.where or ""
    value = {**DEFAULTS, **chosen.config}[name]
    return f"{value:g}" if isinstance(value, float) else str(value)


def estimate_said(done: ChildEvent, sides: Mapping[str, int]) -> list[str]:
    """What a look ahead found, in sentences."""
    split = " · ".join(f"{count:,} {side}" for side, count in sides.items())
    found = [
        f"{split}; {int(done.get('steps') or 0):,} steps,"
        f" {amount(int(done.get('tokens_per_epoch') or 0))} label tokens an epoch,"
        f" {amount(int(done.get('trainable') or 0))} of {amount(int(done.get('parameters') or 0))} weights",
        f"on {done.get('device')} in {done.get('precision')}: about {int(done.get('memory_needed_mb') or 0):,} MB"
        f" of memory, {int(done.get('memory_free_mb') or 0):,} MB are free",
    ]
    cut = sum((done.get("truncated") or {}).values())
    if cut:
        found.append(
            f"{cut:,} examples are too long: {int(done.get('truncated_tokens') or 0):,} tokens are cut"
        )
    return found + [str(note) for note in done.get("notes") or ()]
