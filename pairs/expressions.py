"""EXPR, the one language of thresholds: `helpfulness >= 3 and (topic == "Merging" or not verbosity > 2.5)`.

An operand is
- an attribute's name (its newest score by the present judge), or `judge/attribute` for another judge's: the last `/`
  separates the two, so `nim:nvidia/nemotron-4-340b-reward/helpfulness` is `helpfulness` by the judge
  `nim:nvidia/nemotron-4-340b-reward`. An attribute holds letters, digits and `_`, a judge `. : / @ -` too; any other
  name stands between backticks (`` `ollama:my model/helpfulness` ``, a backtick in it doubled);
- `topic`, `verdict`, `backend`, `model` or `origin`, compared by `==` and `!=` with quoted text;
- a number, or text in single or double quotes (a backslash before a quote or a backslash).

Comparisons are `< <= > >= == !=`, also chained (`2 <= complexity <= 3`), joined by `and`, `or`, `not` and parentheses.
A comparison with a missing score is unknown, and unknown goes on as in Kleene's logic: `false and unknown` is false.

Nothing is executed: names, numbers and texts are read by our own rules and replaced by placeholders, Python's parser
only finds the structure, and every node of it is checked.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pairsmith.backends.text import one_line

from .errors import UsageError
from .expression_nodes import (
    BARE,
    TEXT_FIELDS,
    VERDICTS,
    WORDS,
    Comparison,
    Expression,
    Junction,
    Lookup,
    Name,
    Node,
    Not,
    Operand,
    evaluate,
    is_text,
    names,
    operand_shown,
    split_name,
    text_fields,
)

__all__ = [
    "TEXT_FIELDS",
    "VERDICTS",
    "Comparison",
    "Expression",
    "ExpressionError",
    "Junction",
    "Lookup",
    "Name",
    "Node",
    "Not",
    "evaluate",
    "names",
    "parse_expression",
    "split_name",
    "text_fields",
]

LONGEST = 4000
"""Characters of an expression."""
_MOST_TOKENS = 600
_DEEPEST = 50


class ExpressionError(UsageError, ValueError):
    """What is wrong with an expression, where, and what is allowed: one line, safe to show. `column` counts from 1."""

    def __init__(self, message: str, column: int) -> None:
        super().__init__(f"{message} (column {column})")
        self.column = column


def parse_expression(text: str) -> Expression:
    """Read an expression. Raises `ExpressionError` for anything that is not one, and nothing else."""
    if len(text) > LONGEST:
        raise ExpressionError(
            f"the expression has {len(text)} characters, at most {LONGEST} are allowed", LONGEST + 1
        )
    if stray := _SURROGATE.search(text):
        # Bytes of a command line that are no UTF-8 come as such; neither the store nor a pair holds any.
        raise ExpressionError("the expression is not UTF-8", stray.start() + 1)
    tokens = list(_tokens(text))
    if not tokens:
        raise ExpressionError("the expression is empty, e.g. helpfulness >= 3 and verbosity <= 2.5 is one", 1)
    if len(tokens) > _MOST_TOKENS:
        raise ExpressionError(
            f"the expression has more than {_MOST_TOKENS} parts", tokens[_MOST_TOKENS].column
        )
    _check_parentheses(tokens)
    if tokens[-1].kind not in ("name", "number", "text", ")"):
        raise ExpressionError(f"something is missing after {tokens[-1].kind}", len(text) + 1)
    return Expression(_Reader(tokens).read())


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    """name, number, text, or the operator or word itself."""
    value: Operand
    column: int


_SURROGATE = re.compile("[\ud800-\udfff]")
_NUMBER = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])", re.ASCII)
_LEX = re.compile(
    r"""(?P<space>\s+)
    | (?P<back>`(?:[^`]|``)*`)
    | (?P<text>"(?:[^"\\]|\\.)*+"|'(?:[^'\\]|\\.)*+')
    | (?P<number>(?:\d|\.\d)[\w.]*(?:(?<=[eE])[+-]\d+)?)
    | (?P<name>[^\W\d][\w.:/@-]*)
    | (?P<operator><=|>=|==|!=|[<>()-])""",
    re.VERBOSE | re.DOTALL,
)
_HINTS = {
    "=": "write == to compare",
    "&": "write and",
    "|": "write or",
    "!": "write not, or != to compare",
    '"': "the quoted text does not end",
    "'": "the quoted text does not end",
    "`": "the name between backticks does not end",
    "“": "use straight quotes",
    "”": "use straight quotes",
    "‘": "use straight quotes",
    "’": "use straight quotes",
}
_BACKTICKS = (
    "it holds letters, digits and _ only (arithmetic is not allowed); write any other between backticks"
)
_ALLOWED = "allowed are attribute names, topic, verdict, numbers, quoted text, < <= > >= == !=, and or not, parentheses"


def _tokens(text: str) -> Iterator[_Token]:
    place = 0
    while place < len(text):
        column = place + 1
        match = _LEX.match(text, place)
        if match is None:
            char = text[place]
            raise ExpressionError(
                f"cannot read {one_line(char) or 'this'}: {_HINTS.get(char, _ALLOWED)}", column
            )
        place = match.end()
        raw = match[0]
        match match.lastgroup:
            case "back":
                yield _Token("name", Name(_checked_name(raw[1:-1].replace("``", "`"), column)), column)
            case "text":
                yield _Token("text", re.sub(r"\\([\\\"'])", r"\1", raw[1:-1]), column)
            case "number":
                yield _Token("number", _number(raw, column), column)
            case "name" if raw.lower() in WORDS:
                yield _Token(raw.lower(), raw, column)
            case "name":
                yield _Token("name", Name(_checked_name(raw, column)), column)
                if not BARE.fullmatch(raw):
                    raise ExpressionError(f"{one_line(raw, 60)} is no attribute's name: {_BACKTICKS}", column)
            case "operator":
                yield _Token(raw, raw, column)


