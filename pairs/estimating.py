"""What an estimate of a workspace's next run goes by: its own calls so far, prices, and the servers' known limits."""

from __future__ import annotations

from dataclasses import replace

from pairsmith.backends.errors import BackendError
from pairsmith.backends.pacing import PacerState, state_of
from pairsmith.backends.registry import open_backend, parse_spec

from .estimate import ENOUGH, Average, Basis, Estimate, estimate
from .generation_plan import deal
from .recipes import Recipe
from .store.driver import sqlite3
from .store.live import Spent, spending, survival
from .store.workspace import Workspace
from .surroundings import Surroundings, present_generator, present_judge
from .topic_tree import domain_leaves
from .workspace_recipe import recipe_of

NIM_REQUESTS_PER_MINUTE = 40.0
"""What NVIDIA's hosted API grants a free account; what is learned from its answers replaces it."""


def estimate_run(
    workspace: Workspace,
    surroundings: Surroundings,
    pairs: int,
    *,
    judged: bool = True,
    method: str | None = None,
) -> Estimate:
    """The next run of so many pairs (blocking; contacts nobody). Raises RecipeError, UnknownBackend.

    `judged`: whether pairs are scored where a judge is named. `method`: not the recipe's.
    """
    generator = present_generator(workspace, surroundings)
    judge = present_judge(workspace, surroundings) if judged else None

    def look(conn: sqlite3.Connection) -> tuple[Recipe, list[int], Basis]:
        recipe = recipe_of(conn)
        leaves = domain_leaves(conn)
        topics = list(deal(pairs, leaves).values()) if leaves else []
        return recipe, topics, _basis(conn, recipe, surroundings, generator, judge)

    recipe, topics, basis = workspace.read(look)
    if method is not None:
        recipe = replace(recipe, method=method)
    return estimate(pairs, topics, recipe, judge is not None, basis)


def _basis(
    conn: sqlite3.Connection, recipe: Recipe, surroundings: Surroundings, generator: str, judge: str | None
) -> Basis:
    averages = {
        spent.purpose: _average(spent) for spent in spending(conn, [generator]) if spent.useful >= ENOUGH
    }
    averages.pop("judge", None)
    if judge is not None:
        for spent in spending(conn, [judge]):
            if spent.purpose == "judge" and spent.useful >= ENOUGH:
                averages["judge"] = _average(spent)
    sifted, survived = survival(conn)
    state, remote = _state(generator, surroundings)
    limit = float(state.limit) if state is not None and state.limit else None
    if limit is None and remote and generator.startswith("nim:"):
        limit = NIM_REQUESTS_PER_MINUTE
    return Basis(
        averages,
        survived / sifted if sifted >= 20 else None,
        _price(generator, recipe, surroundings),
        _price(judge, recipe, surroundings) if judge else None,
        limit,
        float(state.concurrency) if state is not None else 4.0 if remote else 1.0,
    )


def _average(spent: Spent) -> Average:
    return Average(
        spent.tokens_in / spent.useful,
        spent.tokens_out / spent.useful,
        spent.seconds / spent.useful,
        spent.useful / spent.made,
    )


def _price(spec: str, recipe: Recipe, surroundings: Surroundings) -> tuple[float, float] | None:
    if spec in recipe.prices:
        return recipe.prices[spec]
    return None if _state(spec, surroundings)[1] else (0.0, 0.0)


def _state(spec: str, surroundings: Surroundings) -> tuple[PacerState | None, bool]:
    """The pacer of a backend, if it has one by now, and whether it is remote. Opens no connection."""
    parsed = parse_spec(spec)
    if parsed.backend == "llama-cpp":
        return None, False
    try:
        backend = open_backend(parsed, surroundings.settings)
    except BackendError:
        return None, False
    return state_of(backend.pacing_key), backend.remote
