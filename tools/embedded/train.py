"""Train the embedded model from random weights on the corpus of `documents.py`, with our own training room.

    python -m tools.embedded.train --to FOLDER [--steps N | --minutes M] [--miniature] [--seed 7]

The folder holds `checkpoints/` (the run goes on from the newest), `vocabulary/`, `events.jsonl` (one JSON object a
line) and, at the end, `model/` (safetensors) and `embedded.gguf` (Q8_0). The same seed and number of steps give the
same model on the same machine; `--minutes` only chooses the number of steps, by the speed of the
first ones, and prints it.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from pairsmith.training import checkpoints, forward
from pairsmith.training.checkpoints import Checkpoint
from pairsmith.training.config import Config
from pairsmith.training.optimiser import Rates
from pairsmith.training.schedule import learning_rate
from pairsmith.training.vocabulary import Vocabulary, from_files

from . import vocabulary
from .beginning import new_model
from .form import STYLE, prompt_text
from .hands import Hands
from .making import FULL, MINIATURE, Corpus, Making, shipped
from .muon import Muon
from .publish import publish
from .steps import Slice, ahead, slices
from .steps import groups as draw_groups

RATES = Rates(weight_decay=0.1, betas=(0.9, 0.98))
_FIXED = 40
"""How often a line of a prompt counts for the vocabulary, at most."""
Tell = Callable[[Mapping[str, Any]], None]


class Trainer:
    """One run: model, optimiser, and where it has come to."""

    def __init__(self, folder: Path, making: Making, corpus: Corpus, seed: int, tell: Tell) -> None:
        self.folder, self.making, self.corpus, self.seed, self.tell = folder, making, corpus, seed, tell
        self.words = _words(folder, making, corpus, seed)
        self.model = new_model(making.shape(self.words), seed)
        dtype = torch.bfloat16 if making.precision == "bf16" else torch.float32
        self.model.use(dtype)
        self.optimiser = Muon(self.model, RATES, dtype, making.hands)
        self.hands = Hands(self.model, making.hands)
        self.step, self.elapsed, self.rows = 0, 0.0, 0
        self.steps: int | None = None
        self.losses: list[dict[str, float]] = []
        self.validations: list[dict[str, Any]] = []

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with."""
        shares = {kind: asdict(share) for kind, share in self.corpus.shares.items()}
        return {"making": asdict(self.making), "seed": self.seed, "shares": shares}

    def resume(self) -> bool:
        """Go on from the newest checkpoint, if there is one. Raises TrainingError where it is of another run."""
        saved = checkpoints.newest(self.folder / "checkpoints")
        if saved is None:
            return False
        checkpoints.check_identity(saved, self.identity)
        with torch.no_grad():
            for name, tensor in self.model.tensors.items():
                tensor.copy_(saved.tensors[name])
        self.optimiser.refresh()
        self.optimiser.restore(saved.optimiser)
        self.step = saved.step
        for name in ("elapsed", "rows", "steps", "losses", "validations"):
            setattr(self, name, saved.state[name])
        return True

    def save(self) -> None:
        """Write a checkpoint."""
        names = ("elapsed", "rows", "steps", "losses", "validations")
        state = {"step": self.step, "identity": self.identity} | {name: getattr(self, name) for name in names}
        saved = Checkpoint(self.step, self.model.tensors, self.optimiser.state(), state, {})
        path = checkpoints.write(self.folder / "checkpoints", saved, 2)
        self.tell({"event": "checkpoint", "step": self.step, "path": str(path)})

    def train(self, steps: int | None, minutes: float | None, checkpoint_minutes: float = 4.0) -> None:
        """Train to the end of the schedule. Raises RuntimeError for a loss that is no number."""
        self.steps = self.steps or steps
        saved = time.monotonic()
        first, last = self.step + 1, self.steps or 1_000_000
        words, context = self.words, self.making.context
        drawn = ahead(self.corpus.draw, self.corpus.shares, words, context, self.seed, first, last)
        try:
            for parts in drawn:
                started = time.perf_counter()
                self._step(parts)
                self.elapsed += time.perf_counter() - started
                if self.steps is None and self.step >= self.making.warmup // 2:
                    self._choose_steps(minutes)
                self._told(parts)
                if time.monotonic() - saved > checkpoint_minutes * 60 or self.step == self.steps:
                    self.save()
                    saved = time.monotonic()
                if self.step == self.steps:
                    break
        finally:
            drawn.close()

    def _choose_steps(self, minutes: float | None) -> None:
        """The number of steps that take so long at the speed of the first ones."""
        left = 60 * (minutes or 60.0) - self.elapsed
        self.steps = max(2 * self.making.warmup, self.step + int(left * self.step / self.elapsed))
        self.tell({"event": "planned", "steps": self.steps, "seconds_a_step": self.elapsed / self.step})

    def _step(self, parts: Sequence[Slice]) -> None:
        sums: defaultdict[str, float] = defaultdict(float)
        for part, loss in zip(parts, self.hands.gradients(parts), strict=True):
            sums[part.kind] += loss / self.corpus.shares[part.kind].loss
            self.rows += len(part.batch.ids)
        if not all(math.isfinite(value) for value in sums.values()):
            raise RuntimeError(f"the loss of step {self.step + 1} is not a finite number")
        scale = min(1.0, self.making.clip / (self.optimiser.norm() + 1e-6))
        self.step += 1
        self.optimiser.step(self._rate(), scale)
        self.losses.append({kind: round(value, 5) for kind, value in sums.items()})

    def _rate(self) -> float:
        making = self.making
        config = Config(
            base="scratch:tiny",
            learning_rate=making.learning_rate,
            warmup_steps=making.warmup,
            schedule="cosine",
            min_learning_rate=0.01,
        )
        return learning_rate(config, self.step, self.steps or 1_000_000)

    def _told(self, parts: Sequence[Slice]) -> None:
        if self.step % 20 == 0 or self.step == self.steps:
            recent = self.losses[-20:]
            means = {kind: sum(one[kind] for one in recent) / len(recent) for kind in self.corpus.shares}
            left = ((self.steps or self.step) - self.step) * self.elapsed / self.step
            self.tell(
                {
                    "event": "step",
                    "step": self.step,
                    "steps": self.steps,
                    "loss": {kind: round(value, 4) for kind, value in means.items()},
                    "learning_rate": self._rate(),
                    "tokens_per_s": round(self.rows / self.elapsed),
                    "elapsed_s": round(self.elapsed),
                    "eta_s": round(left),
                }
            )
        if self.step % self.making.validate_every == 0 or self.step == self.steps:
            self.validate()

    def validate(self) -> dict[str, float]:
        """Mean loss of held-out documents by kind: phrasings and names that training never draws."""
        means = {}
        for kind in self.corpus.shares:
            rng = random.Random(f"validation/{kind}")
            size = self.making.validation_tokens
            made = draw_groups(
                self.corpus.draw_held_out, kind, rng, self.words, self.making.context, size, plain=True
            )
            with torch.no_grad():
                parts = slices(kind, made, 1.0)
                means[kind] = sum(float(forward.losses(self.model, p.batch, p.divisor)[0]) for p in parts)
        self.validations.append({"step": self.step, "loss": means})
        rounded = {kind: round(value, 4) for kind, value in means.items()}
        self.tell({"event": "validation", "step": self.step, "loss": rounded})
        return means


