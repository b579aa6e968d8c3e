"""A tiny GGUF in the place of the demonstration model, or none there at all, whatever this copy ships with."""

from __future__ import annotations

from pathlib import Path

import pytest

from pairsmith.backends.llama_cpp.catalogue import EMBEDDED_ELSEWHERE

from .tiny_gguf import make_markov_gguf

VERBS = ("show", "delete", "rename", "merge", "compare", "fetch", "tag", "stash")
THINGS = ("branch", "commit", "tag", "remote", "stash", "worktree", "patch", "submodule")


def put_in_place(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """`llama-cpp:embedded` is a model that babbles about Git."""
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(f"{verb} every old {thing}" for verb in VERBS for thing in THINGS)
    path = make_markov_gguf(folder / "stand-in.gguf", text, end=0.9)
    monkeypatch.setenv(EMBEDDED_ELSEWHERE, str(path))
    return path


def take_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """This copy comes without it."""
    monkeypatch.setenv(EMBEDDED_ELSEWHERE, "/nowhere/embedded.gguf")
