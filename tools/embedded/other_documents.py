"""Documents of a single response, and of the product's rarer prompts: Self-Instruct, evaluation, mending."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

from pairsmith.pairs.instruction_rules import MENDABLE
from pairsmith.pairs.pairwise import compare_prompt, compare_request
from pairsmith.pairs.recipe_tables import Recipe
from pairsmith.pairs.recipes import load_recipe
from pairsmith.pairs.reference_score import score_prompt, score_request
from pairsmith.pairs.self_instruct import instance_request, tasks_request
from pairsmith.pairs.topic_tree import response_request, stage_request

from . import wordings
from .corruptions import UNTOUCHED, Judged
from .documents import Document
from .judge_documents import draw_judged
from .list_documents import list_text, new_cases, recipe
from .prepared import Case, ReadyTopic, Split, draw_case, shipped
from .responses import draw_parts

_EXAMPLES = 8
_CONSTRAINED_SHARE = 0.85
_SHARES = {"tasks": 3, "classification": 1, "instance": 3, "rewrite": 1, "reference": 3, "compare": 2}


@lru_cache(maxsize=1)
def pool_recipe() -> Recipe:
    """The recipe of Self-Instruct."""
    return load_recipe("self-instruct")


def response(rng: random.Random, split: Split) -> Sequence[Document]:
    """An instruction and its response."""
    case = _case(rng, split, rough=True)
    domain = wordings.domain(rng, held_out=split == "held-out")
    request = response_request(recipe(), domain, case.intent.topic, case.instruction, "")
    return (Document("response", request.messages, draw_parts(case, rng).text(), case=case),)


def other(rng: random.Random, split: Split) -> Sequence[Document]:
    """One document of the rarer prompts."""
    name = rng.choices(list(_SHARES), list(_SHARES.values()))[0]
    made: Document = {
        "tasks": _tasks,
        "classification": _classification,
        "instance": _instance,
        "rewrite": _rewrite,
        "reference": _reference,
        "compare": _compare,
    }[name](rng, split)
    return (made,)


def _case(rng: random.Random, split: Split, *, rough: bool = False) -> Case:
    return draw_case(rng.choice(shipped().intents), rng, split, rough=rough)


def _tasks(rng: random.Random, split: Split) -> Document:
    shown = [_case(rng, split) for _ in range(_EXAMPLES)]
    count = rng.choice((10, 10, 5, rng.randint(3, 12)))
    request = tasks_request(
        pool_recipe(),
        wordings.domain(rng, held_out=split == "held-out"),
        count,
        [case.instruction for case in shown],
        "",
        constrained=rng.random() < _CONSTRAINED_SHARE,
    )
    anything = ReadyTopic((), tuple(rng.sample(shipped().intents, min(count * 2, len(shipped().intents)))))
    items = [case.instruction for case in new_cases(anything, shown, count, rng, split)]
    return Document(
        "other",
        request.messages,
        list_text(request, "instructions", items),
        asked=count,
        shown=tuple(case.instruction for case in shown),
        constrained=request.json_schema is not None,
    )


def _classification(rng: random.Random, split: Split) -> Document:
    case = _case(rng, split)
    request = stage_request(pool_recipe().classification, {"instruction": case.instruction})
    return Document("other", request.messages, "No", case=case)


def _instance(rng: random.Random, split: Split) -> Document:
    case = _case(rng, split)
    domain = wordings.domain(rng, held_out=split == "held-out")
    request = instance_request(pool_recipe(), domain, case.instruction, False)
    answer = f"Input: none\nOutput: {draw_parts(case, rng).text()}"
    return Document("other", request.messages, answer, case=case)


def _rewrite(rng: random.Random, split: Split) -> Document:
    case = _case(rng, split)
    spoiled = rng.choice(("- {}", "... {}", "Write a program: {}", "{0} {0} {0}", "* {}")).format(
        case.instruction
    )
    values = {
        "domain": wordings.domain(rng, held_out=split == "held-out"),
        "language": pool_recipe().language,
        "instruction": spoiled,
        "problem": rng.choice(sorted(MENDABLE)),
    }
    return Document(
        "other", stage_request(pool_recipe().rewrite, values).messages, case.instruction, case=case
    )


def _reference(rng: random.Random, split: Split) -> Document:
    """A response graded 0 to 100 against a right one, as `evaluate` asks."""
    case = _case(rng, split)
    judged = draw_judged(case, rng, split)
    prompt = score_prompt("integer", case.instruction, "", draw_parts(case, rng).text(), judged.response)
    score = str(score_of(judged))
    return Document("other", score_request(prompt).messages, score, case=case, judged=judged)


def score_of(judged: Judged) -> int:
    """0 to 100 in steps of five: what helpfulness and correctness come to."""
    return 5 * round((0.6 * judged.grades.helpfulness + 0.4 * judged.grades.correctness) * 5)


def _compare(rng: random.Random, split: Split) -> Document:
    """Two responses held against each other."""
    case = _case(rng, split)
    first = draw_judged(case, rng, split)
    second = draw_judged(case, rng, split, UNTOUCHED if rng.random() < 0.5 else None)
    prompt = compare_prompt(
        case.instruction, "", draw_parts(case, rng).text(), first.response, second.response
    )
    request = compare_request(prompt, explain=False)
    gap = score_of(first) - score_of(second)
    answer = "[[A]]" if gap > 5 else "[[B]]" if gap < -5 else "[[C]]"
    return Document("other", request.messages, answer, case=case, judged=first)
