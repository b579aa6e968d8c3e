"""The documents of the embedded model: the product's prompts, right answers, and what is kept out of training."""

from __future__ import annotations

import json
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pairsmith.backends.protocol import Completion, Usage
from pairsmith.pairs.judging import read_json
from pairsmith.pairs.recipes import load_recipe
from pairsmith.pairs.rubrics import load_rubric
from pairsmith.pairs.similarity import SimilarityIndex
from pairsmith.pairs.topic_tree import instructions_request, read_list, read_response, topics_request
from tools.embedded import wordings
from tools.embedded.corruptions import CORRUPTIONS, HELD_OUT_KINDS, UNTOUCHED, judge_case
from tools.embedded.documents import SHARES, Document, documents, drawn, drawn_held_out
from tools.embedded.execute import answered, cases, commands_in, judge_response, judge_responses, summed
from tools.embedded.intents import alternatives
from tools.embedded.judge_documents import judge
from tools.embedded.list_documents import new_cases
from tools.embedded.listed import listed, next_phrasing
from tools.embedded.other_documents import score_of
from tools.embedded.prepared import Case, Split, draw_case, shipped
from tools.embedded.recognise import intent_of, topic_of
from tools.embedded.responses import draw_parts
from tools.embedded.rewording import reworded
from tools.embedded.slots import CLOSED, is_held_out, is_plain, slots_of

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="Git is not installed")


def some(kind: str, count: int = 60, *, held_out: bool = False) -> list[Document]:
    draw = drawn_held_out if held_out else drawn
    return [document for number in range(count) for document in draw(random.Random(f"{kind}{number}"), kind)]


def some_cases(count: int, split: Split = "train") -> list[Case]:
    made = []
    for number in range(count):
        rng = random.Random(number)
        made.append(draw_case(rng.choice(shipped().intents), rng, split))
    return made


def answer_of(document: Document) -> Completion:
    return Completion(document.answer, "stop", Usage(), "embedded", 0.1)


def test_the_same_seed_gives_the_same_documents() -> None:
    assert list(documents(3, 200)) == list(documents(3, 200))
    assert list(documents(3, 200)) != list(documents(4, 200))


def test_every_kind_is_drawn_and_the_shares_are_one_together() -> None:
    assert {document.kind for document in documents(1, 2000)} == set(SHARES)
    assert sum(SHARES.values()) == pytest.approx(1)


def test_instruction_prompts_are_those_of_the_product() -> None:
    recipe = load_recipe("english")
    for document in some("instructions"):
        topic = document.messages[0].content.split("The topic is: ")[1].split(".\n")[0]
        domain = document.messages[0].content.split("The domain is: ")[1].split(". The topic")[0]
        request = instructions_request(
            recipe, domain, topic, document.asked, document.shown, constrained=document.constrained
        )
        told, rest = document.messages[0].content, request.messages[0].content
        if "Many of the instructions so far" not in told:
            assert told == rest
        else:
            assert told.startswith(rest.split("\n\nAnswer as JSON")[0])


def test_topic_prompts_are_those_of_the_product() -> None:
    recipe = load_recipe("english")
    for document in some("topics"):
        domain = document.messages[0].content.split("The domain of a dataset is: ")[1].split("\n")[0]
        request = topics_request(
            recipe, domain, document.asked, document.shown, constrained=document.constrained
        )
        assert document.messages == request.messages


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("kind", ["instructions", "topics"])
def test_lists_are_read_by_the_product_and_repeat_nothing(kind: str, held_out: bool) -> None:
    for document in some(kind, held_out=held_out):
        parsed = read_list(answer_of(document), document.asked, names=kind == "topics")
        assert parsed.malformed is None
        assert len(set(parsed.items)) == len(parsed.items)
        assert not set(parsed.items) & set(document.shown)
        assert 1 <= len(parsed.items) <= document.asked
        if kind == "instructions":
            assert len(parsed.items) == document.asked


def test_lists_are_written_in_one_wording_with_ordinary_names() -> None:
    wordings_seen: dict[tuple[str, int], set[str]] = {}
    for ready in shipped().intents[::9]:
        for number in range(60):
            case = draw_case(ready, random.Random(number), "train", plain=True)
            ordinary = {
                slot: value for slot, value in case.values.items() if slot.kind not in ("commit", "url")
            }
            assert all(map(is_plain, ordinary.values()))
            text = case.instruction
            for value in sorted(case.values.values(), key=len, reverse=True):
                text = text.replace(value, "NAME")
            wordings_seen.setdefault((ready.intent.name, case.phrasing), set()).add(text.lower())
    assert len(wordings_seen) > 200
    assert all(len(texts) == 1 for texts in wordings_seen.values())


