"""Every shape in which reward models give their scores, and the ones that are none."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pairsmith.backends.errors import MalformedReply
from pairsmith.backends.reward import ATTRIBUTES, attributes_of, read_reward

FIVE = "helpfulness:1.6171875,correctness:1.6484375,coherence:3.3125,complexity:0.546875,verbosity:0.515625"
VALUES = dict(zip(ATTRIBUTES, (1.6171875, 1.6484375, 3.3125, 0.546875, 0.515625), strict=True))


def entries(scores: dict[str, Any]) -> dict[str, Any]:
    return {"logprobs": {"content": [{"token": n, "logprob": v} for n, v in scores.items()]}}


def test_five_attributes_in_the_text() -> None:
    assert read_reward({}, FIVE) == VALUES
    assert read_reward({"logprobs": None}, FIVE.replace(",", ", ").replace(":", ": ").title()) == VALUES


def test_five_attributes_in_the_log_probabilities() -> None:
    assert read_reward(entries(VALUES), "") == VALUES


def test_incomplete_entries_give_way_to_a_complete_text() -> None:
    assert read_reward(entries({"helpfulness": 1.0}), FIVE) == VALUES


def test_values_above_four_are_kept() -> None:
    assert read_reward({}, FIVE.replace("1.6171875", "4.15625"))["helpfulness"] == 4.15625


@pytest.mark.parametrize("text", ["reward:-12.4375", "reward: -1.24375e1"])
def test_one_scalar(text: str) -> None:
    assert read_reward({}, text) == {"reward": -12.4375}


def test_one_scalar_in_the_log_probabilities() -> None:
    assert read_reward(entries({"reward": -25.625}), "") == {"reward": -25.625}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A fine answer.",
        FIVE.replace("3.3125", "nan"),
        FIVE.replace("3.3125", "inf"),
        FIVE.replace("3.3125", "1e999"),
        FIVE.replace("3.3125", "3.3.1"),
        FIVE.replace("coherence", "cohesion"),
        FIVE.rpartition(",")[0],
        "reward:",
        "reward:nan",
        "12.5",
    ],
)
def test_anything_else_is_a_failure_with_the_text(text: str) -> None:
    with pytest.raises(MalformedReply) as caught:
        read_reward({"logprobs": None}, text)
    assert text[:20] in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, "4", True])
def test_an_entry_that_is_no_number_is_a_failure(value: Any) -> None:
    with pytest.raises(MalformedReply):
        read_reward(entries({**VALUES, "verbosity": value}), "")


def test_the_name_tells_the_attributes_beforehand() -> None:
    assert attributes_of("nvidia/nemotron-4-340b-reward") == ATTRIBUTES
    assert attributes_of("nvidia/llama-3.1-nemotron-70b-reward") == ("reward",)
    assert attributes_of("meta/llama-3.1-405b-instruct") == ()
