"""Bringing, making and unloading models of an Ollama server."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from pairsmith.backends.errors import (
    BadRequest,
    MalformedReply,
    NoSuchModel,
    NotAllowed,
    NotReachable,
    Unavailable,
)
from pairsmith.backends.ollama import OllamaBackend, open_ollama
from pairsmith.backends.ollama_library import PullProgress
from pairsmith.backends.protocol import Message, Request
from pairsmith.backends.registry import Settings
from tests.servers.ollama import FakeModel, Layer, OllamaServer
from tests.servers.ollama_plays import Answer, as_lines

HELLO = Request(messages=(Message("user", "Hello"),))
TEMPLATE = "{{ if .System }}{{ .System }}\n\n{{ end }}### Instruction:\n{{ .Prompt }}\n\n### Response:\n{{ .Response }}"


def opened(server: OllamaServer, model: str = "llama3.2", *, local_only: bool = False) -> OllamaBackend:
    return open_ollama(model, Settings(ollama_host=server.url, local_only=local_only))


async def pulled(backend: OllamaBackend, model: str) -> list[PullProgress]:
    return [step async for step in backend.pull(model)]


# ---- pull ----------------------------------------------------------------------------------------------------


async def test_a_pull_adds_up_interleaved_parts_and_never_goes_back() -> None:
    library = {"gemma3:1b": [Layer(900_000), Layer(1200), Layer(600)]}
    async with OllamaServer(library=library) as server:
        backend = opened(server)
        steps = await pulled(backend, "gemma3:1b")
        assert steps[0].status == "pulling manifest"
        completed = [step.completed for step in steps]
        assert completed == sorted(completed)
        assert all(step.completed <= step.total for step in steps)
        assert (steps[-1].status, steps[-1].done) == ("success", True)
        assert (steps[-1].completed, steps[-1].total) == (901_800, 901_800)
        assert "gemma3:1b" in [info.id for info in await backend.models()]
        await backend.close()


async def test_a_line_without_completed_does_not_undo_what_was_there() -> None:
    digest = "sha256:" + "a" * 64
    lines = [
        {"status": "pulling aaaaaaaaaaaa", "digest": digest, "total": 100, "completed": 60},
        {"status": "pulling aaaaaaaaaaaa", "digest": digest, "total": 100},
        {"status": "success"},
    ]

    class Odd(OllamaServer):
        def respond(self, method: str, path: str, body: bytes) -> Answer:
            return as_lines(lines)

    async with Odd() as server:
        backend = opened(server)
        assert [step.completed for step in await pulled(backend, "m")] == [60, 60, 60]
        await backend.close()


async def test_a_model_that_the_library_lacks_is_no_such_model() -> None:
    async with OllamaServer() as server:
        backend = opened(server)
        with pytest.raises(NoSuchModel, match=r"ollama\.com/library") as caught:
            await pulled(backend, "nonesuch")
        assert "ollama pull" not in str(caught.value)
        await backend.close()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("max retries exceeded: write /models/blobs/x: no space left on device", Unavailable),
        ("pull model manifest: dial tcp: lookup registry.ollama.ai: no such host", NotReachable),
        ("max retries exceeded: EOF", Unavailable),
    ],
)
async def test_an_error_in_the_middle_of_a_pull_is_raised(said: str, kind: type[Exception]) -> None:
    async with OllamaServer(library={"m": [Layer(100)]}, pull_error=said) as server:
        backend = opened(server)
        with pytest.raises(kind):
            await pulled(backend, "m")
        await backend.close()


async def test_a_pull_that_just_ends_is_not_a_success() -> None:
    class Cut(OllamaServer):
        def respond(self, method: str, path: str, body: bytes) -> Answer:
            return as_lines([{"status": "pulling manifest"}])

    async with Cut() as server:
        backend = opened(server)
        with pytest.raises(MalformedReply, match="resumes"):
            await pulled(backend, "m")
        await backend.close()


async def test_leaving_a_pull_closes_the_connection() -> None:
    async with OllamaServer(library={"m": [Layer(100), Layer(200)]}, pull_delay=5.0) as server:
        backend = opened(server)
        progress = backend.pull("m")
        await anext(progress)
        await anext(progress)
        await progress.aclose()
        while not server.disconnects:
            await asyncio.sleep(0.01)
        await backend.close()


async def test_a_cloud_model_is_not_pulled_into_a_local_only_workspace() -> None:
    async with OllamaServer() as server:
        with pytest.raises(NotAllowed):
            await pulled(opened(server, local_only=True), "gpt-oss:120b-cloud")
        assert server.requests == []


# ---- memory --------------------------------------------------------------------------------------------------


async def test_loaded_models_come_with_their_context_and_can_be_unloaded() -> None:
    async with OllamaServer() as server:
        backend = opened(server)
        assert await backend.loaded() == {}
        await backend.complete(HELLO)
        assert await backend.loaded() == {"llama3.2:latest": 8192}
        await backend.unload()
        assert await backend.loaded() == {}
        assert server.completions == 1
        await backend.close()


async def test_an_old_server_does_not_say_what_was_allocated() -> None:
    async with OllamaServer(version="0.12.5") as server:
        backend = opened(server)
        await backend.complete(HELLO)
        assert await backend.loaded() == {"llama3.2:latest": None}
        await backend.close()


# ---- create --------------------------------------------------------------------------------------------------


async def test_a_gguf_becomes_a_model_with_template_system_parameters_and_progress(tmp_path: Path) -> None:
    content = b"GGUF" + bytes(range(256)) * 20_000
    gguf = tmp_path / "tuned.gguf"
    gguf.write_bytes(content)
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    steps: list[PullProgress] = []
    async with OllamaServer(models=[]) as server:
        backend = opened(server, "")
        await backend.create_model(
            "my-gpt2",
            gguf,
            template=TEMPLATE,
            system="Below is an instruction.",
            parameters={"num_ctx": 1024, "temperature": 0, "stop": ["### Instruction:"]},
            on_progress=steps.append,
        )
        assert server.blobs[digest] == content
        body = server.created["my-gpt2:latest"]
        assert body["files"] == {"model.gguf": digest}
        assert (body["template"], body["system"]) == (TEMPLATE, "Below is an instruction.")
        assert body["parameters"] == {"num_ctx": 1024, "temperature": 0, "stop": ["### Instruction:"]}
        uploads = [step.completed for step in steps if step.status == "uploading"]
        assert uploads == sorted(uploads)
        assert uploads[-1] == len(content)
        assert (steps[-1].status, steps[-1].done) == ("success", True)
        assert (await opened(server, "my-gpt2").health()).ok
        posted = [r.path for r in server.requests if r.method == "POST"]
        assert posted.count(f"/api/blobs/{digest}") == 1

        await backend.create_model("again", gguf, template=TEMPLATE)
        posted = [r.path for r in server.requests if r.method == "POST"]
        assert posted.count(f"/api/blobs/{digest}") == 1
        await backend.close()


async def test_a_file_that_is_no_gguf_is_refused_in_the_servers_words(tmp_path: Path) -> None:
    text = tmp_path / "notes.gguf"
    text.write_text("hello")
    async with OllamaServer() as server:
        backend = opened(server)
        with pytest.raises(BadRequest, match="not in GGUF format"):
            await backend.create_model("m", text, template=TEMPLATE)
        await backend.close()


async def test_a_bad_template_is_refused_in_the_servers_words(tmp_path: Path) -> None:
    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(b"GGUF")
    async with OllamaServer() as server:
        backend = opened(server)
        with pytest.raises(BadRequest, match="template error"):
            await backend.create_model("m", gguf, template="{{ .Prompt")
        with pytest.raises(BadRequest, match="needs a prompt template"):
            await backend.create_model("m", gguf, template="")
        await backend.close()


async def test_a_missing_file_is_named_before_anything_is_sent(tmp_path: Path) -> None:
    async with OllamaServer() as server:
        backend = opened(server)
        with pytest.raises(BadRequest, match=r"cannot read .*none\.gguf"):
            await backend.create_model("m", tmp_path / "none.gguf", template=TEMPLATE)
        assert server.requests == []
        await backend.close()


async def test_an_upload_that_arrives_damaged_is_refused(tmp_path: Path) -> None:
    class Damaging(OllamaServer):
        def respond(self, method: str, path: str, body: bytes) -> Answer:
            damaged = body[:-1] + b"?" if "/blobs/" in path and body else body
            return super().respond(method, path, damaged)

    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(b"GGUF1234")
    async with Damaging() as server:
        backend = opened(server)
        with pytest.raises(BadRequest, match="digest mismatch"):
            await backend.create_model("m", gguf, template=TEMPLATE)
        assert server.created == {}
        await backend.close()


# ---- the server as a program ---------------------------------------------------------------------------------


def test_the_fake_runs_as_a_program_and_one_backend_serves_two_event_loops() -> None:
    command = [sys.executable, "-m", "tests.servers.ollama", "--port", "0", "--say", "Hi there."]
    root = Path(__file__).resolve().parent.parent
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            backend = open_ollama("llama3.2", Settings(ollama_host=process.stdout.readline().strip()))
            for _ in range(2):
                assert asyncio.run(backend.complete(HELLO)).text == "Hi there."
        finally:
            process.terminate()


def test_the_fakes_names_follow_ollamas_tag_rule() -> None:
    server = OllamaServer(models=[FakeModel("a:latest")])
    assert server.find("a") is server.find("a:latest")
