"""Rubrics: which attributes a judge grades, how they are put to it. Files that the user can edit."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from pairsmith.backends.text import one_line

from .errors import RecipeError
from .templates import fill, unknown_names


@dataclass(frozen=True, slots=True)
class Attribute:
    """One thing that is graded, with what its lowest and highest grade mean."""

    name: str
    definition: str
    low: str
    high: str


@dataclass(frozen=True, slots=True)
class Rubric:
    """Attributes, the digits they are graded with (in rising order), and the prompts of the two rubric judges."""

    name: str
    attributes: tuple[Attribute, ...]
    digits: tuple[str, ...]
    system: str
    json_system: str
    pair: str
    question: str

    @property
    def key(self) -> str:
        """Name and content hash: scores under different rubrics are never mixed."""
        return f"{self.name}@{hashlib.sha256(repr(self).encode()).hexdigest()[:12]}"

    def described(self) -> str:
        """One line for each attribute, for the {attributes} of the system prompt."""
        return "\n".join(
            f"- {a.name}: {a.definition}. {self.digits[0]} = {a.low}; {self.digits[-1]} = {a.high}."
            for a in self.attributes
        )

    def pair_text(self, instruction: str, input_text: str, response: str) -> str:
        """The pair as the judge sees it; an input follows its instruction after an empty line."""
        whole = f"{instruction}\n\n{input_text}" if input_text else instruction
        return fill(self.pair, instruction=whole, response=response) + "\n"


def read_rubric(text: str, source: str) -> Rubric:
    """Rubric from TOML. Raises RecipeError, one line, naming file and field."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{source} is not TOML: {one_line(str(error))}") from None
    for field in ("name", "system", "json_system", "pair", "question"):
        if not isinstance(data.get(field), str):
            raise RecipeError(f"{source}: '{field}' must be a text")
    digits = data.get("digits")
    if not (
        isinstance(digits, list)
        and len(digits) >= 2
        and all(isinstance(d, str) and d.isdigit() for d in digits)
    ):
        raise RecipeError(f"{source}: 'digits' must list at least two digits as texts, lowest first")
    raw = data.get("attribute")
    if not (isinstance(raw, list) and raw):
        raise RecipeError(f"{source}: there must be at least one [[attribute]]")
    attributes = tuple(_attribute(entry, source) for entry in raw)
    names = [attribute.name for attribute in attributes]
    if len(set(names)) != len(names):
        raise RecipeError(f"{source}: two attributes have the same name")
    for field, known in (("system", {"attributes"}), ("json_system", {"attributes"}), ("question", {"attribute"}),
                         ("pair", {"instruction", "response"})):  # fmt: skip
        if stray := unknown_names(data[field], known):
            raise RecipeError(f"{source}: '{field}' names {{{stray[0]}}}, which nothing fills in")
    return Rubric(
        data["name"],
        attributes,
        tuple(digits),
        data["system"],
        data["json_system"],
        data["pair"],
        data["question"],
    )


def _attribute(entry: Mapping[str, Any], source: str) -> Attribute:
    values = []
    for field in ("name", "definition", "low", "high"):
        value = entry.get(field) if isinstance(entry, dict) else None
        if not isinstance(value, str) or not value.strip():
            raise RecipeError(f"{source}: every [[attribute]] needs '{field}'")
        values.append(value)
    if not values[0].isidentifier():
        raise RecipeError(f"{source}: the attribute name {one_line(values[0])!r} must be a single word")
    return Attribute(*values)


def load_rubric(path: Path | None = None) -> Rubric:
    """The rubric in a file; HelpSteer2's without one. Raises RecipeError."""
    if path is None:
        text = (files("pairsmith.assets") / "rubrics" / "helpsteer2.toml").read_text(encoding="utf-8")
        return read_rubric(text, "helpsteer2.toml")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"cannot read the rubric {one_line(str(path))}: {one_line(str(error))}") from None
    return read_rubric(text, one_line(str(path)))
