"""What the next generate run of a workspace shall be like, kept in the workspace between starts of the application."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .generation_plan import GenerateSettings
from .limits import Limits
from .recipes import read_recipe
from .store.driver import sqlite3
from .store.meta import get_meta, set_meta

KEY = "run_plan"
DEFAULT_PAIRS = 100


@dataclass(frozen=True, slots=True)
class RunPlan:
    """`where`: only pairs that the judge lets pass count; limits are those of one start."""

    pairs: int = DEFAULT_PAIRS
    where: str | None = None
    limits: Limits = field(default_factory=Limits)

    def settings(self, method: str) -> GenerateSettings:
        """What makes it this run: an unfinished one of the same goes on."""
        return GenerateSettings(self.pairs, method, self.where)


def read_plan(conn: sqlite3.Connection) -> RunPlan:
    """The kept plan; the default one where there is none, or one that cannot be read."""
    try:
        data: Any = json.loads(get_meta(conn, KEY) or "{}")
        limits = Limits(**{name: _number(value) for name, value in data.get("limits", {}).items()})
        plan = RunPlan(int(data.get("pairs", DEFAULT_PAIRS)), data.get("where") or None, limits)
    except (ValueError, TypeError, AttributeError):
        return RunPlan()
    return plan if plan.pairs > 0 else replace(plan, pairs=DEFAULT_PAIRS)


def write_plan(conn: sqlite3.Connection, plan: RunPlan) -> None:
    """Keep a plan."""
    set_meta(conn, KEY, json.dumps(asdict(plan)))


def read_method(conn: sqlite3.Connection) -> str:
    """How the recipe finds instructions. Raises RecipeError."""
    return read_recipe(get_meta(conn, "recipe") or "", "the workspace's recipe").method


def _number(value: Any) -> Any:
    if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool)):
        raise ValueError("a limit is a number")
    return value
