"""The state of every backend: those of this machine, those that have a key, and the two models of a workspace.

On a local-only workspace nothing outside the machine is contacted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Literal

from pairsmith.backends.errors import BackendError, NoSuchModel
from pairsmith.backends.local_only import is_local
from pairsmith.backends.preflight import address_of, lacks_key
from pairsmith.backends.protocol import Health, ModelInfo
from pairsmith.backends.registry import Settings, open_backend, parse_spec
from pairsmith.backends.text import one_line

from .findings import Finding
from .recipes import load_recipe
from .store.workspace import Workspace
from .surroundings import Surroundings, present_generator, present_judge

_PATIENCE_S = 40.0
_SHOWN = 6
PART = "backends"


async def check_backends(surroundings: Surroundings, *, self_test: bool = True) -> list[Finding]:
    """The four doors, at the same time; none of them keeps the others waiting."""
    settings = surroundings.settings
    checks: list[Awaitable[list[Finding]]] = [_nim(settings), _openai(surroundings), check_ollama(settings)]
    checks.append(asyncio.to_thread(check_llama_cpp, settings, self_test))
    groups = await asyncio.gather(*checks)
    return [finding for group in groups for finding in group]


async def check_models(workspace: Workspace, surroundings: Surroundings) -> list[Finding]:
    """Whether the workspace's generator and judge can be used now."""
    wanted = {
        "generator": present_generator(workspace, surroundings),
        "judge": present_judge(workspace, surroundings),
    }
    findings = []
    for kind, spec in wanted.items():
        if spec is None:
            findings.append(
                Finding(
                    "models",
                    kind,
                    "note",
                    "not set",
                    "Name one: pairsmith judge WORKSPACE --judge BACKEND:MODEL",
                )
            )
            continue
        health = await check_health(spec, surroundings.settings)
        advice = health.advice
        if not health.ok and kind == "judge" and _is_gone(health):
            advice = f"{advice}. {RUBRIC}" if advice and RUBRIC not in advice else advice or RUBRIC
        named = kind == "judge" or workspace.meta(kind) or surroundings.user.generator
        state: Literal["good", "note", "bad"] = "good" if health.ok else "bad" if named else "note"
        which = one_line(spec, 100) + ("" if named else " (nobody named one)")
        findings.append(Finding("models", kind, state, f"{which}: {health.summary}", advice))
    return findings


RUBRIC = (
    "A rubric judge gives the same five attributes: pairsmith judge WORKSPACE --judge BACKEND:MODEL --kind expected"
    " (or json)"
)


def _is_gone(health: Health) -> bool:
    return isinstance(health.error, NoSuchModel)


async def check_health(spec: str, settings: Settings) -> Health:
    """Whether BACKEND:MODEL can be used now; asks it for a token. Never raises BackendError."""
    try:
        backend = open_backend(parse_spec(spec), settings)
    except BackendError as error:
        return Health(False, error.message, error.advice, error=error)
    try:
        return await asyncio.wait_for(backend.health(), _PATIENCE_S)
    except TimeoutError:
        return Health(False, f"no answer within {_PATIENCE_S:g} s", "Try again later, or choose another")
    finally:
        await backend.close()


async def check_nim_key(settings: Settings) -> Finding:
    """Whether there is a key for NIM; contacts nobody."""
    try:
        origin = address_of("nim", settings)
        if settings.local_only and not is_local(settings.nim_url):
            return Finding(PART, "nim", "note", "not contacted: this workspace is local-only")
        if await asyncio.to_thread(lacks_key, "nim", settings):
            return Finding(PART, "nim", "note", "no key", "Set NVIDIA_API_KEY (a free one: build.nvidia.com)")
    except BackendError as error:
        return Finding(PART, "nim", "bad", error.message, error.advice)
    return Finding(PART, "nim", "good", f"a key for {origin} is set")


async def _nim(settings: Settings) -> list[Finding]:
    key = await check_nim_key(settings)
    if key.state != "good":
        return [key]
    recipe = load_recipe("nim-reference")
    names = [choice.model for choice in (recipe.generator, recipe.judge) if choice is not None]
    findings = [key]
    for name, health in zip(
        names, await asyncio.gather(*(check_health(n, settings) for n in names)), strict=True
    ):
        advice = health.advice
        if not health.ok and "reward" in name and _is_gone(health) and RUBRIC not in advice:
            advice = f"{advice}. {RUBRIC}".removeprefix(". ")
        findings.append(
            Finding(PART, "nim", "good" if health.ok else "note", f"{name}: {health.summary}", advice)
        )
    return findings


async def _openai(surroundings: Surroundings) -> list[Finding]:
    return [(await offered_by("openai", surroundings.settings)).finding]


async def check_ollama(settings: Settings) -> list[Finding]:
    """Whether Ollama runs, and with which models."""
    return [(await offered_by("ollama", settings)).finding]


@dataclass(frozen=True, slots=True)
class Offered:
    """The state of a backend, and the models that it can be asked for."""

    finding: Finding
    models: tuple[ModelInfo, ...] = ()


async def offered_by(name: str, settings: Settings, *, ask_nim: bool = False) -> Offered:
    """What `openai`, `ollama`, `llama-cpp` or `nim` has. NIM itself is only contacted if `ask_nim`; without, the models
    of our reference recipe stand for it."""
    if name == "llama-cpp":
        return await asyncio.to_thread(_gguf_files, settings)
    if name == "nim":
        return await _nim_models(settings, ask_nim)
    reason = await _unasked(name, settings)
    if reason is not None:
        return Offered(reason)
    try:
        before = "running," if name == "ollama" else f"{address_of('openai', settings)}:"
        return await _listed(name, before, settings)
    except BackendError as error:
        return Offered(Finding(PART, name, "note", error.message, error.advice))


async def _unasked(name: str, settings: Settings) -> Finding | None:
    """Why a server is not contacted; None where it is."""
    local_only = Finding(PART, name, "note", "not contacted: this workspace is local-only")
    if name == "ollama":
        outside = settings.local_only and settings.ollama_host and not _is_local_host(settings.ollama_host)
        return local_only if outside else None
    if settings.base_url is None and not settings.env.get("OPENAI_API_KEY", "").strip():
        return Finding(PART, name, "note", "not set up", "Give --base-url, or set OPENAI_BASE_URL")
    try:
        if settings.local_only and not is_local(settings.base_url or "https://api.openai.com"):
            return local_only
        if await asyncio.to_thread(lacks_key, "openai", settings):
            return Finding(PART, name, "note", "no key", "Set OPENAI_API_KEY")
    except BackendError as error:
        return Finding(PART, name, "note", error.message, error.advice)
    return None


async def _nim_models(settings: Settings, ask: bool) -> Offered:
    key = await check_nim_key(settings)
    if key.state != "good":
        return Offered(key)
    if ask:
        try:
            listed = await _listed("nim", f"{key.summary};", settings)
        except BackendError as error:
            return Offered(Finding(PART, "nim", "bad", error.message, error.advice))
        return Offered(
            Finding(PART, "nim", "good", f"{key.summary}; {counted(len(listed.models), 'model')}"),
            listed.models,
        )
    recipe = load_recipe("nim-reference")
    specs = [parse_spec(choice.model) for choice in (recipe.generator, recipe.judge) if choice is not None]
    kinds: list[Literal["chat", "reward"]] = ["chat", "reward"]
    return Offered(key, tuple(ModelInfo(s.model, k, remote=True) for s, k in zip(specs, kinds, strict=False)))


def _is_local_host(host: str) -> bool:
    return is_local(host if "://" in host else f"http://{host}")


async def _listed(name: str, before: str, settings: Settings) -> Offered:
    backend = open_backend(parse_spec(f"{name}:any"), settings)
    try:
        models = await asyncio.wait_for(backend.models(), _PATIENCE_S)
    except TimeoutError:
        return Offered(Finding(PART, name, "note", f"no answer within {_PATIENCE_S:g} s"))
    finally:
        await backend.close()
    names = ", ".join(one_line(model.id, 60) for model in models[:_SHOWN])
    more = f" and {len(models) - _SHOWN:,} more" if len(models) > _SHOWN else ""
    said = f"{before} {counted(len(models), 'model')}{': ' if names else ''}{names}{more}"
    return Offered(Finding(PART, name, "good", said), tuple(models))


def check_llama_cpp(settings: Settings, self_test: bool) -> list[Finding]:
    """Whether llama.cpp works here, and which GGUF files there are (blocking)."""
    from pairsmith.backends.llama_cpp.selftest import run_selftest

    findings = []
    if self_test:
        test = run_selftest()
        advice = "" if test.ok else "Build it again for this processor: make run (it builds what fits)"
        findings.append(Finding(PART, "llama-cpp", "good" if test.ok else "bad", test.message, advice))
    return [*findings, _gguf_files(settings).finding]


def _gguf_files(settings: Settings) -> Offered:
    from pairsmith.backends.llama_cpp.catalogue import find_models

    models = find_models(settings.home, settings.env)
    names = ", ".join(
        f"{one_line(model.id, 60)} ({_megabytes(model.size_bytes)})" for model in models[:_SHOWN]
    )
    more = f" and {len(models) - _SHOWN:,} more" if len(models) > _SHOWN else ""
    if models:
        said = f"{counted(len(models), 'GGUF file')}: {names}{more}"
        return Offered(Finding(PART, "llama-cpp", "good", said), tuple(models))
    home = one_line(str(settings.home / "models"))
    advice = f"Put one into {home}, or name its path: llama-cpp:/path/to/model.gguf"
    return Offered(Finding(PART, "llama-cpp", "note", "no GGUF file found", advice))


def _megabytes(size: int | None) -> str:
    return (
        "size unknown" if size is None else f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
    )


def counted(count: int, noun: str) -> str:
    """ "1 pair", "1,200 pairs"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
