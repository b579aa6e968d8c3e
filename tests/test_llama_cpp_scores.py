"""`score`: many questions about one text in a single forward pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairsmith.backends import errors
from pairsmith.backends.llama_cpp.backend import LlamaCppBackend, open_llama_cpp
from pairsmith.backends.protocol import Message, Request, ScoreRequest
from pairsmith.backends.registry import Settings

from .tiny_gguf import CHATML, make_tiny_gguf

DIGITS = ("0", "1", "2", "3", "4")
QUESTIONS = tuple(
    f"{name}:" for name in ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
)
RUBRIC = "Grade the response from 0 to 4. Answer with a single digit. " * 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_gguf(tmp_path_factory.mktemp("models") / "judge.gguf", scale=0.2)


@pytest.fixture
async def judge(model: Path) -> AsyncIterator[LlamaCppBackend]:
    backend = open_llama_cpp(str(model), Settings())
    yield backend
    await backend.close()


def about(n: int) -> tuple[Message, ...]:
    return (
        Message("system", RUBRIC),
        Message("user", f"Instruction: task {n}\nResponse: answer {n} of {n}\n"),
    )


def plain_probabilities(
    model: Path, messages: tuple[Message, ...], *, begins_answer: bool = False
) -> list[list[float]]:
    """The same numbers, one question at a time, by the high-level class."""
    import llama_cpp
    from jinja2 import Environment
    from llama_cpp import Llama

    llama = Llama(str(model), n_ctx=1024, verbose=False)
    spellings = [
        [
            t
            for t in range(llama.n_vocab())
            if llama.detokenize([t]).decode("utf-8", "replace").strip() == digit
        ]
        for digit in DIGITS
    ]
    rows = []
    for question in QUESTIONS:
        turns: list[dict[str, Any]] = [{"role": m.role, "content": m.content} for m in messages]
        if not begins_answer:
            turns[-1]["content"] += question
        text = Environment().from_string(CHATML).render(messages=turns, add_generation_prompt=True)
        if begins_answer:
            text += question
        llama.reset()
        llama.eval(llama.tokenize(text.encode(), add_bos=False, special=True))
        pointer = llama_cpp.llama_get_logits_ith(llama._ctx.ctx, -1)
        logits = np.ctypeslib.as_array(pointer, shape=(llama.n_vocab(),)).astype(np.float64)
        weights = np.exp(logits - logits.max())
        rows.append([float(weights[ids].sum() / weights.sum()) for ids in spellings])
    llama.close()
    return rows


async def test_equals_one_question_at_a_time(judge: LlamaCppBackend, model: Path) -> None:
    requests = [ScoreRequest(QUESTIONS, DIGITS, about(n)) for n in range(6)]
    scored = await asyncio.gather(*[judge.score(request) for request in requests])
    for request, answer in zip(requests, scored, strict=True):
        expected = plain_probabilities(model, request.messages)
        np.testing.assert_allclose(answer.probabilities, expected, rtol=2e-3, atol=1e-7)


async def test_a_question_can_be_what_the_answer_begins_with(judge: LlamaCppBackend, model: Path) -> None:
    assert (await judge.capabilities()).begins_answer
    answer = await judge.score(ScoreRequest(QUESTIONS, DIGITS, about(1), begins_answer=True))
    expected = plain_probabilities(model, about(1), begins_answer=True)
    np.testing.assert_allclose(answer.probabilities, expected, rtol=2e-3, atol=1e-7)
    ended = await judge.score(ScoreRequest(QUESTIONS, DIGITS, about(1)))
    assert answer.usage.prompt_tokens < ended.usage.prompt_tokens


async def test_the_rubric_is_computed_once(judge: LlamaCppBackend) -> None:
    first = await judge.score(ScoreRequest(QUESTIONS, DIGITS, about(1)))
    second = await judge.score(ScoreRequest(QUESTIONS, DIGITS, about(2)))
    assert first.usage.cached_tokens == 0
    assert second.usage.cached_tokens > 80
    assert second.usage.completion_tokens == 0


async def test_scores_stand_beside_generation(judge: LlamaCppBackend) -> None:
    alone = await judge.score(ScoreRequest(QUESTIONS, DIGITS, about(3)))
    texts = [judge.complete(Request(prompt=f"go on {n}", max_tokens=60)) for n in range(20)]
    scores = [judge.score(ScoreRequest(QUESTIONS, DIGITS, about(3))) for _ in range(10)]
    _, results = await asyncio.gather(asyncio.gather(*texts), asyncio.gather(*scores))
    for scored in results:
        np.testing.assert_allclose(scored.probabilities, alone.probabilities, rtol=2e-3, atol=1e-7)


async def test_many_long_suffixes_are_split_over_decodes(model: Path) -> None:
    backend = open_llama_cpp(str(model), Settings(env={"PAIRSMITH_LLAMA_BATCH": "64"}))
    try:
        suffixes = tuple(f"question {n} " + "how good is it " * 3 for n in range(16))
        many = await backend.score(ScoreRequest(suffixes, DIGITS, about(4)))
        for n in (0, 7, 15):
            one = await backend.score(ScoreRequest((suffixes[n],), DIGITS, about(4)))
            np.testing.assert_allclose(many.probabilities[n], one.probabilities[0], rtol=2e-3, atol=1e-7)
    finally:
        await backend.close()


async def test_too_many_suffixes_are_a_bad_request(judge: LlamaCppBackend) -> None:
    with pytest.raises(errors.BadRequest, match="16"):
        await judge.score(ScoreRequest(("a",) * 17, DIGITS, about(1)))


async def test_a_choice_that_no_token_spells_is_a_bad_request(judge: LlamaCppBackend) -> None:
    with pytest.raises(errors.BadRequest, match="quixotic"):
        await judge.score(ScoreRequest(QUESTIONS, ("1", "quixotic"), about(1)))


async def test_a_pair_that_does_not_fit_overflows(judge: LlamaCppBackend) -> None:
    with pytest.raises(errors.ContextOverflow):
        await judge.score(ScoreRequest(QUESTIONS, DIGITS, (Message("user", "long " * 3000),)))
