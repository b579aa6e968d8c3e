"""What the next generate run of a workspace shall be like, kept in the workspace between starts of the application."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from .examples import parse_examples
from .generation_plan import GenerateSettings
from .limits import Limits
from .recipes import METHODS
from .store.driver import sqlite3
from .store.meta import get_meta, set_meta
from .workspace_recipe import recipe_of

KEY = "run_plan"
DEFAULT_PAIRS = 100


@dataclass(frozen=True, slots=True)
class RunPlan:
    """`where`: only pairs that the judge lets pass count; limits are those of one start.

    `method`, `examples` (Self-Instruct: which tasks a prompt shows): None is what the recipe says. `refine`: an
    instruction that breaks a rule which can be mended is rewritten once.
    """

    pairs: int = DEFAULT_PAIRS
    where: str | None = None
    limits: Limits = field(default_factory=Limits)
    method: str | None = None
    examples: str | None = None
    refine: bool = False

    def settings(self, method: str) -> GenerateSettings:
        """What makes it this run: an unfinished one of the same goes on. `method`: the recipe's."""
        chosen = self.method or method
        examples = self.examples if chosen == "self-instruct" else None
        return GenerateSettings(self.pairs, chosen, self.where, None, examples, self.refine)


def read_plan(conn: sqlite3.Connection) -> RunPlan:
    """The kept plan; the default one where there is none, or one that cannot be read."""
    try:
        data: Any = json.loads(get_meta(conn, KEY) or "{}")
        limits = Limits(**{name: _number(value) for name, value in data.get("limits", {}).items()})
        plan = RunPlan(int(data.get("pairs", DEFAULT_PAIRS)), data.get("where") or None, limits)
        method, examples = data.get("method"), data.get("examples")
    except (ValueError, TypeError, AttributeError):
        return RunPlan()
    if plan.pairs <= 0:
        plan = replace(plan, pairs=DEFAULT_PAIRS)
    return replace(
        plan,
        method=method if method in METHODS else None,
        examples=examples if isinstance(examples, str) and parse_examples(examples) is not None else None,
        refine=data.get("refine") is True,
    )


def write_plan(conn: sqlite3.Connection, plan: RunPlan) -> None:
    """Keep a plan."""
    set_meta(conn, KEY, json.dumps(asdict(plan)))


def read_method(conn: sqlite3.Connection) -> str:
    """How the recipe finds instructions. Raises RecipeError."""
    return recipe_of(conn).method


def _number(value: Any) -> Any:
    if value is not None and (not isinstance(value, (int, float)) or isinstance(value, bool)):
        raise ValueError("a limit is a number")
    return value
