"""From trained weights to the files that ship: a model folder (safetensors) and the GGUF in Q8_0.

    python -m tools.embedded.publish FOLDER [--to FOLDER]

publishes the newest checkpoint of a run, which may be going on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pairsmith.training import checkpoints, export_gguf, export_safetensors, gguf
from pairsmith.training.model import sizes
from pairsmith.training.shapes import Shape
from pairsmith.training.vocabulary import Vocabulary, from_files

from .form import STYLE
from .making import Making

DOMAIN = "Git commands in plain language"
NAME = f"Pairsmith demonstration model ({DOMAIN})"
FILE = "embedded.gguf"
_MIN_P = 0.4
"""A very small model's unlikely tokens are mostly mistakes: the more of them are left out, the fewer lines of
its lists lose their thread, and the more repeat each other: from here on nothing more is gained."""
LARGEST = 12_000_000
"""Bytes that the file may have."""


def publish(folder: Path, shape: Shape, tensors: Mapping[str, torch.Tensor], words: Vocabulary) -> int:
    """Write `model/` and `embedded.gguf` into a folder; the GGUF's size in bytes.

    Raises TrainingError where the disk refuses.
    """
    target = folder / FILE
    # A checkpoint has them in another order, and the file's bytes must not depend on that.
    kept = {name: tensors[name].detach() for name, _ in sizes(shape)}
    notes: dict[str, Any] = {"prompt_style": STYLE.name, "base": "scratch", "name": NAME, "domain": DOMAIN}
    export_safetensors.write(folder / "model", shape, kept, words, notes)
    more: dict[str, str | float] = {
        "general.description": "A demonstration, trained from scratch by Pairsmith on text written for it.",
        "pairsmith.domain": DOMAIN,
        "general.sampling.min_p": _MIN_P,
    }
    export_gguf.write(target, shape, kept, words, gguf.Q8_0, STYLE.name, NAME, more=more)
    return target.stat().st_size


def publish_newest(run: Path, to: Path) -> tuple[int, int]:
    """Publish the newest checkpoint of a run; its step, and the GGUF's bytes. Raises FileNotFoundError without one."""
    saved = checkpoints.newest(run / "checkpoints")
    if saved is None:
        raise FileNotFoundError(f"{run}: no checkpoint there yet")
    words = from_files(run / "vocabulary" / "vocab.json", run / "vocabulary" / "merges.txt")
    making = Making(**saved.state["identity"]["making"])
    to.mkdir(parents=True, exist_ok=True)
    return saved.step, publish(to, making.shape(words), saved.tensors, words)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.embedded.publish", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("folder", type=Path)
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="where else than in the run's own folder")
    chosen = parser.parse_args(arguments)
    try:
        step, size = publish_newest(chosen.folder, chosen.to or chosen.folder)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"step {step}: {size} bytes in {(chosen.to or chosen.folder) / FILE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
