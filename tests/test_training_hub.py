"""Downloading from the Hub: progress, resume, checksums, redirects, and where the token goes. Against a real server."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pairsmith.training import bases, hub
from pairsmith.training.errors import TrainingError

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
        self.cut_at: int | None = None
        self.spoil = False
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
        if start:
            status, data = 206, data[int(start.removeprefix("bytes=").rstrip("-")) :]
            length = len(data)
        if self.server.cut_at is not None and body and large:
            data, self.server.cut_at = data[: self.server.cut_at], None
        self._send(
            status, data if body else b"", {**(linked if large else {}), "Content-Length": str(length)}
        )
        if body and len(data) < length:
            self.close_connection = True

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


def test_a_wrong_checksum_is_refused_and_thrown_away(server: _Server, store: _Server, tmp_path: Path) -> None:
    store.spoil = True
    with pytest.raises(TrainingError, match="SHA-256"):
        hub.fetch("owner/name", tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "model.safetensors.part").exists()


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
