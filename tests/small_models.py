"""Small GPT-2 shapes, random pairs and run folders for the training tests: made here, nothing downloaded."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch

from pairsmith.training.data import IGNORED, Example
from pairsmith.training.model import GPT2, random_model
from pairsmith.training.shapes import Shape

# small products: a second thread only waits, the longer the busier the machine is
torch.set_num_threads(1)

COLOURS = ["red", "blue", "green", "pink", "gold", "grey", "teal", "lime"]


def lively_model(shape: Shape, seed: int = 1) -> GPT2:
    """Random weights with every tensor disturbed, biases and norms too, so that a mix-up shows."""
    model = random_model(shape, seed)
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.tensors.values():
        tensor.add_(torch.randn(tensor.shape, generator=generator) * 0.05)
    return model


def random_examples(count: int, vocabulary: int, shared: int, masked: bool, seed: int = 0) -> list[Example]:
    """Examples of differing length whose first `shared` tokens agree; end-of-text is the last id."""
    draw = random.Random(seed)
    first = [draw.randrange(vocabulary - 1) for _ in range(shared)]
    examples = []
    for _ in range(count):
        ids = first + [draw.randrange(vocabulary - 1) for _ in range(draw.randrange(1, 30))]
        targets = [*ids[1:], vocabulary - 1]
        hidden = draw.randrange(0, len(ids)) if masked else 0
        targets[:hidden] = [IGNORED] * hidden
        examples.append(Example(tuple(ids), tuple(targets)))
    return examples


def colour_pairs(count: int, seed: int) -> list[dict[str, Any]]:
    """A small task: name the last of three colours."""
    draw = random.Random(seed)
    pairs = []
    for number in range(count):
        words = [draw.choice(COLOURS) for _ in range(3)]
        pairs.append(
            {"id": number, "instruction": f"Last of: {' '.join(words)}", "input": "", "output": words[-1]}
        )
    return pairs


def run_folder(folder: Path, train: int = 40, validation: int = 8, test: int = 8, **settings: Any) -> Path:
    """A run's folder with the colour task, as `pairs/` would write it; random tiny weights unless told otherwise."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", train, 1), ("validation", validation, 2), ("test", test, 3)):
        lines = [json.dumps(pair) + "\n" for pair in colour_pairs(count, seed)]
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    shape = {"layers": 2, "width": 32, "heads": 2, "context": 128}
    values = {"version": 1, "base": "scratch:tiny", "shape": shape, "learning_rate": 0.003, **settings}
    if not values["base"].startswith("scratch:"):
        del values["shape"]
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder
