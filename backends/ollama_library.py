"""The models of an Ollama server: what they can do, which are loaded, how to bring, make and unload one."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from .errors import BackendError, BadRequest, MalformedReply, NoSuchModel
from .json_text import count
from .ollama_wire import Wire
from .protocol import ModelInfo
from .text import one_line

QUICK_S: Final = 15.0
"""Deadline of requests that only ask the server about itself."""
IDLE_S: Final = 300.0
"""The longest silence between two lines of a pull or a create."""
_CHUNK: Final = 1 << 20
_CLOUD = re.compile(r"[:-]cloud$", re.IGNORECASE)

LOGPROBS_SINCE: Final = (0, 12, 11)
TRUNCATE_SINCE: Final = (0, 12, 6)
SCHEMA_SINCE: Final = (0, 5, 0)
SAFE_SINCE: Final = (0, 17, 1)
CVE: Final = "CVE-2026-7482"


@dataclass(frozen=True, slots=True)
class PullProgress:
    """How far a pull or a create is, in bytes of all parts seen so far (so the total grows)."""

    status: str
    """The server's own words, one line, safe to show."""
    completed: int = 0
    total: int = 0
    done: bool = False


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a server says about itself and one of its models. `capabilities` None: it does not say."""

    version: tuple[int, ...] | None = None
    capabilities: frozenset[str] | None = None
    context_length: int | None = None
    family: str = ""
    remote: bool = False

    def knows(self, since: tuple[int, ...]) -> bool:
        """Whether the server is at least this version; one that does not say is taken for a new one."""
        return self.version is None or self.version >= since

    @property
    def chats(self) -> bool:
        """Whether the model can complete at all."""
        return self.capabilities is None or "completion" in self.capabilities

    @property
    def thinks(self) -> bool:
        """Whether the model thinks unless told not to."""
        return self.capabilities is not None and "thinking" in self.capabilities


def is_cloud_name(model: str) -> bool:
    """Whether a model's name says that it runs in Ollama's cloud: `NAME-cloud`, `NAME:cloud`."""
    return _CLOUD.search(model.strip()) is not None


def read_version(text: Any) -> tuple[int, ...] | None:
    """(0, 33, 0) for "0.33.0-rc2"; None where it says nothing (also "0.0.0", a build of somebody's own)."""
    match = re.match(r"v?(\d{1,6})\.(\d{1,6})\.(\d{1,6})", text) if isinstance(text, str) else None
    version = tuple(int(part) for part in match.groups()) if match else None
    return version if version and any(version) else None


async def ask_version(wire: Wire) -> str:
    """The server's version as it spells it. Raises `BackendError`: `MalformedReply` where it is no Ollama."""
    reply = await wire.get("/api/version", deadline_s=QUICK_S)
    version = reply.get("version")
    if not isinstance(version, str):
        raise MalformedReply(f"what answers at {wire.origin} is not Ollama", advice="Check OLLAMA_HOST")
    return one_line(version, 40)


async def ask_facts(wire: Wire, model: str, *, deadline_s: float = QUICK_S) -> ModelFacts:
    """Facts of one model. Raises `BackendError` where the server or the model is not there."""
    shown = await wire.post("/api/show", {"model": model}, deadline_s=deadline_s)
    try:
        version = read_version(await ask_version(wire))
    except BackendError:
        version = None
    details, info, able = shown.get("details"), shown.get("model_info"), shown.get("capabilities")
    family = details.get("family") if isinstance(details, dict) else ""
    return ModelFacts(
        version=version,
        capabilities=_names(able),
        context_length=_context_length(info if isinstance(info, dict) else {}),
        family=family if isinstance(family, str) else "",
        remote=bool(shown.get("remote_model") or shown.get("remote_host")),
    )


async def list_models(wire: Wire) -> list[ModelInfo]:
    """Every model of the server's list, cloud models included and marked. Raises `BackendError`."""
    reply = await wire.get("/api/tags", deadline_s=QUICK_S)
    entries = reply.get("models")
    if entries is not None and not isinstance(entries, list):
        raise MalformedReply(f"no list of models from {wire.origin}")
    return [_info(entry) for entry in entries or () if isinstance(entry, dict) and _name_of(entry)]


async def list_loaded(wire: Wire) -> dict[str, int | None]:
    """Model -> context that is really allocated (None: an old server does not say). Raises `BackendError`."""
    reply = await wire.get("/api/ps", deadline_s=QUICK_S)
    entries = reply.get("models")
    return {
        _name_of(entry): _positive(entry.get("context_length"))
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, dict) and _name_of(entry)
    }


async def unload_model(wire: Wire, model: str) -> None:
    """Free a model's memory now. Raises `BackendError`."""
    body = {"model": model, "messages": [], "keep_alive": 0, "stream": False}
    await wire.post("/api/chat", body, deadline_s=60.0)


async def pull_model(wire: Wire, model: str) -> AsyncGenerator[PullProgress, None]:
    """Bring a model from the library. Closing the iterator pauses; a later pull resumes, unless Ollama was
    started anew meanwhile: it then throws away what is not whole (its OLLAMA_NOPRUNE keeps it).

    Raises `BackendError`: `NoSuchModel` where the library has none of that name.
    """
    sizes: dict[str, tuple[int, int]] = {}
    succeeded = False
    lines = wire.lines("/api/pull", {"model": model, "stream": True}, deadline_s=None, idle_s=IDLE_S)
    try:
        async for line in lines:
            digest, total = line.get("digest"), _positive(line.get("total"))
            if isinstance(digest, str) and total is not None and len(sizes) < 10_000:
                # `completed` is left out while it is zero, so a line without it must not undo what was there.
                before = sizes.get(digest, (0, 0))[0]
                completed = _positive(line.get("completed"))
                sizes[digest] = (min(total, completed if completed is not None else before), total)
            status = one_line(str(line.get("status") or ""), 120)
            succeeded = succeeded or status == "success"
            yield PullProgress(
                status,
                sum(have for have, _ in sizes.values()),
                sum(all_ for _, all_ in sizes.values()),
                succeeded,
            )
    except NoSuchModel as problem:
        problem.advice = "Look up its name at ollama.com/library"
        raise
    finally:
        await lines.aclose()
    if not succeeded:
        raise MalformedReply("the pull ended before it was complete", advice="Pull again: it resumes")


