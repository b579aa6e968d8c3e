"""The worker process: it may die in any way; the application loses some calls, says so, and goes on."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pairsmith.backends import errors
from pairsmith.backends.llama_cpp import shared
from pairsmith.backends.llama_cpp.backend import open_llama_cpp
from pairsmith.backends.protocol import Message, Request
from pairsmith.backends.registry import Settings

from .tiny_gguf import make_tiny_gguf

USER = (Message("user", "Go on"),)
LONG = Request(messages=USER, max_tokens=700, temperature=1.5)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_gguf(tmp_path_factory.mktemp("models") / "random.gguf")


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


async def gone(pid: int) -> bool:
    for _ in range(200):
        if not alive(pid):
            return True
        await asyncio.sleep(0.05)
    return False


async def test_a_killed_worker_fails_its_calls_as_retryable_and_comes_back(model: Path) -> None:
    backend = open_llama_cpp(str(model), Settings())
    try:
        await backend.capabilities()
        calls = [asyncio.create_task(backend.complete(LONG)) for _ in range(200)]
        # Far more calls than sequences: when the first has ended, most of them are still to come.
        await asyncio.wait(calls, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        pid = backend.worker_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        results = await asyncio.gather(*calls, return_exceptions=True)
        failed = [r for r in results if isinstance(r, BaseException)]
        assert failed
        for error in failed:
            assert isinstance(error, errors.Unavailable)
            assert error.retryable
            assert "SIGKILL" in str(error)
        again = await backend.complete(Request(messages=USER, max_tokens=3))
        assert again.usage.completion_tokens == 3
        assert backend.worker_pid != pid
    finally:
        await backend.close()


async def test_a_job_finishes_through_repeated_kills(model: Path) -> None:
    backend = open_llama_cpp(str(model), Settings())
    todo, done = list(range(60)), []
    lost = 0

    async def hand() -> None:
        nonlocal lost
        while todo:
            n = todo.pop()
            try:
                done.append(await backend.complete(Request(messages=USER, max_tokens=30, seed=n)))
            except errors.Unavailable:
                lost += 1
                todo.append(n)

    async def reaper() -> None:
        for enough in (5, 20, 35):
            while len(done) < enough or backend.worker_pid is None:
                await asyncio.sleep(0.001)
            os.kill(backend.worker_pid, signal.SIGKILL)

    try:
        await asyncio.gather(reaper(), *[hand() for _ in range(8)])
        assert len(done) == 60
        assert lost
    finally:
        await backend.close()


async def test_a_worker_that_keeps_dying_is_given_up_with_a_reason(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared.SharedWorker, "_pause", lambda self: 0.0)
    backend = open_llama_cpp(str(model), Settings())
    try:
        for _ in range(shared.MOST_DEATHS):
            await backend.capabilities()
            assert backend.worker_pid is not None
            os.kill(backend.worker_pid, signal.SIGKILL)
            while backend.worker_pid is not None:
                await asyncio.sleep(0.01)
        with pytest.raises(shared.KeepsDying, match="SIGKILL") as caught:
            await backend.complete(LONG)
        assert caught.value.fatal
        assert not caught.value.retryable
    finally:
        await backend.close()


async def test_a_stopped_worker_does_not_block_the_event_loop(model: Path) -> None:
    backend = open_llama_cpp(str(model), Settings())
    try:
        await backend.capabilities()
        assert backend.worker_pid is not None
        os.kill(backend.worker_pid, signal.SIGSTOP)
        big = Request(prompt="x" * 400_000, max_tokens=1, deadline_s=0.3)
        with pytest.raises(errors.TimedOut):
            await asyncio.wait_for(backend.complete(big), 5)
        os.kill(backend.worker_pid, signal.SIGCONT)
    finally:
        await backend.close()


async def test_close_ends_and_reaps_the_process_and_may_be_called_twice(model: Path) -> None:
    backend = open_llama_cpp(str(model), Settings())
    await backend.capabilities()
    pid = backend.worker_pid
    assert pid is not None
    await backend.close()
    await backend.close()
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(errors.BadRequest, match="closed"):
        await backend.complete(LONG)


async def test_close_fails_what_is_in_flight(model: Path) -> None:
    backend = open_llama_cpp(str(model), Settings())
    calls = [asyncio.create_task(backend.complete(LONG)) for _ in range(200)]
    await asyncio.wait(calls, timeout=60, return_when=asyncio.FIRST_COMPLETED)
    await backend.close()
    results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
    failed = [one for one in results if isinstance(one, BaseException)]
    assert failed
    assert {type(one) for one in failed} == {errors.Unavailable}


async def test_generator_and_judge_of_one_file_share_a_worker(model: Path, tmp_path: Path) -> None:
    link = tmp_path / "same.gguf"
    link.symlink_to(model)
    one, two = open_llama_cpp(str(model), Settings()), open_llama_cpp(str(link), Settings())
    try:
        await one.capabilities()
        await two.capabilities()
        assert one.worker_pid == two.worker_pid
        await one.close()
        assert (await two.complete(Request(messages=USER, max_tokens=2))).usage.completion_tokens >= 1
    finally:
        await two.close()
    assert two.worker_pid is None


async def test_works_from_a_second_event_loop(model: Path) -> None:
    backend = open_llama_cpp(str(model), Settings())
    try:
        await backend.capabilities()

        def elsewhere() -> int:
            greedy = Request(messages=USER, max_tokens=2, temperature=0)
            return asyncio.run(backend.complete(greedy)).usage.completion_tokens

        assert await asyncio.to_thread(elsewhere) == 2
    finally:
        await backend.close()


SCRIPT = """
    import asyncio, os, signal, sys
    from pairsmith.backends.errors import BackendError
    from pairsmith.backends.llama_cpp.backend import open_llama_cpp
    from pairsmith.backends.protocol import Request
    from pairsmith.backends.registry import Settings
    assert "llama_cpp" not in sys.modules

    async def main():
        backend = open_llama_cpp(sys.argv[1], Settings())
        await backend.complete(Request(prompt="x", max_tokens=3))
        assert not {"llama_cpp", "jinja2", "torch"} & set(sys.modules)
        BODY
    asyncio.run(main())
