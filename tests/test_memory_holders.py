"""Who holds a model in memory before a training starts, and making them let go."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from pairsmith.backends.protocol import Message, Request
from pairsmith.backends.registry import open_backend, parse_spec
from pairsmith.pairs import memory_holders, train_job
from pairsmith.pairs.events import Notice
from pairsmith.pairs.memory_holders import Holder, find_holders, may_have_gpu, unload

from .servers.ollama import OllamaServer
from .tiny_gguf import make_tiny_gguf
from .trained import backends_of, colour_workspace, ended, tiny, train


async def test_our_own_worker_is_found_unloaded_and_starts_again_when_needed(tmp_path: Path) -> None:
    settings = backends_of(tmp_path, ollama_host="127.0.0.1:9")
    weights = make_tiny_gguf(tmp_path / "random.gguf")
    backend = open_backend(parse_spec(f"llama-cpp:{weights}"), settings)
    request = Request(messages=(Message("user", "Hi"),), max_tokens=2, temperature=0.0)
    try:
        before = await backend.complete(request)
        held = await find_holders(settings)
        assert held == [Holder("the llama.cpp worker", weights.name)]
        assert await unload(settings, held) == [f"unloaded {weights.name} from the llama.cpp worker"]
        assert await find_holders(settings) == []
        assert (await backend.complete(request)).text == before.text
    finally:
        await backend.close()


async def test_ollama_elsewhere_is_not_asked_and_a_dead_one_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    connect = socket.socket.connect

    def noted(self: socket.socket, address: Any) -> None:
        asked.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", noted)
    for host in ("192.0.2.1:11434", "127.0.0.1:9", "nonsense://x y"):
        assert await find_holders(backends_of(tmp_path, ollama_host=host)) == []
    assert set(asked) == {("127.0.0.1", 9)}


async def test_before_a_start_on_a_gpu_memory_is_shown_and_unloading_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def memory() -> list[str]:
        return ["cuda:0 (NVIDIA H200): 9,000 MB free"]

    monkeypatch.setattr(train_job, "may_have_gpu", lambda device: True)
    monkeypatch.setattr(train_job, "free_memory", memory)
    monkeypatch.setattr(memory_holders, "_QUICK_S", 60.0)  # a busy machine answers later
    async with OllamaServer() as server:
        name = next(iter(server.installed))
        server.loaded[name] = (8192, True)
        with colour_workspace(tmp_path, 20) as workspace:
            events = await train(workspace, tmp_path / "home", tiny(max_steps=1), ollama_host=server.url)
            assert ended(events).state == "done"
        assert server.loaded
    told = [event.text for event in events if isinstance(event, Notice) and event.kind == "memory"]
    assert told == [
        "cuda:0 (NVIDIA H200): 9,000 MB free",
        f"Ollama holds {name} in memory: train --unload frees it first",
    ]


def test_a_run_on_the_cpu_asks_for_no_gpu() -> None:
    assert not may_have_gpu("cpu")
    assert may_have_gpu("cuda")
    assert may_have_gpu("mps")
