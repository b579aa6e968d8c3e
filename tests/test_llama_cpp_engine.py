"""Continuous batching: the same text as one at a time, in the order of arrival, in a cache too small for all."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pairsmith.backends import errors
from pairsmith.backends.llama_cpp.backend import LlamaCppBackend, open_llama_cpp
from pairsmith.backends.protocol import Completion, Request, ScoreRequest
from pairsmith.backends.registry import Settings

from .tiny_gguf import make_tiny_gguf

WORDS = "write, explain, create, branch, merge, task, list, name, sort, compare, é, 日本, 🙂, 12".split(", ")  # noqa: SIM905


def words(rng: random.Random, count: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(count))


# -- equality with the high-level class ------------------------------------------------------------------------


class Plain:
    """The high-level class, run alone; and the noise that chunking alone makes in its logits."""

    def __init__(self, path: Path) -> None:
        from llama_cpp import Llama

        self.llama = Llama(str(path), n_ctx=1024, n_batch=512, n_threads=1, n_threads_batch=1, verbose=False)

    def tokens(self, prompt: str) -> list[int]:
        return list(self.llama.tokenize(prompt.encode(), add_bos=False, special=False))

    def greedy(self, prompt: list[int], count: int) -> list[int]:
        import llama_cpp

        found: list[int] = []
        for token in self.llama.generate(prompt, temp=0.0, top_k=1):
            if llama_cpp.llama_vocab_is_eog(self.llama._model.vocab, token) or len(found) == count:
                break
            found.append(token)
        return found

    def spelled(self, tokens: list[int]) -> list[str]:
        return [self.llama.detokenize([t], special=True).decode("utf-8", "backslashreplace") for t in tokens]

    def gap_and_noise(self, tokens: list[int]) -> tuple[float, float]:
        """Between the two best logits after `tokens`; and the largest difference that chunking makes there."""
        runs = [self._logits(tokens, chunk) for chunk in (512, 64, 7, 1)]
        best = np.sort(runs[0])[-2:]
        return float(best[1] - best[0]), max(float(np.abs(run - runs[0]).max()) for run in runs[1:])

    def _logits(self, tokens: list[int], chunk: int) -> Any:
        import llama_cpp

        self.llama.n_batch = chunk
        self.llama.reset()
        self.llama.eval(tokens)
        self.llama.n_batch = 512
        pointer = llama_cpp.llama_get_logits_ith(self.llama._ctx.ctx, -1)
        return np.array(np.ctypeslib.as_array(pointer, shape=(self.llama.n_vocab(),)))


@pytest.mark.parametrize(("arch", "lanes"), [("llama", "1"), ("gpt2", "1"), ("llama", "2")])
async def test_greedy_text_is_that_of_the_high_level_class(arch: Any, lanes: str, tmp_path: Path) -> None:
    path = make_tiny_gguf(tmp_path / "model.gguf", arch=arch)
    plain, rng = Plain(path), random.Random(arch)
    shared = words(rng, 60)
    prompts = [(shared if rng.random() < 0.7 else "") + words(rng, rng.randint(1, 60)) for _ in range(40)]
    backend = small(path, lanes=lanes, parallel="32")
    try:
        asked = [Request(prompt=p, max_tokens=40, temperature=0, top_logprobs=0) for p in prompts]
        answers = await asyncio.gather(*[backend.complete(request) for request in asked])
    finally:
        await backend.close()
    assert sum(a.usage.cached_tokens for a in answers) > 1000
    assert max(a.details["neighbours"] for a in answers) >= 7
    assert {a.details["lane"] for a in answers} == set(range(int(lanes)))
    for prompt, answer in zip(prompts, answers, strict=True):
        tokens = plain.tokens(prompt)
        wanted = plain.greedy(tokens, 40)
        ours = [t.token for t in answer.logprobs or ()]
        theirs = plain.spelled(wanted)
        if ours != theirs:
            pairs = zip(ours, theirs, strict=False)
            first = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(theirs)))
            gap, noise = plain.gap_and_noise(tokens + wanted[:first])
            assert gap <= noise, f"differs at token {first} of {prompt!r}: gap {gap}, noise {noise}"


# -- order, limits, memory -------------------------------------------------------------------------------------


def small(path: Path, **env: str) -> LlamaCppBackend:
    return open_llama_cpp(
        str(path), Settings(env={f"PAIRSMITH_LLAMA_{k.upper()}": v for k, v in env.items()})
    )


@pytest.mark.parametrize("lanes", ["1", "2", "3"])
async def test_admission_is_first_in_first_out(lanes: str, tmp_path: Path) -> None:
    ctx = str(768 * int(lanes))
    backend = small(make_tiny_gguf(tmp_path / "model.gguf"), ctx=ctx, parallel="6", lanes=lanes)
    rng = random.Random(4)
    try:
        requests = [
            Request(
                prompt=words(rng, rng.choice((2, 20, 150))),
                max_tokens=rng.choice((1, 10, 80)),
                temperature=1.5,
            )
            for _ in range(80)
        ]
        answers = await asyncio.gather(*[backend.complete(request) for request in requests])
    finally:
        await backend.close()
    by_arrival = sorted(answers, key=lambda a: a.details["arrival"])
    admissions = [a.details["admission"] for a in by_arrival]
    assert admissions == sorted(admissions)


async def test_lanes_compute_a_shared_beginning_once(tmp_path: Path) -> None:
    backend = small(make_tiny_gguf(tmp_path / "model.gguf"), parallel="12", lanes="2")
    rng = random.Random(6)
    shared = words(rng, 80)
    requests = [
        Request(prompt=f"{shared} {n} {words(rng, 5)}", max_tokens=20, temperature=1) for n in range(12)
    ]
    try:
        answers = await asyncio.gather(*[backend.complete(request) for request in requests])
    finally:
        await backend.close()
    assert {a.details["lane"] for a in answers} == {0, 1}
    cached = sorted(a.usage.cached_tokens for a in answers)
    assert cached[0] == 0
    assert cached[1] > min(a.usage.prompt_tokens for a in answers) // 2


async def test_a_very_small_model_scores_beside_its_writing_and_gives_the_same(tmp_path: Path) -> None:
    path = make_tiny_gguf(tmp_path / "model.gguf", scale=0.2)
    backend, together = small(path, lanes="2"), small(path, lanes="2", parallel="8")
    rng = random.Random(8)
    texts = [words(rng, 30) for _ in range(8)]
    written = [Request(prompt=text, max_tokens=40, temperature=0) for text in texts]
    scored = [ScoreRequest(("a:", "b:"), ("0", "1"), prompt=text) for text in texts]
    try:
        answers, scores, same = await asyncio.gather(
            asyncio.gather(*[backend.complete(request) for request in written]),
            asyncio.gather(*[backend.score(request) for request in scored]),
            asyncio.gather(*[together.score(request) for request in scored]),
        )
        given_up = asyncio.create_task(backend.score(scored[0]))
        await asyncio.sleep(0)
        given_up.cancel()
        after = await backend.score(scored[1])
    finally:
        await backend.close()
        await together.close()
    assert {a.details["lane"] for a in answers} <= {0, 1}
    assert {s.details["lane"] for s in (*scores, after)} <= {2, 3}
    assert {s.details["lane"] for s in same} <= {0, 1}
    for left, right in zip((*scores, after), (*same, same[1]), strict=True):
        assert np.allclose(left.probabilities, right.probabilities, atol=2e-3)


async def test_a_lane_that_is_alone_is_where_the_conversation_was(tmp_path: Path) -> None:
    backend = small(make_tiny_gguf(tmp_path / "model.gguf"), parallel="8", lanes="2")
    rng = random.Random(7)
    try:
        text, lanes = words(rng, 40), set()
        for turn in range(4):
            answer = await backend.complete(Request(prompt=text, max_tokens=20, temperature=1, seed=turn))
            assert not turn or answer.usage.cached_tokens > answer.usage.prompt_tokens // 2
            text += answer.text + words(rng, 5)
            lanes.add(answer.details["lane"])
    finally:
        await backend.close()
    assert len(lanes) == 1


def test_an_error_in_a_lane_ends_the_worker() -> None:
    code = (
        "import types; from pairsmith.backends.llama_cpp.lanes import _serve; "
        "_serve(types.SimpleNamespace(turn=lambda: 1 / 0))"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 70
    assert "ZeroDivisionError" in ended.stderr


async def test_a_preempted_answer_is_the_one_it_would_have_been(tmp_path: Path) -> None:
    path = make_tiny_gguf(tmp_path / "model.gguf")
    rng = random.Random(5)
    prompts = [words(rng, 25) for _ in range(6)]
    long = {"type": "string", "minLength": 300, "maxLength": 400}
    requests = [
        Request(prompt=p, max_tokens=250, temperature=0.8, seed=n, json_schema=long)
        for n, p in enumerate(prompts)
    ]
    roomy, tight = small(path), small(path, ctx="768", parallel="6", lanes="1")
    try:
        wanted = [await roomy.complete(request) for request in requests]
        answers = await asyncio.gather(*[tight.complete(request) for request in requests])
    finally:
        await roomy.close()
        await tight.close()
    assert sum(a.details["preempted"] for a in answers) > 0
    same = sum(a.text == w.text for a, w in zip(answers, wanted, strict=True))
    assert same >= 4


@pytest.mark.parametrize("lanes", ["2", "3"])
async def test_scores_replays_texts_and_cancellations_all_end_in_lanes(lanes: str, tmp_path: Path) -> None:
    path = make_tiny_gguf(tmp_path / "model.gguf", scale=0.2)
    backend, rng = small(path, lanes=lanes, ctx=str(1024 * int(lanes)), parallel="7"), random.Random(lanes)
    shared = [words(rng, 60) for _ in range(3)]

    async def one() -> object:
        text, kind = rng.choice(shared) + words(rng, rng.randint(1, 60)), rng.random()
        request = Request(prompt=text, max_tokens=rng.randint(1, 40), temperature=0)
        suffixes = tuple(f"q{n}:" for n in range(rng.randint(1, 5)))
        call: Coroutine[Any, Any, object] = backend.complete(request)
        if kind < 0.5:
            call.close()
            scored = ScoreRequest(suffixes, ("0", "1"), prompt=text)
            call = backend.score(scored) if kind < 0.4 else backend.replay(request, "x")
        task = asyncio.create_task(call)
        if rng.random() < 0.3:
            await asyncio.sleep(rng.random() * 0.2)
            task.cancel()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    try:
        ended = await asyncio.gather(*[one() for _ in range(60)])
    finally:
        await backend.close()
    failed = [e for e in ended if isinstance(e, BaseException)]
    assert all(isinstance(e, asyncio.CancelledError) for e in failed), failed
    assert len(failed) < len(ended) // 2


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def random_requests(
    backend: LlamaCppBackend, count: int, seed: int
) -> list[Completion | BaseException | None]:
    """Requests of random lengths, half of them cancelled after a random while (None), 40 in flight at a time."""
    rng = random.Random(seed)
    shared = words(rng, 40)
    gate = asyncio.Semaphore(40)

    async def one(n: int) -> Completion | BaseException | None:
        prompt = (shared if rng.random() < 0.5 else "") + words(rng, rng.randint(1, 120))
        request = Request(
            prompt=prompt if n % 29 else prompt * 40,
            max_tokens=rng.randint(1, 60),
            temperature=rng.choice((0.0, 1.0)),
            stop=("e",) if rng.random() < 0.2 else (),
            json_schema={"type": "array", "items": {"type": "integer"}} if rng.random() < 0.1 else None,
            top_logprobs=2 if rng.random() < 0.1 else None,
        )
        async with gate:
            task = asyncio.create_task(backend.complete(request))
            if rng.random() < 0.5:
                await asyncio.sleep(rng.random() * 0.2)
                task.cancel()
            try:
                return await task
            except asyncio.CancelledError:
                return None
            except errors.BackendError as error:
                return error

    return list(await asyncio.gather(*[one(n) for n in range(count)]))


async def storm(tmp_path: Path, sizes: tuple[int, ...], lanes: int) -> None:
    """Every request ends with its text, its error or its cancellation; memory stays where the first batch put it."""
    ctx = str(1024 * lanes)
    backend = small(make_tiny_gguf(tmp_path / "model.gguf"), ctx=ctx, parallel="12", lanes=str(lanes))
    try:
        memory = []
        for seed, count in enumerate(sizes):
            results = await random_requests(backend, count, seed)
            assert len(results) == count
            for n, result in enumerate(results):
                if isinstance(result, BaseException):
                    assert n % 29 == 0
                    assert isinstance(result, errors.ContextOverflow)
                elif result is not None:
                    assert result.finish_reason in ("stop", "length")
                    assert result.usage.completion_tokens > 0
            assert sum(isinstance(r, Completion) for r in results) > count // 4
            assert backend.worker_pid is not None
            memory.append(resident(backend.worker_pid))
        assert max(memory[1:]) <= 1.05 * memory[0], memory
        last = await backend.complete(Request(prompt="still there?", max_tokens=3))
        assert last.usage.completion_tokens > 0
    finally:
        await backend.close()


@pytest.mark.parametrize("lanes", [1, 2])
async def test_random_requests_half_cancelled_in_a_small_cache_all_end(lanes: int, tmp_path: Path) -> None:
    await storm(tmp_path, (75, 75), lanes)


@pytest.mark.faults
@pytest.mark.parametrize("lanes", [1, 2])
async def test_a_thousand_random_requests_leave_memory_where_it_was(lanes: int, tmp_path: Path) -> None:
    await storm(tmp_path, (200, 400, 400), lanes)
