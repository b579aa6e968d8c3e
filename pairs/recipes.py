"""Recipes: how a dataset is made. Prompts, models and numbers, in a TOML file that the user can edit and share."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from pairsmith.backends.text import one_line

from .errors import RecipeError
from .templates import unknown_names

SHIPPED = ("english", "chinese", "nim-reference")
METHODS = ("topic-tree", "self-instruct")


@dataclass(frozen=True, slots=True)
class Stage:
    """One prompt with the numbers it is sent with. `existing` goes into the prompt where there is something to show."""

    prompt: str
    system: str = ""
    existing: str = ""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int = 1024
    count: int = 5
    """Topics: how many where the user does not say."""
    per_call: int = 20
    """Instructions: how many are asked for in one call."""
    shown: int = 40
    """Instructions: how many existing ones the model is shown."""
    constrain: bool = True
    """Lists: whether a backend that can is made to answer in JSON by a schema."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """When an instruction is refused as too similar (ROUGE-L F-measure, strictly above)."""

    threshold: float = 0.7
    parity: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What an instruction must be like. A word is a word token of any script (a Han character counts as one)."""

    min_words: int = 2
    max_words: int = 150
    max_characters: int = 4000


@dataclass(frozen=True, slots=True)
class Exhaustion:
    """A topic has run dry when its last `calls` lists together gave less than `yield_floor` of what was asked."""

    yield_floor: float = 0.1
    calls: int = 8


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model that the recipe suggests, as BACKEND:MODEL; for a judge also the kind of judging."""

    model: str
    kind: str = "auto"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A recipe as read; `text` is the file it was read from, byte for byte."""

    name: str
    language: str
    text: str
    topics: Stage
    instructions: Stage
    responses: Stage
    method: str = "topic-tree"
    generator: ModelChoice | None = None
    judge: ModelChoice | None = None
    similarity: Similarity = Similarity()
    rules: Rules = Rules()
    exhaustion: Exhaustion = Exhaustion()
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """BACKEND:MODEL -> US dollars for a million tokens (prompt, completion)."""


_NAMES = {
    "topics": {"domain", "count", "existing"},
    "instructions": {"domain", "topic", "count", "existing"},
    "responses": {"domain", "topic", "instruction", "input"},
}
_NEEDED = {"topics": {"domain", "count"}, "instructions": {"count"}, "responses": {"instruction"}}
_TABLES = {
    "topics",
    "instructions",
    "responses",
    "similarity",
    "rules",
    "exhaustion",
    "generator",
    "judge",
    "prices",
}


def load_recipe(source: str) -> Recipe:
    """A shipped recipe by name (`english`, `chinese`, `nim-reference`) or one in a file. Raises RecipeError."""
    if source in SHIPPED:
        text = (files("pairsmith.assets") / "recipes" / f"{source}.toml").read_text(encoding="utf-8")
        return read_recipe(text, f"the shipped recipe {source}")
    try:
        text = Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise RecipeError(
            f"cannot read the recipe {one_line(source)}: {one_line(str(error))}",
            f"Shipped recipes: {', '.join(SHIPPED)}",
        ) from None
    return read_recipe(text, one_line(source))