def _words(folder: Path, making: Making, corpus: Corpus, seed: int) -> Vocabulary:
    """The vocabulary of the run: learnt from documents of training, then kept in the folder."""
    kept = folder / "vocabulary"
    if not (kept / "merges.txt").exists():
        learnt = vocabulary.learn(_texts(corpus, making.vocabulary_documents, seed), making.tokens)
        learnt.save(kept)
    return from_files(kept / "vocab.json", kept / "merges.txt")


def _texts(corpus: Corpus, count: int, seed: int) -> Iterable[str]:
    """Texts of documents, every kind alike, and the form of each; a prompt's fixed text must not outweigh what is
    written."""
    rng = random.Random(f"{seed}/vocabulary")
    kinds = sorted(corpus.shares)
    seen: Counter[str] = Counter()
    for number in range(count):
        for document in corpus.draw(rng, kinds[number % len(kinds)]):
            asked = prompt_text([(str(said.role), said.content) for said in document.messages])
            asked += document.begun
            for line in asked.split("\n"):
                seen[line] += 1
                if seen[line] <= _FIXED:
                    yield line
            yield STYLE.header
            yield document.answer


class Log:
    """Events: every one a line of `events.jsonl`, and for people on standard output."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "events.jsonl"

    def __call__(self, event: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"time": round(time.time(), 1), **event}) + "\n")
        print(" ".join(f"{key}={_short(value)}" for key, value in event.items()), flush=True)


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{key}:{_short(inner)}" for key, inner in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def run(
    folder: Path,
    making: Making,
    corpus: Corpus,
    *,
    steps: int | None,
    minutes: float | None = None,
    seed: int = 7,
    tell: Tell = lambda _event: None,
) -> Trainer:
    """Train (or go on training) in a folder, and publish model and GGUF there."""
    trainer = Trainer(folder, making, corpus, seed, tell)
    resumed = trainer.resume()
    tell(
        {
            "event": "started",
            "shape": asdict(making.shape(trainer.words)),
            "parameters": making.shape(trainer.words).parameters,
            "resumed_from": trainer.step if resumed else None,
            "hands": making.hands,
            "seed": seed,
        }
    )
    if trainer.steps is None or trainer.step < trainer.steps:
        trainer.train(steps, minutes)
    size = publish(folder, trainer.model.shape, trainer.model.tensors, trainer.words)
    tell({"event": "done", "step": trainer.step, "minutes": round(trainer.elapsed / 60, 1), "bytes": size})
    return trainer


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.embedded.train", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--to", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--steps", type=int, metavar="N")
    parser.add_argument("--minutes", type=float, metavar="M", help="instead of --steps (60)")
    parser.add_argument("--miniature", action="store_true", help="a very small model, in seconds: for tests")
    parser.add_argument("--seed", type=int, default=7)
    for name in ("layers", "width", "heads"):
        parser.add_argument(f"--{name}", type=int)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    other = {n: v for n in ("layers", "width", "heads") if (v := getattr(chosen, n)) is not None}
    making = replace(MINIATURE if chosen.miniature else FULL, **other)
    log = Log(chosen.to)
    run(chosen.to, making, shipped(), steps=chosen.steps, minutes=chosen.minutes, seed=chosen.seed, tell=log)
    return 0


if __name__ == "__main__":
    sys.exit(main())
