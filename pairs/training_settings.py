"""What a training run is made of: the settings that name it, and those that each start may choose anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairsmith.backends.errors import BackendError
from pairsmith.backends.text import one_line

from .chosen_pairs import VerdictChoice
from .errors import UsageError

if TYPE_CHECKING:
    from .store.runs import Run

SIZES = ("gpt2-small", "gpt2-medium", "gpt2-large", "gpt2-xl")
SCRATCH = ("tiny", "small", "medium", "large", "xl")
EMBEDDED = "embedded"
DEFAULTS: Mapping[str, Any] = {
    "epochs": 2,
    "batch_size": 8,
    "learning_rate": 5e-5,
    "weight_decay": 0.1,
    "max_length": 1024,
    "seed": 123,
    "prompt_style": "alpaca",
    "mask_instructions": False,
    "lora_rank": 0,
    "parity": False,
}
"""What is meant where nobody chooses: all of them named, so that each front end goes on with a run of the other."""
FREE = frozenset(
    [
        *("accumulate", "checkpoint_every", "checkpoint_minutes", "cuda_graph", "device"),
        *("keep_checkpoints", "sample_tokens", "threads"),
    ]
)
"""Fields of config.json that change no curve, so that a run may be continued with other values of them."""


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """One run: base, pairs, and fields of config.json (docs/training.md); fields left out have their defaults."""

    base: str
    verdict: VerdictChoice = "not-rejected"
    where: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    processes: int = 1
    """GPUs (processes of torchrun) that work together; each of them takes `batch_size` examples of a step."""

    def identity(self) -> dict[str, Any]:
        """What makes two starts the same run, as it is stored with the run."""
        config = {name: value for name, value in sorted(self.config.items()) if name not in FREE}
        together = {"processes": self.processes} if self.processes > 1 else {}
        return {"base": self.base, "verdict": self.verdict, "where": self.where, "config": config, **together}

    @property
    def free(self) -> dict[str, Any]:
        """The fields that each start may choose."""
        return {name: value for name, value in self.config.items() if name in FREE}


def usual_style(base: str) -> str:
    """The prompt style to train a base in where nobody chooses: the embedded model's own, else the reference text's."""
    return "short" if base == EMBEDDED else "alpaca"


def settings_of(run: Run) -> TrainSettings:
    """The settings that a run was started with."""
    stored = run.settings
    return TrainSettings(
        str(stored["base"]),
        stored.get("verdict", "not-rejected"),
        stored.get("where"),
        dict(stored.get("config") or {}),
        int(stored.get("processes", 1)),
    )


def canonical_base(text: str) -> str:
    """A base as it is stored: a known name, a Hub id, or an absolute path. Raises UsageError naming what there is."""
    name = text.strip()
    if name in SIZES or name == EMBEDDED:
        return name
    if name.startswith("scratch:"):
        if name.removeprefix("scratch:") in SCRATCH:
            return name
        raise UsageError(
            f"scratch:SIZE knows no size {one_line(name.removeprefix('scratch:'), 40)!r}",
            f"Sizes: {', '.join(SCRATCH)}",
        )
    path = Path(name).expanduser() if name else Path()
    if name and path.exists():
        return str(path.absolute())
    parts = name.split("/")
    if len(parts) == 2 and all(parts) and not name.startswith((".", "~")) and path.suffix not in _FILES:
        return name
    scratch = f"scratch:{'|'.join(SCRATCH)}"
    known = ", ".join((*SIZES, scratch, EMBEDDED, "owner/name on the Hub"))
    raise UsageError(f"there is no base model {one_line(name, 80)!r}", f"Give {known}, or a path")


_FILES = (".gguf", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pkl")


def located_base(base: str, home: Path) -> str:
    """A base as the child knows it. Raises UsageError where this copy has no embedded model."""
    if base != EMBEDDED:
        return base
    from pairsmith.backends.llama_cpp.catalogue import resolve

    try:
        return str(resolve(EMBEDDED, home, {}))
    except BackendError as error:
        others = f"{SIZES[0]}, scratch:tiny, or a path"
        raise UsageError(
            f"{error.message[:1].lower()}{error.message[1:]}", f"Give another --base: {others}"
        ) from None