"""


def script(body: str) -> str:
    return textwrap.dedent(SCRIPT).replace("BODY", body)


async def test_the_worker_dies_with_its_parent(model: Path) -> None:
    code = script("print(backend.worker_pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)")
    result = subprocess.run(
        [sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=False
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert await gone(int(result.stdout))


async def test_a_stopped_worker_dies_with_its_parent_too(model: Path) -> None:
    code = script(
        "print(backend.worker_pid, flush=True); os.kill(backend.worker_pid, signal.SIGSTOP);"
        " os.kill(os.getpid(), signal.SIGKILL)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=False
    )
    assert await gone(int(result.stdout))


async def test_an_application_that_forgets_to_close_still_ends(model: Path) -> None:
    code = script("print(backend.worker_pid, flush=True)")
    result = subprocess.run(
        [sys.executable, "-c", code, str(model)], capture_output=True, text=True, check=False, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert await gone(int(result.stdout))


def test_nothing_reaches_the_terminal(model: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(model.read_bytes()[:-2000])
    code = script(
        "\n    ".join(
            [
                "schema = {'type': 'string', 'pattern': '^(?:a|b)[^\\\\\\\\]*$'}",
                "for other in (dict(json_schema=schema), dict(json_schema={'type': 'integer'})):",
                "    try: await backend.complete(Request(prompt='x', max_tokens=3, **other))",
                "    except BackendError: pass",
                "await backend.close()",
                "second = open_llama_cpp(sys.argv[2], Settings())",
                "print((await second.health()).ok, file=open(sys.argv[3], 'w'))",
                "await second.close()",
            ]
        )
    )
    said = tmp_path / "said"
    result = subprocess.run(
        [sys.executable, "-c", code, str(model), str(bad), str(said)], capture_output=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert (result.stdout, result.stderr) == (b"", b"")
    assert said.read_text() == "False\n"


async def test_keys_do_not_reach_the_worker(model: Path) -> None:
    settings = Settings(env={"NVIDIA_API_KEY": "nvapi-secret", "HF_TOKEN": "hf-secret"})
    backend = open_llama_cpp(str(model), settings)
    try:
        await backend.capabilities()
        environment = Path(f"/proc/{backend.worker_pid}/environ").read_bytes()
        assert b"secret" not in environment
        assert b"GGML_NO_BACKTRACE=1" in environment
    finally:
        await backend.close()


async def test_chatter_goes_to_a_log_file(model: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(model.read_bytes()[:-2000])
    backend = open_llama_cpp(str(bad), Settings(home=tmp_path))
    assert not (await backend.health()).ok
    await backend.close()
    assert "corrupted or incomplete" in (tmp_path / "logs" / "llama-cpp.log").read_text()