def test_what_stands_in_lists_is_shorter_than_the_rest_says_less_after_names_and_is_not_alike() -> None:
    def words(template: str) -> tuple[int, int]:
        before, *after = template.split("%s")
        behind = sum(len(part.split()) for part in after)
        return len(before.split()) + behind, behind

    inside, outside = [0, 0, 0], [0, 0, 0]
    for ready in shipped().intents:
        assert set(listed()[ready.number]) <= set(ready.trained)
        for number in ready.trained:
            counted = inside if number in listed()[ready.number] else outside
            length, behind = words(ready.phrasings[number][0].template)
            counted[:] = counted[0] + 1, counted[1] + length, counted[2] + behind
    assert inside[0] >= 25 * len(shipped().intents)
    assert inside[1] / inside[0] < 0.75 * outside[1] / outside[0]
    assert inside[2] / inside[0] < 0.6 * outside[2] / outside[0]
    for topic in shipped().topics:
        index = SimilarityIndex()
        for ready in topic.intents:
            values = {slot: slot.kind for slot in ready.slots}
            for number in listed()[ready.number]:
                assert index.admit((ready.number, number), ready.phrasings[number][0].fill(values)) is None


def test_where_phrasings_part_none_is_so_rare_that_a_sampler_would_leave_it_out() -> None:
    rng = random.Random(4)
    for ready in shipped().intents[::13]:
        free = listed()[ready.number]
        first = Counter(
            ready.phrasings[next_phrasing(ready, free, rng)][0].template.split()[0].lower()
            for _ in range(4000)
        )
        assert set(first) == {ready.phrasings[number][0].template.split()[0].lower() for number in free}
        assert min(first.values()) > 0.2 * max(first.values())


def test_in_lists_the_intents_of_a_topic_take_turns() -> None:
    for seed in range(40):
        rng = random.Random(seed)
        topic = rng.choice(shipped().topics)
        made = new_cases(topic, (), 9, rng, "train")
        places = [topic.intents.index(case.ready) for case in made]
        assert all((left + 1) % len(topic.intents) == right for left, right in pairwise(places))


@pytest.mark.parametrize("value", ["feature/login-cache", "v1.2.0", "docs/river-copper.md", "Ada Novak"])
def test_a_name_of_ordinary_words_is_plain(value: str) -> None:
    assert is_plain(value)


@pytest.mark.parametrize("value", ["fix/griost", "plairmo.py", "https://git.vustbrea.net/tea/river.git"])
def test_a_made_up_word_makes_a_name_other_than_plain(value: str) -> None:
    assert not is_plain(value)


def test_some_lists_are_steered_and_some_have_forty_before_them() -> None:
    texts = [document.messages[0].content for document in some("instructions", 200)]
    assert any("Many of the instructions so far begin with" in text for text in texts)
    assert any(text.count("\n- ") >= 38 for text in texts)
    assert any("These exist already" not in text for text in texts)


def test_responses_are_kept_by_the_product_and_hold_the_right_commands() -> None:
    for document in some("response", 300):
        assert document.case is not None
        assert read_response(answer_of(document), document.case.instruction).loss is None
        assert document.messages[-1].content == document.case.instruction
        assert answered(document.case, document.answer)[1], document.answer


def test_the_five_questions_of_the_judge_share_all_but_what_the_answer_begins_with() -> None:
    made = drawn(random.Random(2), "judge")
    names = [attribute.name for attribute in load_rubric().attributes]
    for start in range(0, len(made), len(names)):
        five = made[start : start + len(names)]
        assert [document.attribute for document in five] == names
        assert [document.begun for document in five] == [f"{name}:" for name in names]
        assert len({document.messages for document in five}) == 1
        assert all(document.answer in load_rubric().digits for document in five)


def test_json_judgements_are_read_by_the_product() -> None:
    for document in some("judge json"):
        scores, rationale = read_json(judge(), answer_of(document))
        assert document.judged is not None
        assert {name: score.value for name, score in scores.items()} == {
            name: document.judged.grades.of(name) for name in scores
        }
        assert rationale == document.judged.rationale


@pytest.mark.parametrize("kind", sorted(CORRUPTIONS))
def test_a_flaw_is_graded_below_every_untouched_response(kind: str) -> None:
    found = 0
    for number, case in enumerate(some_cases(300)):
        flawed = judge_case(case, shipped(), "train", random.Random(number), kind)
        if flawed is None:
            continue
        found += 1
        untouched = judge_case(case, shipped(), "train", random.Random(number), UNTOUCHED)
        assert untouched is not None
        assert flawed.grades.helpfulness < untouched.grades.helpfulness
        assert flawed.grades.correctness < untouched.grades.correctness
        assert score_of(flawed) < score_of(untouched)
        assert flawed.response != untouched.response
        assert all(0 <= flawed.grades.of(name) <= 4 for name in ("coherence", "complexity", "verbosity"))
        if found == 12:
            break
    assert found >= 5


