"""The recipe that a workspace works by."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import RecipeError
from .recipes import Recipe, read_recipe
from .store.driver import sqlite3
from .store.meta import get_meta


def recipe_of(conn: sqlite3.Connection) -> Recipe:
    """The workspace's recipe. Raises RecipeError where it has none, or none that can be read."""
    text = get_meta(conn, "recipe")
    if not text:
        raise RecipeError(
            "the workspace has no recipe", "Make it with: pairsmith new WORKSPACE --domain TEXT"
        )
    return read_recipe(text, "the workspace's recipe")


def prices_of(conn: sqlite3.Connection) -> Mapping[str, tuple[float, float]]:
    """Dollars for a million prompt and completion tokens by BACKEND:MODEL; none where there is no recipe."""
    return recipe_of(conn).prices if get_meta(conn, "recipe") else {}
