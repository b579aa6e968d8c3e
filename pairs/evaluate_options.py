"""What an evaluation is asked to measure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from pairsmith.backends.text import one_line

from .errors import UsageError
from .limits import Limits


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """What to measure. `run`: number or uid of a training run (None: the newest that is done).

    `judge`: BACKEND:MODEL that must judge; `default_judge`: the one of workspace or user, left out with a notice where
    it cannot grade. `against`: BACKEND:MODEL, another training run, or "base". `explain`: the prompt with an
    explanation instead of the integer alone.
    """

    run: str | None = None
    judge: str | None = None
    default_judge: str | None = None
    explain: bool = False
    against: str | None = None
    choices: Path | None = None
    base: bool = True
    max_new_tokens: int = 256
    device: str = "auto"
    limits: Limits = field(default_factory=Limits)
    patience_s: float = 300.0


def fingerprint(path: Path | None) -> str | None:
    """The hash of a file's bytes. Raises UsageError where it cannot be read."""
    if path is None:
        return None
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        why = one_line(error.strerror or "it cannot be read")
        raise UsageError(f"{one_line(str(path))}: {why}", "Name a CSV file") from error