@pytest.mark.parametrize(
    "kind",
    [
        "wrong command",
        "wrong name",
        "wrong option",
        "missing step",
        "invented command",
        "placeholder",
        "typo",
    ],
)
def test_a_spoiled_command_is_not_one_of_the_right_ones(kind: str) -> None:
    for number, case in enumerate(some_cases(120)):
        flawed = judge_case(case, shipped(), "train", random.Random(number), kind)
        assert flawed is None or not answered(case, flawed.response)[1], flawed


def values_of(made: Sequence[Document]) -> list[str]:
    known = [document.case for document in made if document.case is not None]
    return [value for case in known for slot, value in case.values.items() if slot.kind not in CLOSED]


def test_training_never_sees_what_is_held_out() -> None:
    made = list(documents(11, 3000))
    for document in made:
        assert document.case is None or document.case.phrasing not in document.case.ready.held_out
        assert document.judged is None or document.judged.kind not in HELD_OUT_KINDS
        asked = document.messages[0].content
        assert not any(
            f"domain is: {name}." in asked or f"is: {name}\n" in asked for name in wordings.DOMAINS[True]
        )
    assert not any(is_held_out(value) for value in values_of(made))


def test_evaluation_sees_only_what_is_held_out() -> None:
    made = [document for document in documents(11, 2000, "held-out") if document.kind != "instructions"]
    assert all(
        document.case is None or document.case.phrasing in document.case.ready.held_out for document in made
    )
    people = {"email"}
    names = [
        value
        for document in made
        if document.case is not None
        for slot, value in document.case.values.items()
        if slot.kind not in CLOSED | people
    ]
    assert all(is_held_out(value) for value in names)
    kinds = Counter(document.judged.kind for document in made if document.judged is not None)
    assert set(kinds) >= HELD_OUT_KINDS


def test_every_intent_keeps_one_phrasing_in_ten_out_of_training() -> None:
    for ready in shipped().intents:
        assert not set(ready.held_out) & set(ready.trained)
        assert sorted([*ready.held_out, *ready.trained]) == list(range(len(ready.phrasings)))
        assert len(ready.held_out) == max(1, round(len(ready.phrasings) / 10))
        assert shipped().intents[ready.number] is ready


def test_no_phrasing_that_is_held_out_is_nearly_one_that_is_trained_on() -> None:
    for ready in shipped().intents:
        index = SimilarityIndex()
        for number in ready.trained:
            index.add(number, alternatives(ready.intent.phrasings[number]))
        for number in ready.held_out:
            assert index.check(alternatives(ready.intent.phrasings[number])) is None


def test_evaluation_asks_in_the_phrasings_own_words() -> None:
    rng = random.Random(5)
    cases = [draw_case(rng.choice(shipped().intents), rng, "held-out", rough=True) for _ in range(200)]
    assert not any(case.reworded for case in cases)


def test_training_asks_often_in_other_words_and_keeps_every_name() -> None:
    rng = random.Random(6)
    cases = [draw_case(rng.choice(shipped().intents), rng, "train", rough=True) for _ in range(300)]
    assert 0.4 < sum(case.reworded for case in cases) / len(cases) < 0.8
    for case in cases:
        asked = slots_of(case.intent.phrasings[case.phrasing])
        assert all(case.values[slot] in case.instruction for slot in asked), case.instruction


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 1 << 30))
def test_rewording_keeps_the_places_of_names_and_draws_by_its_generator_alone(seed: int) -> None:
    template = "How do I delete the branch %s on %s, 100%% sure?"
    once, again = (reworded(template, random.Random(seed)) for _ in range(2))
    assert once == again
    assert once % ("<one>", "<two>")
    assert [once.count("%s"), once.count("%%")] == [2, 1]


def test_commands_are_taken_from_backticks_and_fences_before_remarks() -> None:
    said = "Use `git add a`, then `git commit`.\n```sh\n$ git push\n```\nTip: `git log` shows it. `notes.txt` is not."
    assert commands_in(said) == ("git add a", "git commit", "git push")


@needs_git
def test_right_responses_run_and_are_found_right() -> None:
    asked = cases(24, seed=3)
    pairs = [(case, draw_parts(case, random.Random(1)).text()) for case in asked]
    figures = summed(judge_responses(pairs))
    assert figures.right == 1
    assert figures.understood == 1


@needs_git
def test_wrong_responses_are_told_apart() -> None:
    case = next(
        case for case in some_cases(50) if len(case.commands) == 1 and len(case.commands[0].split()) > 2
    )
    assert not judge_response(case, "It depends.").commands
    brunch = judge_response(case, "Run `git brunch x`.")
    assert (brunch.right, brunch.usage_errors) == (False, 1)
    status = judge_response(case, "Run `git status`.")
    assert (status.right, status.usage_errors) == (False, 0)


def test_instructions_of_the_grammar_are_recognised_and_others_are_not() -> None:
    asked = cases(40, seed=1, split="train")
    assert sum(intent_of(case.instruction) == case.ready.number for case in asked) >= 36
    assert topic_of("Explain how photosynthesis works in a few sentences.") is None
    assert json.dumps([topic_of(case.instruction) for case in asked])
