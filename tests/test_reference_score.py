"""Reading 0 to 100 out of what a judge says, and the prompts that ask for it."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairsmith.pairs.reference_score import Unreadable, read_score, score_prompt, score_request

BULLET = """I'd rate the model response "The car is as fast as a bullet." an 85 out of 100.

Here's why:

* The response uses a simile correctly, comparing the speed of the car to something else (in this case, a bullet).
* The comparison is relevant and makes sense, as bullets are known for their high velocity.
* The phrase "as fast as" is used correctly to introduce the simile.

The only reason I wouldn't give it a perfect score is that some people might find the comparison slightly less vivid \
or evocative than others. For example, comparing something to lightning (as in the original response) can be more \
dramatic and attention-grabbing. However, "as fast as a bullet" is still a strong and effective simile that \
effectively conveys the idea of the car's speed.

Overall, I think the model did a great job!"""
CLOUD = """I'd score this model response as 40 out of 100.

Here's why:

* The model correctly identifies that thunderstorms are related to clouds (correctly identifying the type of \
phenomenon).
* However, it incorrectly specifies the type of cloud associated with thunderstorms. Cumulus clouds are not typically \
associated with thunderstorms; cumulonimbus clouds are.
* The response lacks precision and accuracy in its description.

Overall, while the model attempts to address the instruction, it provides an incorrect answer, which is a significant \
error."""
AUSTEN = """I'd rate my own response as 95 out of 100. Here's why:

* The response accurately answers the question by naming the author of 'Pride and Prejudice' as Jane Austen.
* The response is concise and clear, making it easy to understand.
* There are no grammatical errors or ambiguities that could lead to confusion.

The only reason I wouldn't give myself a perfect score is that the response is slightly redundant - it's not necessary \
to rephrase the question in the answer. A more concise response would be simply "Jane Austen.\""""


@pytest.mark.parametrize(("answer", "score"), [(BULLET, 85), (CLOUD, 40), (AUSTEN, 95)])
def test_the_reference_texts_three_printed_answers(answer: str, score: float) -> None:
    assert read_score(answer) == score


