"""Changing a recipe's text without losing its comments and its layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .recipes import RunSettings, read_recipe


def with_models(text: str, generator: str | None, judge: str | None) -> str:
    """The recipe's text with these models (BACKEND:MODEL; None leaves its own). Raises RecipeError."""
    recipe = read_recipe(text, "the workspace's recipe")
    import tomlkit

    document = tomlkit.parse(text)
    for name, model, present in (("generator", generator, recipe.generator), ("judge", judge, recipe.judge)):
        if model is None or (present is not None and present.model == model):
            continue
        if present is None:
            document[name] = tomlkit.table()
        table = document[name]
        table["model"] = model
        # Another model may not be able to judge in the way that was chosen for this one.
        table.pop("kind", None)
    changed = tomlkit.dumps(document)
    read_recipe(changed, "the changed recipe")
    return changed


def with_run(text: str, settings: Mapping[str, Any]) -> str:
    """The recipe's text with what was asked of a run (`Run.settings` of the store). Raises RecipeError."""
    read_recipe(text, "the workspace's recipe")
    import tomlkit

    document = tomlkit.parse(text)
    document.pop("run", None)
    table = tomlkit.table()
    table.comment("what was asked of the run that this recipe was written after")
    for field in fields(RunSettings):
        if settings.get(field.name) not in (None, "", False):
            table[field.name] = settings[field.name]
    document["run"] = table
    changed = tomlkit.dumps(document)
    read_recipe(changed, "the changed recipe")
    return changed
