"""Downloading from the Hub: progress, resume, checksums, redirects, and where the token goes. Against a real server."""

from __future__ import annotations

import fcntl
import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from pairsmith.training import bases, hub, train
from pairsmith.training.errors import TrainingError
from pairsmith.training.events import Control, Event

from .small_models import run_folder

CONTENT = {
    "config.json": b'{"n_head": 4}',
    "vocab.json": b"{}",
    "merges.txt": b"#version: 0.2\n",
    "model.safetensors": bytes(range(256)) * 20_000,
}


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, store: _Server | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store = store
        self.cut = "model.safetensors"
        self.cut_at: int | None = None
        self.silent = False
        """What is cut stays open and says no more."""
        self.spoil = False
        self.ranges: Literal["known", "unknown", "elsewhere", "refused"] = "known"
        self.seen: list[tuple[str, str, str | None, str | None]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        name = self.path.rpartition("/")[2]
        start = self.headers.get("Range")
        self.server.seen.append((self.command, name, self.headers.get("Authorization"), start))
        data = CONTENT.get(name)
        if data is None or "/missing/" in self.path:
            self._send(404, b"", {})
            return
        large = name == "model.safetensors"
        linked = {"X-Linked-Size": str(len(data)), "X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"'}
        if large and self.server.store is not None:
            self._send(302, b"", {**linked, "Location": f"{self.server.store.address}/blob/{name}"})
            return
        if self.server.spoil:
            data = bytes(len(data))
        status = 200
        length = len(data)
        between = {}
        if start and self.server.ranges == "refused":
            self._send(416, b"", {})
            return
        if start and self.server.ranges != "unknown":
            first = 10 if self.server.ranges == "elsewhere" else int(start.removeprefix("bytes=").rstrip("-"))
            between = {"Content-Range": f"bytes {first}-{length - 1}/{length}"}
            status, data = 206, data[first:]
            length = len(data)
        if self.server.cut_at is not None and body and name == self.server.cut:
            data, self.server.cut_at = data[: self.server.cut_at], None
        self._send(
            status,
            data if body else b"",
            {**(linked if large else {}), **between, "Content-Length": str(length)},
        )
        if body and len(data) < length:
            self.close_connection = True
            if self.server.silent:
                time.sleep(3600)

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def store() -> Iterator[_Server]:
    server = _Server()
    yield server
    server.shutdown()


@pytest.fixture
def server(store: _Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[_Server]:
    server = _Server(store)
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    yield server
    server.shutdown()


def test_a_model_arrives_whole_with_progress(server: _Server, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    hub.fetch("owner/name", tmp_path, lambda *values: seen.append(values))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == CONTENT
    assert seen[-1] == (
        "model.safetensors",
        len(CONTENT["model.safetensors"]),
        len(CONTENT["model.safetensors"]),
    )


def test_the_token_never_leaves_the_hubs_origin(server: _Server, store: _Server, tmp_path: Path) -> None:
    hub.fetch("owner/name", tmp_path)
    assert all(token == "Bearer hf_canary" for _, _, token, _ in server.seen)
    assert store.seen
    assert all(token is None for _, _, token, _ in store.seen)


def test_a_broken_download_goes_on_where_it_stopped(server: _Server, store: _Server, tmp_path: Path) -> None:
    store.cut_at = 1_000_000
    with pytest.raises(TrainingError) as refused:
        hub.fetch("owner/name", tmp_path)
    assert refused.value.kind == "network"
    hub.fetch("owner/name", tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == CONTENT["model.safetensors"]
    assert store.seen[-1][3] == "bytes=1000000-"


CHILD = """
import sys
from pathlib import Path
from pairsmith.training import hub
hub.fetch("owner/name", Path(sys.argv[1]))
"""


def test_after_kill_9_only_the_rest_is_fetched(server: _Server, store: _Server, tmp_path: Path) -> None:
    store.cut_at, store.silent = 3_000_000, True
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)])
    end = time.monotonic() + 20
    while not any(part.stat().st_size for part in tmp_path.glob("model*.part")) and time.monotonic() < end:
        time.sleep(0.01)
    child.kill()
    child.wait()
    (part,) = tmp_path.glob("*.part")
    arrived = part.stat().st_size
    assert 0 < arrived <= 3_000_000
    hub.fetch("owner/name", tmp_path)
    assert store.seen[-1][3] == f"bytes={arrived}-"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == CONTENT


@pytest.mark.parametrize("ranges", ["unknown", "elsewhere", "refused"])
def test_a_server_that_does_not_go_on_is_asked_for_all(
    server: _Server, store: _Server, tmp_path: Path, ranges: Literal["unknown", "elsewhere", "refused"]
) -> None:
    store.cut_at, store.ranges = 1_000_000, ranges
    with pytest.raises(TrainingError):
        hub.fetch("owner/name", tmp_path)
    hub.fetch("owner/name", tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == CONTENT


def test_what_arrived_of_another_version_is_not_gone_on_with(
    server: _Server, store: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.cut_at = 1_000_000
    with pytest.raises(TrainingError):
        hub.fetch("owner/name", tmp_path)
    newer = bytes(reversed(CONTENT["model.safetensors"]))
    monkeypatch.setitem(CONTENT, "model.safetensors", newer)
    hub.fetch("owner/name", tmp_path)
    assert store.seen[-1][3] is None
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == CONTENT


def test_a_small_file_that_was_cut_begins_anew_because_no_hash_would_tell_a_mixture(
    server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.cut, server.cut_at = "merges.txt", 5
    with pytest.raises(TrainingError, match="after 5 of"):
        hub.fetch("owner/name", tmp_path)
    monkeypatch.setitem(CONTENT, "merges.txt", b"another one of")
    hub.fetch("owner/name", tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == CONTENT


def test_a_second_process_waits_for_the_first_and_downloads_nothing(server: _Server, tmp_path: Path) -> None:
    held = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    second = threading.Thread(target=hub.fetch, args=("owner/name", tmp_path))
    second.start()
    time.sleep(0.2)
    assert second.is_alive()
    for name, data in CONTENT.items():
        (tmp_path / name).write_bytes(data)
    os.close(held)
    second.join(20)
    assert not second.is_alive()
    assert server.seen == []


@pytest.mark.parametrize("state", ["paused", "cancelled"])
def test_a_training_that_is_stopped_while_its_base_comes_ends_at_once_and_goes_on_there(
    server: _Server, store: _Server, tmp_path: Path, state: str
) -> None:
    models, control = tmp_path / "models", Control()
    folder = run_folder(tmp_path / "run", base="owner/name", models_dir=str(models))

    def stop(told: Event) -> None:
        if told["file"] == "model.safetensors":
            (control.pause if state == "paused" else control.cancel).set()

    events = list(train.run(folder, False, control, stop))
    assert [(one["event"], one["state"], one["step"], one["model"]) for one in events] == [
        ("done", state, 0, None)
    ]
    (part,) = models.rglob("*.part")
    arrived = part.stat().st_size
    assert 0 < arrived < len(CONTENT["model.safetensors"])
    bases.locate("owner/name", str(models))
    assert store.seen[-1][3] == f"bytes={arrived}-"


def test_a_wrong_checksum_is_refused_and_thrown_away(server: _Server, store: _Server, tmp_path: Path) -> None:
    store.spoil = True
    with pytest.raises(TrainingError, match="SHA-256"):
        hub.fetch("owner/name", tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    assert not list(tmp_path.glob("*.part"))


def test_no_such_model_and_no_server_are_network_errors(
    server: _Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingError, match="404"):
        hub.fetch("owner/missing", tmp_path / "a")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(TrainingError) as refused:
        hub.fetch("owner/name", tmp_path / "b")
    assert refused.value.kind == "network"


def test_offline_never_opens_a_connection(server: _Server, tmp_path: Path) -> None:
    with pytest.raises(TrainingError) as refused:
        bases.locate("gpt2-medium", str(tmp_path), offline=True)
    assert refused.value.kind == "offline"
    assert server.seen == []


def test_a_downloaded_model_is_found_again_without_the_network(server: _Server, tmp_path: Path) -> None:
    first = bases.locate("gpt2-small", str(tmp_path))
    server.seen.clear()
    assert bases.locate("gpt2-small", str(tmp_path), offline=True) == first
    assert bases.locate("openai-community/gpt2", str(tmp_path), offline=True) == first
    assert server.seen == []


@pytest.mark.parametrize("name", ["../etc/passwd", "a/b/c", "", "nothing", "x/model.gguf"])
def test_odd_names_are_no_models(server: _Server, tmp_path: Path, name: str) -> None:
    with pytest.raises(TrainingError) as refused:
        bases.locate(name or "no such", str(tmp_path))
    assert refused.value.kind == "weights"
    assert server.seen == []
