"""Recipes: how a dataset is made. Prompts, models and numbers, in a TOML file that the user can edit and share."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pairsmith.backends.text import one_line

from .errors import RecipeError
from .examples import parse_examples
from .expressions import ExpressionError, parse_expression
from .instruction_rules import SCRIPTS
from .recipe_tables import (
    METHODS,
    Diversity,
    Exhaustion,
    ModelChoice,
    Recipe,
    Rules,
    RunSettings,
    SelfInstruct,
    Similarity,
    Stage,
)
from .templates import unknown_names

__all__ = [
    "METHODS",
    "SHIPPED",
    "Diversity",
    "Exhaustion",
    "ModelChoice",
    "Recipe",
    "Rules",
    "RunSettings",
    "SelfInstruct",
    "Similarity",
    "Stage",
    "load_recipe",
    "read_recipe",
]

SHIPPED = (
    "english",
    "chinese",
    "nim-reference",
    "self-instruct",
    "self-instruct-code",
    "self-instruct-chinese",
)

_NAMES = {
    "topics": {"domain", "count", "existing"},
    "instructions": {"domain", "topic", "count", "existing"},
    "responses": {"domain", "topic", "instruction", "input"},
    "tasks": {"domain", "language", "count", "examples", "existing"},
    "classification": {"instruction"},
    "instances": {"domain", "language", "instruction", "count"},
    "label_instances": {"domain", "language", "instruction", "count"},
    "rewrite": {"domain", "language", "instruction", "problem"},
}
_NEEDED = {
    "topics": {"domain", "count"},
    "instructions": {"count"},
    "responses": {"instruction"},
    "tasks": {"count", "examples"},
    "classification": {"instruction"},
    "instances": {"instruction"},
    "label_instances": {"instruction"},
    "rewrite": {"instruction"},
}
_OWN = {
    "topic-tree": ("topics", "instructions", "responses"),
    "self-instruct": ("tasks", "instances"),
}
"""Stages without which a recipe for the method is none."""
_OF_POOL = ("tasks", "classification", "instances", "label_instances", "rewrite")
_TABLES = {
    *_NAMES,
    "similarity",
    "rules",
    "self_instruct",
    "diversity",
    "exhaustion",
    "generator",
    "judge",
    "run",
    "prices",
}


def load_recipe(source: str) -> Recipe:
    """A shipped recipe by name (`english`, `self-instruct`, ...: `SHIPPED`) or one in a file. Raises RecipeError."""
    if source in SHIPPED:
        return read_recipe(_shipped_text(source), f"the shipped recipe {source}")
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
    stages = {name: _stage(_having(data, name, method), name, source) for name in _NAMES}
    rules: Rules = _table(Rules, data, "rules", source)
    recipe = Recipe(
        name=data["name"],
        language=data["language"],
        text=text,
        method=method,
        generator=_choice(data, "generator", source),
        judge=_choice(data, "judge", source),
        similarity=_table(Similarity, data, "similarity", source),
        rules=rules,
        pool_rules=rules if _is_for_pools(data) else _shipped_rules(data["language"]),
        self_instruct=_table(SelfInstruct, data, "self_instruct", source),
        diversity=_table(Diversity, data, "diversity", source),
        exhaustion=_table(Exhaustion, data, "exhaustion", source),
        run=_table(RunSettings, data, "run", source),
        prices=_prices(data.get("prices", {}), source),
        **stages,
    )
    _check_ranges(recipe, source)
    return recipe


@cache
def _shipped_text(name: str) -> str:
    return (files("pairsmith.assets") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")


@cache
def _shipped_data(name: str) -> Mapping[str, Any]:
    return tomllib.loads(_shipped_text(name))


def _shipped_for(language: str, stage: str) -> Mapping[str, Any]:
    chinese = language.strip().casefold() in ("chinese", "中文", "zh")
    if stage in _OF_POOL:
        return _shipped_data("self-instruct-chinese" if chinese else "self-instruct")
    return _shipped_data("chinese" if chinese else "english")


def _having(data: Mapping[str, Any], stage: str, method: str) -> Mapping[str, Any]:
    """The recipe itself where it has this stage or ought to have it, else the shipped one in its language."""
    return data if stage in data or stage in _OWN[method] else _shipped_for(data["language"], stage)


def _is_for_pools(data: Mapping[str, Any]) -> bool:
    return data.get("method") == "self-instruct" or "self_instruct" in data or "tasks" in data


def _shipped_rules(language: str) -> Rules:
    """The paper's filters, but for its look at the first letter where the language is not English."""
    data = _shipped_for(language, "tasks")
    rules: Rules = _table(Rules, data, "rules", "the shipped recipe")
    if language.strip().casefold() in (str(data["language"]).casefold(), "english"):
        return rules
    return replace(rules, non_english_start=False, script="") if data["language"] == "English" else rules


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
            (wanted.startswith("tuple") and _is_texts(value))
            or (wanted.startswith("str") and isinstance(value, str))
            or ("bool" in wanted and isinstance(value, bool))
            or ("float" in wanted and isinstance(value, (int, float)) and not isinstance(value, bool))
            or ("int" in wanted and isinstance(value, int) and not isinstance(value, bool))
        )
        if not fits:
            said = "a list of texts" if wanted.startswith("tuple") else f"of type {wanted.split(' ')[0]}"
            raise RecipeError(f"{source}: '{name}.{key}' must be {said}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in table.items()}
    try:
        return kind(**{**given, **values})
    except TypeError:
        raise RecipeError(f"{source}: [{name}] lacks a field it cannot do without") from None


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and item.strip() for item in value)


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
    rules, pool, diversity = recipe.rules, recipe.self_instruct, recipe.diversity
    first = ("classification", "always", "never")
    checks = [
        (0 < recipe.similarity.threshold <= 1, "similarity.threshold must be above 0 and at most 1"),
        (0 <= recipe.exhaustion.yield_floor < 1, "exhaustion.yield_floor must be from 0 to below 1"),
        (recipe.exhaustion.calls >= 1, "exhaustion.calls must be at least 1"),
        (
            not rules.max_words or rules.min_words <= rules.max_words,
            "rules.min_words must not be above rules.max_words",
        ),
        (
            min(rules.min_words, rules.max_words, rules.max_characters) >= 0,
            "rules: numbers must not be negative",
        ),
        (
            not rules.script or rules.script in SCRIPTS,
            f"rules.script must be one of {', '.join(SCRIPTS)}, or empty",
        ),
        (parse_examples(pool.examples) is not None, "self_instruct.examples must be paper, alpaca, mixed or like 6+2"),
        (pool.output_first in first, f"self_instruct.output_first must be one of {', '.join(first)}"),
        (0 < len(pool.topic.strip()) <= 200, "self_instruct.topic must be a name"),
        (bool(pool.raw_header.strip()), "self_instruct.raw_header must be a text"),
        (recipe.run.pairs >= 0 and recipe.run.seed >= -1, "run: numbers must not be negative"),
        (recipe.run.method in ("", *METHODS), f"run.method must be one of {', '.join(METHODS)}"),
        (
            not recipe.run.examples or parse_examples(recipe.run.examples) is not None,
            "run.examples must be paper, alpaca, mixed or like 6+2",
        ),
        (_is_expression(recipe.run.where), "run.where must be an expression like 'helpfulness >= 3'"),
    ]  # fmt: skip
    for key in ("avoid", "rare"):
        stray = unknown_names(getattr(diversity, key), {"items"})
        checks.append(
            (not stray, f"'diversity.{key}' names {{{''.join(stray[:1])}}}, which nothing fills in")
        )
    for name in _NAMES:
        checks += _stage_checks(name, getattr(recipe, name))
    for ok, message in checks:
        if not ok:
            raise RecipeError(f"{source}: {message}")


def _is_expression(text: str) -> bool:
    try:
        return not text or parse_expression(text) is not None
    except ExpressionError:
        return False


def _stage_checks(name: str, stage: Stage) -> list[tuple[bool, str]]:
    return [
        (stage.max_tokens >= 1, f"{name}.max_tokens must be at least 1"),
        (
            stage.temperature is None or 0 <= stage.temperature <= 2,
            f"{name}.temperature must be from 0 to 2",
        ),
        (stage.top_p is None or 0 < stage.top_p <= 1, f"{name}.top_p must be above 0 and at most 1"),
        (1 <= stage.per_call <= 1000 and 1 <= stage.count <= 1000, f"{name}: counts must be from 1 to 1000"),
        (stage.shown >= 0, f"{name}.shown must not be negative"),
    ]