async def create_model(
    wire: Wire,
    name: str,
    gguf_path: Path,
    *,
    template: str,
    system: str = "",
    parameters: Mapping[str, Any] | None = None,
    on_progress: Callable[[PullProgress], None] | None = None,
) -> None:
    """Make a model of a GGUF file: upload what the server lacks, then create. Raises `BackendError`.

    Without a `template` Ollama would talk ChatML to the model, so one must be given.
    """
    if not template:
        raise BadRequest(
            "a model needs a prompt template", advice="Give the one it was trained in", reached=False
        )
    report = on_progress or (lambda _: None)
    try:
        size = (await asyncio.to_thread(gguf_path.stat)).st_size
        digest = await _hash(gguf_path, size, report)
    except OSError as problem:
        shown = one_line(str(gguf_path), 120)
        raise BadRequest(f"cannot read {shown}: {problem.strerror or 'unreadable'}", reached=False) from None
    if not await _has_blob(wire, digest):
        content = _upload(gguf_path, size, report)
        path = f"/api/blobs/{digest}"
        await wire.send("POST", path, deadline_s=None, idle_s=IDLE_S, content=content, length=size)
    body: dict[str, Any] = {
        "model": name,
        "files": {"model.gguf": digest},
        "template": template,
        "stream": True,
    }
    body |= {"system": system} if system else {}
    body |= {"parameters": dict(parameters)} if parameters else {}
    succeeded = False
    async for line in wire.lines("/api/create", body, deadline_s=None, idle_s=IDLE_S):
        status = one_line(str(line.get("status") or ""), 120)
        succeeded = succeeded or status == "success"
        report(PullProgress(status, size, size, succeeded))
    if not succeeded:
        raise MalformedReply(f"the server did not finish making {one_line(name, 80)}", advice="Try again")


async def _has_blob(wire: Wire, digest: str) -> bool:
    try:
        await wire.send("HEAD", f"/api/blobs/{digest}", deadline_s=QUICK_S)
    except BackendError as problem:
        if problem.status == 404:
            return False
        raise
    return True


async def _hash(path: Path, size: int, report: Callable[[PullProgress], None]) -> str:
    """ "sha256:…" of a file, read in a thread piece by piece."""
    summed = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, 8 * _CHUNK):
            await asyncio.to_thread(summed.update, chunk)
            done += len(chunk)
            report(PullProgress("reading", done, size))
    return f"sha256:{summed.hexdigest()}"


async def _upload(path: Path, size: int, report: Callable[[PullProgress], None]) -> AsyncIterator[bytes]:
    done = 0
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK):
            yield chunk
            done += len(chunk)
            report(PullProgress("uploading", done, size))


def _info(entry: Mapping[str, Any]) -> ModelInfo:
    name, details = _name_of(entry), entry.get("details")
    details = details if isinstance(details, dict) else {}
    remote = bool(entry.get("remote_model") or entry.get("remote_host")) or is_cloud_name(name)
    words = [
        details.get("parameter_size"),
        details.get("quantization_level"),
        "in the cloud" if remote else None,
    ]
    return ModelInfo(
        id=name,
        kind=_kind(name, _names(entry.get("capabilities")), str(details.get("family", ""))),
        size_bytes=None if remote else _positive(entry.get("size")),
        context_length=_positive(details.get("context_length")),
        remote=remote,
        description=one_line(" ".join(word for word in words if isinstance(word, str) and word), 80),
    )


def _kind(name: str, able: frozenset[str] | None, family: str) -> Literal["chat", "embedding", "other"]:
    if able is None:
        return "embedding" if "embed" in name.lower() or "bert" in family.lower() else "chat"
    if "completion" in able:
        return "chat"
    return "embedding" if "embedding" in able else "other"


def _context_length(info: Mapping[str, Any]) -> int | None:
    """`<architecture>.context_length` of the GGUF's keys."""
    own = _positive(info.get(f"{info.get('general.architecture')}.context_length"))
    others = (_positive(value) for key, value in info.items() if str(key).endswith(".context_length"))
    return own if own is not None else next((value for value in others if value is not None), None)


def _names(value: Any) -> frozenset[str] | None:
    return frozenset(name for name in value if isinstance(name, str)) if isinstance(value, list) else None


def _name_of(entry: Mapping[str, Any]) -> str:
    name = entry.get("model") or entry.get("name")
    return name if isinstance(name, str) else ""


def _positive(value: Any) -> int | None:
    return count(value) or None


def same_model(one: str, other: str) -> bool:
    """Whether two names mean one model: the tag is `latest` where there is none."""
    return _with_tag(one) == _with_tag(other)


def _with_tag(name: str) -> str:
    return name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"


def near_names(model: str, installed: Sequence[ModelInfo]) -> list[str]:
    """Up to three installed models whose name begins alike."""
    stem = model.rsplit("/", 1)[-1].split(":", 1)[0].lower()
    return [info.id for info in installed if info.id.lower().rsplit("/", 1)[-1].startswith(stem)][:3]
