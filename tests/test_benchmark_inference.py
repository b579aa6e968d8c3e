"""`benchmarks/inference.py --llama-server PATH`: the way to a server that nobody has here, taken with a stand-in."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import inference

STAND_IN = Path(__file__).parent / "servers" / "llama_server_binary.py"


@pytest.fixture
def binary(tmp_path: Path) -> Path:
    path = tmp_path / "llama-server"
    path.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n', encoding="utf-8")
    path.chmod(0o755)
    return path


def test_a_named_llama_server_is_started_asked_and_ended(binary: Path, tmp_path: Path) -> None:
    run = inference._llama_server(binary, tmp_path / "model.gguf", ["Explain how to merge."] * 20)
    assert run.what == "llama-server -np 16"
    assert run.done == 20 * inference.GENERATED
    assert run.wall > 0
    lines = inference._table("q8_0: generated tokens", [run, run], 1)
    assert lines[-1].startswith("llama-server -np 16")
    assert "1.00x" in lines[-1]


def test_the_option_takes_a_path(monkeypatch: pytest.MonkeyPatch, binary: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["inference.py", "--quick", "--llama-server", str(binary)])
    assert inference._options().llama_server == binary
