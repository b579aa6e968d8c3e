"""From trained weights to the files that ship: a model folder (safetensors) and the GGUF in Q8_0."""

from __future__ import annotations

from pathlib import Path

from pairsmith.training import export_gguf, gguf
from pairsmith.training.model import GPT2
from pairsmith.training.vocabulary import Vocabulary

from .form import STYLE

DOMAIN = "Git commands in plain language"
NAME = f"Pairsmith demonstration model ({DOMAIN})"
FILE = "embedded.gguf"
LARGEST = 12_000_000
"""Bytes that the file may have."""


def publish(folder: Path, model: GPT2, words: Vocabulary) -> int:
    """Write `embedded.gguf` into a folder; its size in bytes. Raises TrainingError where the disk refuses."""
    target = folder / FILE
    tensors = {name: tensor.detach() for name, tensor in model.tensors.items()}
    more = {
        "general.description": "A demonstration, trained from scratch by Pairsmith on text written for it.",
        "pairsmith.domain": DOMAIN,
    }
    export_gguf.write(target, model.shape, tensors, words, gguf.Q8_0, STYLE.name, NAME, more=more)
    return target.stat().st_size