@pytest.mark.parametrize("score", [0, 10, 40, 100])
def test_another_score_in_the_explanation_does_not_count(score: int) -> None:
    said = f"I'd score this model response as {score} out of 100.\n\nHere's why:\n\n"
    for more in (
        "* An empty answer would get 0 out of 100.",
        "* It isn't 0 out of 100, because it names a cloud.",
        "* I would give a complete miss 0 out of 100, and a perfect one 100 out of 100.",
        "The only reason I wouldn't give it 100/100 is its length.",
        "The correct output is the best possible score (100), while this is off the mark.",
        "It names 3 of 10 clouds, 12% of them, in 1968.",
    ):
        assert read_score(said + more) == score


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("85", 85),
        (" 85\n", 85),
        ("0", 0),
        ("100", 100),
        ("007", 7),
        ("85.", 85),
        ("**85**", 85),
        ("72.5", 72.5),
        ("85/100", 85),
        ("85 / 100", 85),
        ("85 out of 100", 85),
        ("85%", 85),
        ("Score: 85", 85),
        ("**Score: 10/100**", 10),
        ("score = 85", 85),
        ("### Score: 50/100\nThis score reflects that three animals are right.", 50),
        ("I'd score this model response as 100.", 100),
        ("I'd score this response as 0 out of 100.\n\nThe correct answer is 10 cm, not 3 cm.", 0),
        (
            "I'd rate this model response as 20 out of 100.\n\nThe output is the best possible score (100).",
            20,
        ),
        ("A clever test!\n\nIt is another question.\n\nSo, I'd score this response a 0 out of 100.", 0),
        (
            "Therefore, the score for the model response would be 0 out of 100, as it misidentifies the type.",
            0,
        ),
        (
            "\\[ c = \\sqrt{100} \\]\nOn the scale from 0 to 100, where 100 is the best.\n\n**Score: 10/100**",
            10,
        ),
        ("Accuracy: 20/100\nClarity: 60/100\n\nFinal score: 35/100", 35),
        ("Accuracy: 20/100\nClarity: 60/100\nOverall score: **40 out of 100**", 40),
        ("The score is 64.", 64),
        ("I would give this response a score of 64 out of 100.", 64),
        ("I would give it a 64.", 64),
        ("The response earns 64 out of 100.", 64),
        ("This deserves 64/100.", 64),
        ("64 out of 100: it is close.", 64),
        ("<think>Maybe 20 out of 100? No.</think>\n\n64", 64),
        ("The answer is right.\n\nScore: 64", 64),
        ("I'd give this answer a rating of 64 out of a possible 100 points.", 64),
        ("I’d rate it 64 out of 100 rather than 80 out of 100.", 64),
        ("\\boxed{64}", 64),
        ("On a scale from 0 to 100, I'd rate this response a 64.", 64),
        ("If I had to score it, I'd say 64 out of 100.", 64),
        ("It is not perfect, but I'd give it 64/100.", 64),
        ("A perfect response would get 100 out of 100, this one gets 64 out of 100.", 64),
    ],
)
def test_scores_said_plainly_are_read(answer: str, score: float) -> None:
    assert read_score(answer) == score


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "   ",
        "I cannot score this.",
        "banana",
        "N/A",
        "-5",
        "101",
        "850",
        "1e2",
        "nan",
        "inf",
        "eighty-five",
        "8/10",
        "I'd rate it 8 out of 10.",
        "Score: 4/5",
        "between 60 and 70 out of 100",
        "I'd score it 60-70 out of 100.",
        "60 to 70 out of 100",
        "It is a scale from 0 to 100, where 100 is the best score.",
        "I wouldn't give it 100 out of 100.",
        "It is mixed.\nI'd give the form 20 out of 100.\nI'd give the content 90 out of 100.\nSo it is hard to tell.",
        "The hypotenuse is 10 cm.",
        "1. Squirrel\n2. Eagle\n3. Tiger",
        "<think>85 out of 100",
        "Score: 150/100",
        "I'd rate it 1 point below perfect: 99",
        "The score would be 85 if it had named the author, but it did not.",
        "I would give it 85 out of 100 if it had answered, but it did not.",
    ],
)
def test_anything_else_is_unreadable(answer: str) -> None:
    with pytest.raises(Unreadable) as caught:
        read_score(answer)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=300))
def test_any_text_gives_a_score_or_unreadable(text: str) -> None:
    with contextlib.suppress(Unreadable):
        assert 0 <= read_score(text) <= 100


@given(st.integers(0, 100))
def test_every_integer_is_itself(score: int) -> None:
    assert read_score(str(score)) == score
    assert read_score(f"I'd rate the model response as {score} out of 100.") == score


@pytest.mark.parametrize("length", [100, 20_000, 200_000])
def test_a_flood_is_read_in_no_time(length: int) -> None:
    for flood in (
        "score " * length,
        "1" * length,
        "I would give " * length,
        "0 out of 100 " * length,
        '"' * length,
    ):
        with contextlib.suppress(Unreadable):
            read_score(flood)


def test_the_prompts_are_the_reference_texts() -> None:
    asked = (
        "Given the input `Below is an instruction that describes a task. Write a response that appropriately completes"
        " the request.\n\n### Instruction:\nRewrite it.\n\n### Input:\nA b.` and correct output `B.`, score the model"
        " response `A.` on a scale from 0 to 100, where 100 is the best score. "
    )
    assert score_prompt("explained", "Rewrite it.", "A b.", "B.", "A.") == asked
    assert (
        score_prompt("integer", "Rewrite it.", "A b.", "B.", "A.")
        == asked + "Respond with the integer number only."
    )
    assert "### Input" not in score_prompt("integer", "Rewrite it.", "", "B.", "A.")


def test_the_settings_are_the_reference_texts_and_a_further_try_differs() -> None:
    first, second = score_request("p"), score_request("p", 1)
    assert (first.temperature, first.seed) == (0.0, 123)
    assert (second.temperature, second.seed) != (first.temperature, first.seed)
