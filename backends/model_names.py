"""What to offer when a model's name is not known or the model was retired."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from .protocol import ModelInfo
from .reward import is_reward_model
from .text import one_line

RUBRIC_ADVICE = (
    "Any chat model scores the same five attributes with the rubric judge (--kind expected or json)"
)


def closest(name: str, known: Sequence[str], most: int = 4) -> list[str]:
    """The known names most like a wrong one, best first."""
    words = {w for w in _words(name) if len(w) > 1}

    def likeness(other: str) -> float:
        shared = len(words & set(_words(other)))
        return shared + difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()

    ranked = sorted((n for n in known if n != name), key=likeness, reverse=True)
    return ranked if len(ranked) <= most else ranked[:most]


def offered_instead(name: str, listed: Sequence[ModelInfo]) -> str:
    """One sentence on what the server lists that comes nearest; "" where it lists nothing."""
    reward = is_reward_model(name)
    kind = "reward" if reward else "chat"
    ids = [one_line(m.id, 80) for m in listed if m.kind == kind]
    near = closest(name, ids)
    parts = []
    if near:
        parts.append(f"The server lists: {', '.join(near)}")
    elif listed and not reward:
        parts.append("The server lists no other chat model")
    if reward:
        parts.append(RUBRIC_ADVICE)
    return ". ".join(parts)


def _words(name: str) -> list[str]:
    return [w for w in "".join(c if c.isalnum() or c == "." else " " for c in name.lower()).split() if w]
