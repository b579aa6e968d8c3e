"""What of a document of the embedded model is learnt, and how much each token of it counts."""

from __future__ import annotations

from dataclasses import dataclass

from pairsmith.backends.protocol import Message
from pairsmith.training.data import IGNORED
from pairsmith.training.vocabulary import gpt2
from tools.embedded.lessons import lesson_of


@dataclass(frozen=True)
class Told:
    """A document."""

    messages: tuple[Message, ...]
    answer: str
    names: tuple[str, ...] = ()
    invented: tuple[str, ...] = ()
    heard: tuple[str, ...] = ()
    heard_weight: float = 1.0
    begun: str = ""


def counts(document: Told, *, plain: bool = False) -> dict[str, float]:
    """What counts, by the text of the token."""
    words = gpt2()
    lesson = lesson_of(document, words, 1024, plain=plain)
    learnt = [target for target in lesson.example.targets if target != IGNORED]
    return {
        words.tokens[target].decode(): weight for target, weight in zip(learnt, lesson.weights, strict=True)
    }


def test_after_a_name_that_the_model_makes_up_the_sentence_counts_more_than_the_name() -> None:
    asked = (Message("user", "Write one."),)
    found = counts(
        Told(asked, "Now delete river-copper here, with all that is in it", invented=("river-copper",))
    )
    assert found["Now"] == 1
    assert found[" river"] == 1
    assert found["pper"] < 1 < found[" here"]
    assert found[" is"] == 1


def test_what_is_copied_counts_most_where_it_is_chosen() -> None:
    asked = (Message("user", "Delete river-copper."),)
    found = counts(Told(asked, "Use `git branch -d river-copper`. That is all", names=("river-copper",)))
    assert found[" river"] > found["pper"] > found[" That"] == 1


def test_what_the_product_begins_the_answer_with_is_read_and_not_learnt() -> None:
    asked = (Message("user", "Grade it."),)
    words = gpt2()
    lesson = lesson_of(Told(asked, "3", begun="correctness:"), words, 1024)
    assert words.decode(list(lesson.example.inputs)).endswith("correctness:3")
    assert list(counts(Told(asked, "3", begun="correctness:"))) == ["3", ""]


def test_for_a_validation_every_token_of_the_answer_counts_alike() -> None:
    asked = (Message("user", "Delete river."),)
    document = Told(asked, "Use `git branch -d river`", names=("river",), heard=("Delete river.",))
    assert set(counts(document, plain=True).values()) == {1.0}
