"""Settings of a training run: `config.json` in the run's folder, checked field by field."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import TrainingError
from .prompts import STYLES
from .shapes import SCRATCH

VERSION = 1
PARITY = {
    "batch_size": 8,
    "accumulate": 1,
    "schedule": "constant",
    "warmup_steps": 0,
    "clip_norm": None,
    "dropout": 0.0,
    "drop_last": True,
    "tied_head": False,
    "early_stop": 0,
}


@dataclass(frozen=True, slots=True)
class Config:
    """One run. Field names and defaults are the contract in docs/training.md."""

    base: str
    version: int = VERSION
    models_dir: str | None = None
    offline: bool = False
    epochs: int = 2
    max_steps: int | None = None
    batch_size: int = 8
    accumulate: int = 1
    learning_rate: float = 5e-5
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    schedule: str = "constant"
    warmup_steps: int = 0
    min_learning_rate: float = 0.0
    clip_norm: float | None = None
    dropout: float = 0.0
    max_length: int = 1024
    prompt_style: str = "alpaca"
    mask_instructions: bool = False
    seed: int = 123
    drop_last: bool = False
    tied_head: bool | None = None
    lora_rank: int = 0
    lora_alpha: float | None = None
    device: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    cuda_graph: bool = True
    validate_every: int | None = None
    sample_tokens: int = 50
    early_stop: int = 0
    early_stop_delta: float = 0.0
    checkpoint_every: int = 0
    checkpoint_minutes: float = 10.0
    keep_checkpoints: int = 2
    vocabulary: str | None = None
    shape: dict[str, int] | None = None
    parity: bool = False

    @property
    def scratch(self) -> str | None:
        """The size's name where training starts from random weights."""
        return self.base.removeprefix("scratch:") if self.base.startswith("scratch:") else None

    def as_json(self) -> dict[str, Any]:
        """The fields as `config.json` holds them."""
        values = dataclasses.asdict(self)
        values["betas"] = list(self.betas)
        return values


_INTEGERS = {
    "epochs": (1, 10_000),
    "max_steps": (1, 10**9),
    "batch_size": (1, 65_536),
    "accumulate": (1, 65_536),
    "warmup_steps": (0, 10**9),
    "max_length": (2, 1_000_000),
    "seed": (0, 2**63 - 1),
    "lora_rank": (0, 4096),
    "threads": (1, 4096),
    "validate_every": (0, 10**9),
    "sample_tokens": (0, 4096),
    "early_stop": (0, 10**6),
    "checkpoint_every": (0, 10**9),
    "keep_checkpoints": (1, 1000),
}
_NUMBERS = {
    "learning_rate": (0.0, 10.0),
    "weight_decay": (0.0, 10.0),
    "epsilon": (0.0, 1.0),
    "min_learning_rate": (0.0, 1.0),
    "clip_norm": (1e-9, 1e9),
    "dropout": (0.0, 0.99),
    "lora_alpha": (0.0, 1e6),
    "early_stop_delta": (0.0, 1e6),
    "checkpoint_minutes": (0.0, 1e6),
}
_FLAGS = ("offline", "mask_instructions", "drop_last", "parity", "cuda_graph")
_CHOICES = {
    "schedule": ("constant", "linear", "cosine"),
    "prompt_style": tuple(STYLES),
    "precision": ("auto", "fp32", "bf16"),
}
_OPTIONAL = {"max_steps", "threads", "validate_every", "clip_norm", "lora_alpha"}
_SHAPE_FIELDS = {"layers", "width", "heads", "context"}


def read(path: Path) -> Config:
    """The settings in a `config.json`.

    Raises TrainingError("config"): no such file, not JSON, an unknown field, a value out of range.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError("config", f"{path.name}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise TrainingError("config", f"{path.name}: not JSON: {error}") from error
    if not isinstance(values, dict):
        raise TrainingError("config", f"{path.name}: must hold one JSON object")
    return parse(values)


def parse(values: dict[str, Any]) -> Config:
    """A checked Config from plain values; `parity` sets the reference recipe's fields. Raises TrainingError."""
    names = {field.name for field in dataclasses.fields(Config)}
    for name in values:
        if name not in names:
            raise _refused(name, "unknown field", f"Known are: {', '.join(sorted(names))}.")
    if values.get("version", VERSION) != VERSION:
        raise _refused("version", f"{values['version']!r} is not {VERSION}", "Use a matching pairsmith.")
    if not isinstance(values.get("base"), str) or not values["base"]:
        raise _refused("base", "missing", "Name a model, a path, or scratch:tiny.")
    checked = {name: _check(name, value) for name, value in values.items()}
    if checked.get("parity"):
        checked.update(PARITY)
    config = Config(**checked)
    _check_together(config)
    return config


def _check(name: str, value: Any) -> Any:
    if value is None and name in _OPTIONAL:
        return None
    if name in _INTEGERS:
        return _integer(name, value, *_INTEGERS[name])
    if name in _NUMBERS:
        return _number(name, value, *_NUMBERS[name])
    if name in _FLAGS or (name == "tied_head" and value is not None):
        if not isinstance(value, bool):
            raise _refused(name, f"{value!r} is neither true nor false")
    elif name in _CHOICES:
        if value not in _CHOICES[name]:
            raise _refused(name, f"{value!r} is not one of {', '.join(_CHOICES[name])}")
    elif name == "betas":
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise _refused(name, f"{value!r} is not a list of two numbers")
        return tuple(_number(name, beta, 0.0, 0.999999) for beta in value)
    elif name == "shape" and value is not None:
        if not isinstance(value, dict) or set(value) != _SHAPE_FIELDS:
            raise _refused(name, f"must hold {', '.join(sorted(_SHAPE_FIELDS))}")
        return {key: _integer(f"shape.{key}", number, 1, 1_000_000) for key, number in value.items()}
    elif name in ("device", "vocabulary", "models_dir") and not (value is None or isinstance(value, str)):
        raise _refused(name, f"{value!r} is not text")
    return value


def _check_together(config: Config) -> None:
    size = config.scratch
    if size is not None and size not in SCRATCH:
        raise _refused("base", f"no size {size!r}", f"Sizes are: {', '.join(SCRATCH)}.")
    if size is None and (config.shape or config.vocabulary):
        field = "shape" if config.shape else "vocabulary"
        raise _refused(field, "only random weights can choose it", "Use scratch:SIZE, or leave it out.")
    if config.accumulate > config.batch_size:
        raise _refused("accumulate", f"{config.accumulate} slices of a batch of {config.batch_size}")


def _integer(name: str, value: Any, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _refused(name, f"{value!r} is not a whole number from {low} to {high}")
    return value


def _number(name: str, value: Any, low: float, high: float) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise _refused(name, f"{value!r} is not a number from {low:g} to {high:g}")
    return float(value)


def _refused(name: str, why: str, advice: str = "") -> TrainingError:
    return TrainingError("config", f"config.json: {name}: {why}", advice)
