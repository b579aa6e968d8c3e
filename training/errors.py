"""The one exception of this room: what failed, where, and what to do about it."""

from __future__ import annotations

from typing import Literal

Kind = Literal[
    "config",
    "data",
    "weights",
    "pickle",
    "vocabulary",
    "offline",
    "network",
    "oom",
    "not_finite",
    "disk_full",
    "checkpoint",
    "device",
    "export",
    "internal",
]


class TrainingError(Exception):
    """A failure that the user can act on. `advice` may hold several lines; the message is one line."""

    def __init__(self, kind: Kind, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.kind: Kind = kind
        self.message = message
        self.advice = advice
