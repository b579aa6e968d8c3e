"""EXPR: what it accepts, what it means, how it refuses."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairsmith.pairs.expressions import (
    TEXT_FIELDS,
    VERDICTS,
    Comparison,
    Expression,
    ExpressionError,
    Junction,
    Name,
    Node,
    Not,
    evaluate,
    names,
    parse_expression,
    split_name,
    text_fields,
)

SCORES = {
    "helpfulness": 3.5,
    "verbosity": 2.0,
    "nim:nvidia/nemotron-4-340b-reward/helpfulness": 4.0,
    "topic": "Merging",
}
SCORES |= {"verdict": "accepted", "missing_text": "x"}


def value(text: str, scores: dict[str, float | str] = SCORES) -> bool | None:
    return evaluate(parse_expression(text), scores.get)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("helpfulness >= 3 and verbosity <= 2.5", True),
        ("helpfulness >= 3.5", True),
        ("helpfulness > 3.5", False),
        ("helpfulness == 3.5 and helpfulness != 3", True),
        ("not helpfulness < 3", True),
        ("1 < verbosity < helpfulness <= 3.5", True),
        ("verbosity < 1 or helpfulness > 5 or verbosity == 2", True),
        ("(verbosity < 1 or helpfulness > 3) and verbosity > 5", False),
        ("verbosity < 1 or helpfulness > 3 and verbosity > 5", False),
        ("helpfulness > -1 and 0.5e1 > helpfulness", True),
        ('topic == "Merging" and verdict != "rejected"', True),
        ("topic == 'Branching'", False),
        ("nim:nvidia/nemotron-4-340b-reward/helpfulness > helpfulness", True),
        ("`nim:nvidia/nemotron-4-340b-reward/helpfulness` == 4", True),
        ("NOT helpfulness < 3 AND verbosity == 2", True),
    ],
)
def test_an_expression_means_what_it_says(text: str, expected: bool) -> None:
    assert value(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("coherence > 3", None),
        ("coherence != 3", None),
        ("not coherence > 3", None),
        ("coherence > 3 and helpfulness > 3", None),
        ("coherence > 3 and helpfulness > 4", False),
        ("coherence > 3 or helpfulness > 3", True),
        ("coherence > 3 or helpfulness > 4", None),
        ("1 < coherence < 3", None),
        ("helpfulness < 1 < coherence", False),
        ('origin == "generated"', None),
    ],
)
def test_a_missing_score_makes_a_comparison_unknown_and_kleene_goes_on(
    text: str, expected: bool | None
) -> None:
    assert value(text) is expected


def test_nan_and_values_of_the_wrong_type_are_missing() -> None:
    assert value("a > 1", {"a": math.nan}) is None
    assert value("a > 1", {"a": "5"}) is None
    assert value("topic == 'x'", {"topic": 5.0}) is None


def test_names_are_those_of_scores_and_text_fields_the_others() -> None:
    expression = parse_expression("a > 1 and (j:m/b < a or topic == 'x') and not verdict == 'accepted'")
    assert names(expression) == {"a", "j:m/b"}
    assert text_fields(expression) == {"topic", "verdict"}


def test_the_last_slash_separates_judge_and_attribute() -> None:
    assert split_name("llama-cpp:dir/x.gguf/helpfulness") == ("llama-cpp:dir/x.gguf", "helpfulness")
    assert split_name("helpfulness") == (None, "helpfulness")


@pytest.mark.parametrize(
    ("text", "column", "says"),
    [
        ("", 1, "empty"),
        ("   ", 1, "empty"),
        ("helpfulness", 1, "not compared"),
        ("helpfulness = 3", 13, "write =="),
        ("a > 3 and", 10, "missing after and"),
        ("a > 3 & b > 2", 7, "write and"),
        ("(a > 3", 1, "not closed"),
        ("a > 3)", 6, "closes nothing"),
        ("topic > 3", 9, "text"),
        ("topic < 'x'", 9, "== or !="),
        ("verdict == 'acepted'", 12, "undecided, accepted, rejected"),
        ("verdict == accepted", 12, 'quotes around it to compare with text: "accepted"'),
        ("a > '3'", 5, "number"),
        ("3 > 2", 1, "nothing of a pair"),
        ("a + b > 3", 3, "allowed"),
        ("a-b > 3", 1, "backticks"),
        ("a > 1e999", 5, "not a number"),
        ("a > 0x1F", 5, "not a number"),
        ("a in b", 3, "at in"),
        ("a is b", 3, "at is"),
        ("judge/ > 3", 1, "names no attribute"),
        ("a > “3”", 5, "straight quotes"),
        ("topic == 'x", 10, "does not end"),
        ("a > 3 b < 4", 7, "at b"),
        ("__import__('os')", 1, "not compared"),
        ("a > 3 if b < 2 else c > 1", 7, "at if"),
        ("lambda: 0", 1, "no attribute"),
        ("a > \x1b[31m", 5, "\u241b"),
        ("x" * 5000, 4001, "5000 characters"),
        ("(" * 60 + "a > 1" + ")" * 60, 51, "parentheses"),
        ("not " * 60 + "a > 1", 205, "conditions"),
        (" or ".join(["a>1"] * 500), 1051, "parts"),
    ],
)
def test_a_wrong_expression_is_refused_in_one_line_that_says_where(text: str, column: int, says: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression(text)
    message = str(caught.value)
    assert says in message
    assert "\n" not in message
    assert "\x1b" not in message
    assert message.endswith(f"(column {caught.value.column})")
    assert caught.value.column == column


PIECES = (
    "a b/c topic verdict 'x' \"y\" `z w` 3 2.5 -1 < <= > >= == != and or not ( ) , . [ ] { } = lambda : if else in is",
    "None True await yield * ** @ # \\ ; := f'{x}' \x00 1_0 0b1 é \n",
)
PIECES = tuple(piece for pieces in PIECES for piece in pieces.split(" "))

attributes = st.one_of(
    st.sampled_from(["helpfulness", "a_1", "nim:nvidia/x-340b.v2/verbosity", "größe"]),
    st.text(min_size=1, max_size=12).filter(
        lambda s: (
            s not in TEXT_FIELDS
            and all(part.strip() for part in (s.rpartition("/")[::2] if "/" in s else [s]))
        )
    ),
)
numbers = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    if draw(st.booleans()):
        field = draw(st.sampled_from([f for f in TEXT_FIELDS if f != "verdict"]))
        return Comparison((Name(field), draw(st.text(max_size=10))), (draw(st.sampled_from(["==", "!="])),))
    if draw(st.booleans()):
        return Comparison((Name("verdict"), draw(st.sampled_from(VERDICTS))), ("!=",))
    count = draw(st.integers(1, 3))
    signs = draw(
        st.lists(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), min_size=count, max_size=count)
    )
    rest = draw(st.lists(st.one_of(numbers, attributes.map(Name)), min_size=count, max_size=count))
    return Comparison((Name(draw(attributes)), *rest), tuple(signs))


nodes: st.SearchStrategy[Node] = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        inner.map(Not),
        st.builds(
            Junction, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3).map(tuple)
        ),
    ),
    max_leaves=8,
)


@given(nodes)
def test_an_expression_written_out_reads_as_itself(root: Node) -> None:
    expression = Expression(root)
    assert parse_expression(str(expression)) == expression


@settings(max_examples=300)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(PIECES),
            max_size=14,
        ).map(" ".join),
    )
)
def test_any_text_is_an_expression_or_an_expression_error(text: str) -> None:
    try:
        expression = parse_expression(text)
    except ExpressionError as caught:
        error: ExpressionError | None = caught
    else:
        error = None
    if error is not None:
        assert len(str(error).splitlines()) == 1
        assert 1 <= error.column <= len(text) + 1
    else:
        assert parse_expression(str(expression)) == expression
        assert evaluate(expression, lambda name: None) is None


def test_unknown_stays_unknown_only_where_the_answer_depends_on_it() -> None:
    """Kleene's tables, against trying out what the missing score could be."""
    texts = ["a > 1 and b > 1", "a > 1 or b > 1", "not (a > 1) or b > 1", "not (a > 1 and not b > 1)"]
    for text, a, b in itertools.product(texts, (0.0, 2.0, None), (0.0, 2.0, None)):
        expression = parse_expression(text)
        tried = {
            evaluate(expression, {"a": x, "b": y}.get)
            for x in ((a,) if a is not None else (0.0, 2.0))
            for y in ((b,) if b is not None else (0.0, 2.0))
        }
        assert evaluate(expression, {"a": a, "b": b}.get) is (tried.pop() if len(tried) == 1 else None)
