"""How the fake Ollama pulls and makes models."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from tests.servers.ollama_parts import FakeModel
from tests.servers.ollama_plays import Answer, Json, as_lines, error

if TYPE_CHECKING:
    from tests.servers.ollama import OllamaServer


def pull(server: OllamaServer, request: Json) -> Answer:
    """Lines of /api/pull: parts that interleave, `completed` left out while it is zero."""
    name = str(request.get("model") or "")
    layers = server.library.get(name)
    lines: list[Any] = [{"status": "pulling manifest"}]
    if layers is None:
        return as_lines([*lines, {"error": "pull model manifest: file does not exist"}])
    for layer in layers:
        layer.digest = layer.digest or "sha256:" + hashlib.sha256(f"{name}{layer.size}".encode()).hexdigest()
    status = {layer.digest: f"pulling {layer.digest[7:19]}" for layer in layers}
    for step in range(4):
        for layer in layers:
            have = max(layer.have, layer.size * step // 3)
            line = {"status": status[layer.digest], "digest": layer.digest, "total": layer.size}
            lines.append(line | ({"completed": have} if have else {}))
            if server.pull_delay:
                lines.append(server.pull_delay)
        if step == 1 and server.pull_error:
            return as_lines([*lines, {"error": server.pull_error}])
    tail = ("verifying sha256 digest", "writing manifest", "removing unused layers", "success")
    server.installed[name] = FakeModel(name, size=sum(layer.size for layer in layers))
    return as_lines([*lines, *({"status": line} for line in tail)])


def blob(server: OllamaServer, method: str, digest: str, body: bytes) -> Answer:
    """HEAD and POST of /api/blobs: 200 there, 201 made, 400 damaged, 404 not there."""
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        return error(400, "invalid digest format")
    if method == "HEAD":
        return Answer(200 if digest in server.blobs else 404)
    if digest in server.blobs:
        return Answer(200)
    got = "sha256:" + hashlib.sha256(body).hexdigest()
    if got != digest:
        return error(400, f'digest mismatch, expected "{digest}", got "{got}"')
    server.blobs[digest] = body
    return Answer(201)


def create(server: OllamaServer, request: Json) -> Answer:
    """Lines of /api/create, or the error that the real server gives."""
    files = request.get("files") or {}
    if not files and not request.get("from"):
        return error(400, "neither 'from' or 'files' was specified")
    for path, digest in files.items():
        if path.startswith("/") or ".." in path:
            return error(400, "file path must be relative")
        if not server.blobs.get(digest, b"").startswith(b"GGUF"):
            return error(400, "supplied file was not in GGUF format")
    if "{{" in request.get("template", "") and "}}" not in request["template"]:
        return error(400, "template error: template: :1: unclosed action")
    name = str(request["model"])
    name = name if ":" in name else f"{name}:latest"
    server.created[name] = request
    server.installed[name] = FakeModel(name, capabilities=("completion",), context_length=1024, family="gpt2")
    said = ["parsing GGUF", *(f"using existing layer {digest}" for digest in files.values())]
    said += ["creating new layer sha256:1f", "writing manifest", "success"]
    return as_lines([{"status": line} for line in said])