def read_recipe(text: str, source: str) -> Recipe:
    """A recipe from TOML text. Raises RecipeError naming the field that is wrong."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{source} is not TOML: {one_line(str(error))}") from None
    _known(data, _TABLES | {"name", "language", "method"}, source, "")
    for key in ("name", "language"):
        if not isinstance(data.get(key), str) or not data[key].strip():
            raise RecipeError(f"{source}: '{key}' must be a text")
    method = data.get("method", "topic-tree")
    if method not in METHODS:
        raise RecipeError(f"{source}: 'method' must be one of {', '.join(METHODS)}")
    stages = {name: _stage(data, name, source) for name in _NAMES}
    recipe = Recipe(
        name=data["name"],
        language=data["language"],
        text=text,
        method=method,
        generator=_choice(data, "generator", source),
        judge=_choice(data, "judge", source),
        similarity=_table(Similarity, data, "similarity", source),
        rules=_table(Rules, data, "rules", source),
        exhaustion=_table(Exhaustion, data, "exhaustion", source),
        prices=_prices(data.get("prices", {}), source),
        **stages,
    )
    _check_ranges(recipe, source)
    return recipe


def _known(table: Mapping[str, Any], names: set[str], source: str, where: str) -> None:
    if stray := sorted(set(table) - names):
        raise RecipeError(
            f"{source}: '{where}{one_line(stray[0])}' is not a field; fields are {', '.join(sorted(names))}"
        )


def _table(kind: type, data: Mapping[str, Any], name: str, source: str, **given: Any) -> Any:
    table = data.get(name, {})
    if not isinstance(table, dict):
        raise RecipeError(f"{source}: [{name}] must be a table")
    types = {f.name: f.type for f in fields(kind)}
    _known(table, set(types), source, f"{name}.")
    for key, value in table.items():
        wanted = str(types[key])
        fits = (
            ("str" in wanted and isinstance(value, str))
            or ("bool" in wanted and isinstance(value, bool))
            or ("float" in wanted and isinstance(value, (int, float)) and not isinstance(value, bool))
            or ("int" in wanted and isinstance(value, int) and not isinstance(value, bool))
        )
        if not fits:
            raise RecipeError(f"{source}: '{name}.{key}' must be of type {wanted.split(' ')[0]}")
    try:
        return kind(**{**given, **table})
    except TypeError:
        raise RecipeError(f"{source}: [{name}] lacks a field it cannot do without") from None


def _stage(data: Mapping[str, Any], name: str, source: str) -> Stage:
    if name not in data:
        raise RecipeError(f"{source}: [{name}] is missing")
    stage: Stage = _table(Stage, data, name, source)
    for part in (stage.prompt, stage.system):
        if stray := unknown_names(part, _NAMES[name]):
            raise RecipeError(f"{source}: '{name}.prompt' names {{{stray[0]}}}, which nothing fills in")
    if missing := sorted(n for n in _NEEDED[name] if f"{{{n}}}" not in stage.prompt + stage.system):
        raise RecipeError(f"{source}: '{name}.prompt' does not use {{{missing[0]}}}")
    if stray := unknown_names(stage.existing, {"items"}):
        raise RecipeError(f"{source}: '{name}.existing' names {{{stray[0]}}}, which nothing fills in")
    return stage


def _choice(data: Mapping[str, Any], name: str, source: str) -> ModelChoice | None:
    return _table(ModelChoice, data, name, source) if name in data else None


def _prices(table: Any, source: str) -> dict[str, tuple[float, float]]:
    prices = {}
    for model, pair in table.items() if isinstance(table, dict) else ():
        if not (
            isinstance(pair, list)
            and len(pair) == 2
            and all(isinstance(p, (int, float)) and p >= 0 for p in pair)
        ):
            raise RecipeError(
                f"{source}: the price of {one_line(model)} must be two numbers, dollars for a million tokens"
            )
        prices[model] = (float(pair[0]), float(pair[1]))
    return prices


def _check_ranges(recipe: Recipe, source: str) -> None:
    checks = [
        (0 < recipe.similarity.threshold <= 1, "similarity.threshold must be above 0 and at most 1"),
        (0 <= recipe.exhaustion.yield_floor < 1, "exhaustion.yield_floor must be from 0 to below 1"),
        (recipe.exhaustion.calls >= 1, "exhaustion.calls must be at least 1"),
        (
            recipe.rules.min_words <= recipe.rules.max_words,
            "rules.min_words must not be above rules.max_words",
        ),
        (recipe.rules.max_characters >= 1, "rules.max_characters must be at least 1"),
    ]
    for name in _NAMES:
        stage: Stage = getattr(recipe, name)
        checks += [
            (stage.max_tokens >= 1, f"{name}.max_tokens must be at least 1"),
            (
                stage.temperature is None or 0 <= stage.temperature <= 2,
                f"{name}.temperature must be from 0 to 2",
            ),
            (stage.top_p is None or 0 < stage.top_p <= 1, f"{name}.top_p must be above 0 and at most 1"),
            (
                1 <= stage.per_call <= 1000 and 1 <= stage.count <= 1000,
                f"{name}: counts must be from 1 to 1000",
            ),
            (stage.shown >= 0, f"{name}.shown must not be negative"),
        ]
    for ok, message in checks:
        if not ok:
            raise RecipeError(f"{source}: {message}")
