"""Reading judges: a number only where the judge gave one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairsmith.backends.protocol import Capabilities, Completion, Scored, Usage
from pairsmith.pairs.errors import UsageError
from pairsmith.pairs.judging import (
    Judge,
    JudgeFailed,
    choose_kind,
    expected_requests,
    json_request,
    read_expected,
    read_json,
    read_reward,
    reward_request,
)
from pairsmith.pairs.rubrics import load_rubric

RUBRIC = load_rubric()
NAMES = [attribute.name for attribute in RUBRIC.attributes]
GOOD = '{"rationale": "fine", "helpfulness": 4, "correctness": 3, "coherence": 4, "complexity": 1, "verbosity": 0}'


def completion(text: str, finish: str = "stop", reward: dict[str, float] | None = None) -> Completion:
    return Completion(text, finish, Usage(), "m", 0.1, reward=reward)  # type: ignore[arg-type]


def judge(kind: str, suffixes: int = 1) -> Judge:
    return Judge("nim:m", kind, RUBRIC, suffixes)  # type: ignore[arg-type]


def test_reward_scores_above_four_are_kept_as_they_are() -> None:
    assert read_reward(completion("", reward={"helpfulness": 4.15625}))["helpfulness"].value == 4.15625


def test_a_reward_answer_without_a_score_is_a_failure() -> None:
    with pytest.raises(JudgeFailed, match="hello"):
        read_reward(completion("hello"))


def test_a_reward_request_is_the_conversation_and_nothing_else() -> None:
    request = reward_request("Do it", "with this", "Done")
    assert [(m.role, m.content) for m in request.messages] == [
        ("user", "Do it\n\nwith this"),
        ("assistant", "Done"),
    ]
    assert (request.temperature, request.max_tokens, request.seed) == (None, None, None)


def test_one_request_holds_as_many_questions_as_the_backend_takes() -> None:
    assert len(expected_requests(judge("expected", 1), "i", "", "o")) == 5
    assert len(expected_requests(judge("expected", 3), "i", "", "o")) == 2
    (whole,) = expected_requests(judge("expected", 16), "i", "", "o")
    assert [suffix.strip() for suffix in whole.suffixes] == [f"{name}:" for name in NAMES]


def test_a_question_ends_the_prompt_or_begins_the_answer_as_the_backend_can() -> None:
    (ends,) = expected_requests(judge("expected", 16), "i", "", "o")
    (begins,) = expected_requests(replace(judge("expected", 16), begins_answer=True), "i", "", "o")
    assert (ends.begins_answer, begins.begins_answer) == (False, True)
    assert ends.suffixes[0].startswith("\n")
    assert begins.suffixes == tuple(f"{name}:" for name in NAMES)
    assert ends.messages[-1].content.rstrip() == begins.messages[-1].content


def test_a_rubric_that_asks_in_a_sentence_ends_the_prompt_with_it() -> None:
    asking = replace(RUBRIC, question="\nWhich digit is right for {attribute}?")
    able = replace(judge("expected", 16), begins_answer=True, rubric=asking)
    (request,) = expected_requests(able, "i", "", "o")
    assert not request.begins_answer
    assert request.suffixes[0] == "\nWhich digit is right for helpfulness?"


def test_the_expected_score_is_the_mean_over_the_digits() -> None:
    rows = tuple((0.0, 0.0, 0.0, 0.25, 0.25) for _ in NAMES)
    scores = read_expected(judge("expected", 5), [Scored(rows, Usage(), "m", 0.1)])
    assert scores["helpfulness"].value == 3.5
    assert scores["helpfulness"].mass == 0.5


@given(st.lists(st.lists(st.floats(0, 0.2), min_size=5, max_size=5), min_size=5, max_size=5))
def test_an_expected_score_lies_within_the_digits_or_fails(rows: list[list[float]]) -> None:
    try:
        scores = read_expected(judge("expected", 5), [Scored(tuple(map(tuple, rows)), Usage(), "m", 0.1)])
    except JudgeFailed:
        assert min(math.fsum(row) for row in rows) < 0.05
    else:
        assert all(-1e-9 <= score.value <= 4 + 1e-9 for score in scores.values())


def test_a_model_that_says_no_digit_fails_and_is_no_zero() -> None:
    rows = tuple((0.001, 0.0, 0.0, 0.0, 0.0) for _ in NAMES)
    with pytest.raises(JudgeFailed, match="digit"):
        read_expected(judge("expected", 5), [Scored(rows, Usage(), "m", 0.1)])


@pytest.mark.parametrize("text", [GOOD, f"Sure!\n```json\n{GOOD}\n```\nBye", f"{{not json}} {GOOD}"])
def test_json_scores_are_found_amid_talk(text: str) -> None:
    scores, rationale = read_json(judge("json"), completion(text))
    assert [scores[name].value for name in NAMES] == [4, 3, 4, 1, 0]
    assert rationale == "fine"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I like it",
        GOOD[:-10],
        GOOD.replace("4, ", "7, ", 1),
        GOOD.replace('"helpfulness": 4', '"helpfulness": null'),
        GOOD.replace('"helpfulness": 4', '"helpfulness": true'),
        GOOD.replace('"helpfulness": 4', '"helpfulness": NaN'),
        GOOD.replace('"helpfulness": 4', f'"helpfulness": {"9" * 400}'),
        GOOD.replace('"helpfulness": 4', '"helpfulness": "high"'),
        "{" * 100_000,
        '{"a":' * 5_000,
    ],
)
def test_an_unreadable_json_answer_is_a_failure(text: str) -> None:
    with pytest.raises(JudgeFailed):
        read_json(judge("json"), completion(text))


@given(st.text())
def test_no_answer_breaks_the_json_reader(text: str) -> None:
    with pytest.raises(JudgeFailed):
        read_json(judge("json"), completion(text + '{"helpfulness": 1}'))


def test_the_json_schema_lists_the_digits_since_servers_ignore_bounds() -> None:
    schema = json_request(judge("json"), "i", "", "o", constrained=True).json_schema
    assert schema is not None
    assert schema["properties"]["helpfulness"] == {"enum": [0, 1, 2, 3, 4]}


def test_the_kind_of_judging_follows_what_the_model_can() -> None:
    assert choose_kind("m", "auto", Capabilities(reward_attributes=("reward",))) == "reward"
    assert choose_kind("m", "auto", Capabilities(suffixes_per_score=1)) == "expected"
    assert choose_kind("m", "auto", Capabilities()) == "json"
    assert choose_kind("m", "json", Capabilities(suffixes_per_score=1)) == "json"


@pytest.mark.parametrize(
    ("wanted", "capabilities"),
    [
        ("reward", Capabilities()),
        ("expected", Capabilities()),
        ("json", Capabilities(reward_attributes=("reward",))),
        ("magic", Capabilities()),
    ],
)
def test_a_kind_that_the_model_cannot_do_is_wrong_usage(wanted: str, capabilities: Capabilities) -> None:
    with pytest.raises(UsageError, match="kind"):
        choose_kind("nim:m", wanted, capabilities)
