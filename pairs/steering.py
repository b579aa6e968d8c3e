"""Words in a list prompt that lead away from what there is too much of already, for every method."""

from __future__ import annotations

import random

from .diversity import DiversityMeter
from .recipes import Diversity
from .templates import fill


def steering(diversity: Diversity, meter: DiversityMeter, rng: random.Random) -> str:
    """What the recipe says about over-used and rare verbs, openings and objects; empty where there is nothing to say,
    or where the recipe does not want it."""
    if not diversity.steer:
        return ""
    parts = []
    if diversity.avoid and (overused := meter.overused()):
        parts.append(fill(diversity.avoid, items="\n".join(f'- "{word}"' for word in overused)))
        if diversity.rare and (rare := meter.rare(rng)):
            parts.append(fill(diversity.rare, items=", ".join(rare)))
    return "".join(f"\n\n{part}" for part in parts)
