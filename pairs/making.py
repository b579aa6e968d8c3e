"""Making a workspace from a recipe: which of the models that the recipe names may be used in it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pairsmith.backends.local_only import is_local
from pairsmith.backends.registry import OPENAI_URL, Settings, parse_spec
from pairsmith.backends.text import one_line

from .recipes import ModelChoice, Recipe
from .run_plan import KEY, RunPlan
from .store.workspace import Workspace, create_workspace


@dataclass(frozen=True, slots=True)
class Made:
    """A new workspace, the models it took from the recipe by kind, and what is to be said about the others."""

    workspace: Workspace
    chosen: dict[str, str]
    refused: list[str]


def make_workspace(path: Path, domain: str, recipe: Recipe, settings: Settings, *, local_only: bool) -> Made:
    """Create the file and open it (blocking). Raises WorkspaceExists, UsageError, UnknownBackend."""
    chosen, refused = _choices(recipe, settings, local_only)
    workspace = create_workspace(
        path,
        domain=domain,
        recipe_toml=recipe.text,
        language=recipe.language,
        local_only=local_only,
        meta=chosen | _plan(recipe),
    )
    return Made(workspace, chosen, refused)


def _plan(recipe: Recipe) -> dict[str, str]:
    """What the recipe's run was asked for, as what the next run here is offered."""
    run = recipe.run
    if not run.pairs:
        return {}
    plan = RunPlan(
        run.pairs,
        run.where or None,
        method=run.method if run.method != recipe.method and run.method else None,
        examples=run.examples or None,
        refine=run.refine,
    )
    return {KEY: json.dumps(asdict(plan))}


def _choices(recipe: Recipe, settings: Settings, local_only: bool) -> tuple[dict[str, str], list[str]]:
    """The models that the recipe names and that are allowed here, and what to say of the others."""
    chosen: dict[str, str] = {}
    refused: list[str] = []
    models: dict[str, ModelChoice | None] = {"generator": recipe.generator, "judge": recipe.judge}
    for kind, choice in models.items():
        if choice is None:
            continue
        spec = parse_spec(choice.model)
        if local_only and not _is_allowed(spec.backend, settings):
            refused.append(
                f"the recipe's {kind} {one_line(str(spec))} is left out: this workspace is local-only"
            )
        else:
            chosen[kind] = str(spec)
    return chosen, refused


def _is_allowed(backend: str, settings: Settings) -> bool:
    if backend == "nim":
        return is_local(settings.nim_url)
    return backend != "openai" or is_local(settings.base_url or OPENAI_URL)