def _number(raw: str, column: int) -> float:
    value = float(raw) if len(raw) < 40 and _NUMBER.fullmatch(raw) else math.inf
    if math.isinf(value):
        raise ExpressionError(f"{one_line(raw, 40)} is not a number (2.5 is one)", column)
    return value


def _checked_name(name: str, column: int) -> str:
    judge, attribute = split_name(name)
    if not attribute.strip() or (judge is not None and not judge.strip()):
        raise ExpressionError(
            f"{one_line(name, 60) or 'an empty name'} names no attribute: write judge/attribute", column
        )
    return name


def _check_parentheses(tokens: list[_Token]) -> None:
    opened: list[int] = []
    for token in tokens:
        if token.kind == "(":
            opened.append(token.column)
        elif token.kind == ")":
            if not opened:
                raise ExpressionError("this ) closes nothing", token.column)
            opened.pop()
        if len(opened) > _DEEPEST:
            raise ExpressionError(f"more than {_DEEPEST} parentheses within one another", token.column)
    if opened:
        raise ExpressionError("this ( is not closed", opened[-1])


class _Reader:
    """Python's parser over placeholders, and a check of every node that it gives."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._starts: list[int] = []
        parts: list[str] = []
        width = 0
        for place, token in enumerate(tokens):
            part = f"v{place}" if token.kind in ("name", "number", "text") else token.kind
            self._starts.append(width)
            width += len(part) + 1
            parts.append(part)
        self._source = " ".join(parts)

    def read(self) -> Node:
        try:
            tree = ast.parse(self._source, mode="eval")
        except SyntaxError as error:
            token = self._token_at((error.offset or 1) - 1)
            raise ExpressionError(
                f"something is missing or too much at {self._shown(token)}", token.column
            ) from None
        except (MemoryError, RecursionError, ValueError):
            raise ExpressionError("the expression is too deeply nested", 1) from None
        return self._node(tree.body, 0)

    def _node(self, node: ast.expr, depth: int) -> Node:
        if depth > _DEEPEST:
            raise ExpressionError(f"more than {_DEEPEST} conditions within one another", self._column(node))
        if isinstance(node, ast.BoolOp):
            word = "and" if isinstance(node.op, ast.And) else "or"
            return Junction(word, tuple(self._node(value, depth + 1) for value in node.values))
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return Not(self._node(node.operand, depth + 1))
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        shown = self._shown(self._token_at(node.col_offset))
        raise ExpressionError(
            f"{shown} is not compared with anything: write a condition such as helpfulness >= 3",
            self._column(node),
        )

    def _comparison(self, node: ast.Compare) -> Comparison:
        nodes = [node.left, *node.comparators]
        operands = [self._operand(one) for one in nodes]
        operators = []
        for i, op in enumerate(node.ops):
            sign = _SIGNS.get(type(op))
            column = self._column(nodes[i + 1])
            if sign is None:
                raise ExpressionError(f"this comparison is not allowed: {_ALLOWED}", column)
            _check_types(operands[i], sign, operands[i + 1], column)
            operators.append(sign)
        if not any(isinstance(operand, Name) for operand in operands):
            raise ExpressionError(
                "nothing of a pair is compared here: name an attribute, topic or verdict", self._column(node)
            )
        return Comparison(tuple(operands), tuple(operators))

    def _operand(self, node: ast.expr) -> Operand:
        if (
            isinstance(node, ast.UnaryOp)
            and isinstance(node.op, ast.USub)
            and isinstance(node.operand, ast.Name)
        ):
            value = self._token_at(node.operand.col_offset).value
            if isinstance(value, float):
                return -value
            raise ExpressionError("a minus sign stands only before a number", self._column(node))
        if isinstance(node, ast.Name):
            return self._token_at(node.col_offset).value
        raise ExpressionError(
            "only an attribute, a field, a number or quoted text can be compared", self._column(node)
        )

    def _token_at(self, offset: int) -> _Token:
        place = max((i for i, start in enumerate(self._starts) if start <= offset), default=0)
        return self._tokens[place]

    def _column(self, node: ast.expr) -> int:
        return self._token_at(node.col_offset).column

    def _shown(self, token: _Token) -> str:
        value = token.value
        return one_line(operand_shown(value) if token.kind in ("name", "number", "text") else str(value), 60)


_SIGNS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}


def _check_types(left: Operand, sign: str, right: Operand, column: int) -> None:
    texts = [is_text(left), is_text(right)]
    if texts[0] != texts[1]:
        text, other = (left, right) if texts[0] else (right, left)
        what, number = one_line(operand_shown(text), 60), one_line(operand_shown(other), 60)
        if isinstance(other, Name) and isinstance(text, Name):
            hint = f'put quotes around it to compare with text: "{one_line(other.name, 40)}"'
            raise ExpressionError(f"{what} is text and {number} the name of a score; {hint}", column)
        hint = "; a number stands without quotes" if isinstance(other, Name) else ""
        kind = "a score" if isinstance(other, Name) else "a number"
        raise ExpressionError(f"{what} is text and {number} {kind}: they cannot be compared{hint}", column)
    if all(texts) and sign not in ("==", "!="):
        raise ExpressionError(f"text is compared by == or !=, not by {sign}", column)
    for field, value in ((left, right), (right, left)):
        if (
            isinstance(field, Name)
            and field.is_text
            and field.name == "verdict"
            and isinstance(value, str)
            and value not in VERDICTS
        ):
            raise ExpressionError(
                f'a verdict is one of {", ".join(VERDICTS)}, not "{one_line(value, 40)}"', column
            )
