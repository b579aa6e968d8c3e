"""What an expression is once it is read: its nodes, its three-valued truth, the names that it uses, its spelling."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

TEXT_FIELDS = ("topic", "verdict", "backend", "model", "origin")
VERDICTS = ("undecided", "accepted", "rejected")
WORDS = ("and", "or", "not")
BARE = re.compile(r"(?:[^\W\d][\w.:/@-]*/)?[^\W\d]\w*")
"""A name that needs no backticks."""


@dataclass(frozen=True, slots=True)
class Name:
    """An attribute, `judge/attribute`, or one of `TEXT_FIELDS`."""

    name: str

    @property
    def is_text(self) -> bool:
        return self.name in TEXT_FIELDS


Operand: TypeAlias = Name | float | str


@dataclass(frozen=True, slots=True)
class Comparison:
    """`operands[0] operators[0] operands[1] ...`: true if each neighbouring two compare so."""

    operands: tuple[Operand, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Negation."""

    part: Node


@dataclass(frozen=True, slots=True)
class Junction:
    """`and` or `or` of two or more parts."""

    word: str
    parts: tuple[Node, ...]


Node: TypeAlias = Comparison | Not | Junction


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression. `str` of it parses to an equal one."""

    root: Node

    def __str__(self) -> str:
        return _shown(self.root)


Lookup: TypeAlias = Callable[[str], float | str | None]
"""The value of an attribute (a number) or text field for one pair; None where there is none."""


def evaluate(expression: Expression, lookup: Lookup) -> bool | None:
    """True, False, or None for unknown: a score that decides is missing (None or NaN from `lookup`)."""
    return _evaluate(expression.root, lookup)


def names(expression: Expression) -> frozenset[str]:
    """The attributes (`attribute` or `judge/attribute`) that the expression uses; no text fields."""
    return frozenset(name.name for name in _names(expression.root) if not name.is_text)


def text_fields(expression: Expression) -> frozenset[str]:
    """Those of `TEXT_FIELDS` that the expression uses."""
    return frozenset(name.name for name in _names(expression.root) if name.is_text)


def split_name(name: str) -> tuple[str | None, str]:
    """Judge and attribute of a name: `nim:a/b/helpfulness` is (`nim:a/b`, `helpfulness`); without `/`, (None, name)."""
    judge, slash, attribute = name.rpartition("/")
    return (judge, attribute) if slash else (None, name)


def is_text(operand: Operand) -> bool:
    """Whether an operand is text rather than a number."""
    return operand.is_text if isinstance(operand, Name) else isinstance(operand, str)


def _evaluate(node: Node, lookup: Lookup) -> bool | None:
    if isinstance(node, Not):
        part = _evaluate(node.part, lookup)
        return None if part is None else not part
    if isinstance(node, Comparison):
        return _compare(node, lookup)
    decides = node.word == "or"
    unknown = False
    for one in node.parts:
        value = _evaluate(one, lookup)
        if value is decides:
            return decides
        unknown = unknown or value is None
    return None if unknown else not decides


def _compare(node: Comparison, lookup: Lookup) -> bool | None:
    values = [_value(operand, lookup) for operand in node.operands]
    unknown = False
    for left, sign, right in zip(values, node.operators, values[1:], strict=False):
        if left is None or right is None:
            unknown = True
        elif not _holds(left, sign, right):
            return False
    return None if unknown else True


def _value(operand: Operand, lookup: Lookup) -> float | str | None:
    if not isinstance(operand, Name):
        return operand
    value = lookup(operand.name)
    if operand.is_text:
        return value if isinstance(value, str) else None
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else None


def _holds(left: float | str, sign: str, right: float | str) -> bool:
    if sign == "==":
        return left == right
    if sign == "!=":
        return left != right
    if isinstance(left, str) or isinstance(right, str):
        return False
    return {"<": left < right, "<=": left <= right, ">": left > right, ">=": left >= right}[sign]


def _names(node: Node) -> Iterator[Name]:
    if isinstance(node, Comparison):
        yield from (operand for operand in node.operands if isinstance(operand, Name))
    elif isinstance(node, Not):
        yield from _names(node.part)
    else:
        for part in node.parts:
            yield from _names(part)


def _shown(node: Node) -> str:
    if isinstance(node, Comparison):
        shown = [operand_shown(operand) for operand in node.operands]
        return " ".join(
            [shown[0], *(f"{sign} {one}" for sign, one in zip(node.operators, shown[1:], strict=True))]
        )
    if isinstance(node, Not):
        return f"not ({_shown(node.part)})" if isinstance(node.part, Junction) else f"not {_shown(node.part)}"
    return f" {node.word} ".join(
        f"({_shown(part)})" if isinstance(part, Junction) else _shown(part) for part in node.parts
    )


def operand_shown(operand: Operand) -> str:
    """An operand as it is written."""
    if isinstance(operand, str):
        return '"' + operand.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(operand, float):
        return repr(operand).removesuffix(".0")
    bare = BARE.fullmatch(operand.name) and operand.name.lower() not in WORDS
    return operand.name if bare else "`" + operand.name.replace("`", "``") + "`"
