"""Changing a recipe's text without losing its comments and its layout."""

from __future__ import annotations

from .recipes import read_recipe


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
