"""What the tests of training and evaluation share: a workspace with a task that a tiny model learns in seconds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pairsmith.backends.registry import Settings
from pairsmith.pairs.control import Control
from pairsmith.pairs.events import Ended, Event
from pairsmith.pairs.store.pair_rows import NewPair, add_pair
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.pairs.train_job import TrainJob, TrainOptions
from pairsmith.pairs.training_settings import TrainSettings

from .small_models import COLOURS
from .stores import new_workspace

_SYLLABLES = [c + v for c in "bdklmnr" for v in "aeiou"]
SHAPE = {"layers": 2, "width": 32, "heads": 2, "context": 128}


def colour_texts(count: int, seed: int = 1) -> list[tuple[str, str]]:
    """(instruction, response): name the one colour among made-up words. No two instructions are alike."""
    draw = random.Random(seed)
    texts = []
    for _ in range(count):
        words = ["".join(draw.choice(_SYLLABLES) for _ in range(2)) for _ in range(3)]
        colour = draw.choice(COLOURS)
        words.insert(draw.randrange(4), colour)
        texts.append((" ".join(words), colour))
    return texts


def colour_workspace(folder: Path, count: int = 120, name: str = "w.pairsmith", **settings: Any) -> Workspace:
    """A workspace that holds the task."""
    workspace = new_workspace(folder, name, **settings)
    pairs = [NewPair(asked, said, origin="imported") for asked, said in colour_texts(count)]
    workspace.write(lambda conn: [add_pair(conn, pair) for pair in pairs])
    return workspace


def backends_of(home: Path, **fields: Any) -> Settings:
    """Settings whose runs lie under this folder."""
    return Settings(home=home, **fields)


def tiny(**config: Any) -> TrainSettings:
    """A run of seconds; `verdict` and `where` are taken out of the fields of config.json."""
    others = {name: config.pop(name) for name in ("verdict", "where", "base") if name in config}
    fields = {"shape": SHAPE, "epochs": 1, "sample_tokens": 5, "threads": 1, **config}
    return TrainSettings(**{"base": "scratch:tiny", **others}, config=fields)


def learning(**config: Any) -> TrainSettings:
    """A run after which the model knows the task."""
    return tiny(
        epochs=32,
        batch_size=8,
        learning_rate=0.006,
        schedule="cosine",
        warmup_steps=50,
        prompt_style="phi3",
        mask_instructions=True,
        validate_every=0,
        **config,
    )


async def train(
    workspace: Workspace,
    home: Path,
    settings: TrainSettings | None,
    options: TrainOptions | None = None,
    control: Control | None = None,
    **fields: Any,
) -> list[Event]:
    """All events of one start."""
    job = TrainJob(workspace, backends_of(home, **fields), settings, options, control)
    return [event async for event in job.events()]


def ended(events: Sequence[Event]) -> Ended:
    """The last event."""
    assert isinstance(events[-1], Ended)
    return events[-1]
