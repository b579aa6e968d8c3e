"""A llama.cpp that dies, computes wrongly or does not build is replaced by the next one that works here.

pip is played by `fake_pip.py`; the self-test, its child processes and their deaths are real.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import build_llama
import install
import pytest
from steps import Failed, Screen

ROOT = Path(__file__).resolve().parents[1]
AMX = build_llama.Machine(
    "Linux", "x86_64", frozenset({"avx2", "amx_tile"}), "g++ 12.2", gcc=True, cuda=False
)
PLAIN = build_llama.Machine("Linux", "x86_64", frozenset({"avx2"}), "g++ 12.2", gcc=True, cuda=False)
NAMES = {
    "AMX kept": "for this CPU, AMX kept",
    "no AMX": "for this CPU, without AMX",
    "native": "for this CPU",
    "portable": "portable",
    "ready": "ready-made, from pip's index",
}


class Bench:
    """A place to install into, whose python is this one with another `pip`."""

    def __init__(self, home: Path) -> None:
        self.home = home
        root = home / "clone"
        (root / ".venv" / "bin").mkdir(parents=True)
        for name in install.INPUTS:
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_bytes((ROOT / name).read_bytes())
        self.place = install.Place(root)
        self.place.python.write_text(
            f'#!/bin/sh\nif [ "$1" = -m ]; then shift 2; exec "{sys.executable}" '
            f'"{ROOT / "tests" / "fake_pip.py"}" "{home}" "$@"; fi\n'
            f'PYTHONPATH="{home / "site"}" exec "{sys.executable}" "$@"\n'
        )
        self.place.python.chmod(0o755)
        self.plan()

    def plan(self, **outcomes: str) -> None:
        (self.home / "plan.json").write_text(json.dumps(outcomes))

    def calls(self, verb: str) -> list[dict[str, Any]]:
        log = self.home / "pip.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [call for call in map(json.loads, lines) if call["verb"] == verb]

    def settle(self, machine: build_llama.Machine, packages: Callable[[], None] = lambda: None) -> str:
        screen = Screen(self.place.root / "build" / "logs")
        return install.Llama(self.place, screen, machine, "0.3.36").settle(packages)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("CMAKE_ARGS", "CFLAGS", "CXXFLAGS", "PAIRSMITH_LLAMA_WHEEL"):
        monkeypatch.delenv(name, raising=False)
    return Bench(tmp_path)


def test_a_build_that_works_is_the_only_one(bench: Bench) -> None:
    assert bench.settle(PLAIN) == NAMES["native"]
    assert len(bench.calls("wheel")) == 1


def test_on_amx_a_build_that_dies_is_followed_by_one_without_amx(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.plan(**{"-fno-tree-dse": "dies"})
    assert bench.settle(AMX) == NAMES["no AMX"]
    assert "AMX kept died of SIGSEGV in its self-test: trying the next" in capfd.readouterr().out


def test_without_amx_a_build_that_dies_is_followed_by_the_portable_one(bench: Bench) -> None:
    bench.plan(**{"GGML_NATIVE=OFF": "works", "": "dies"})
    assert bench.settle(PLAIN) == NAMES["portable"]
    assert "-DGGML_AVX2=ON" in bench.calls("wheel")[-1]["env"]["CMAKE_ARGS"]


def test_a_build_that_computes_wrongly_is_not_kept(bench: Bench) -> None:
    bench.plan(**{"GGML_NATIVE=OFF": "works", "": "wrong"})
    assert bench.settle(PLAIN) == NAMES["portable"]


def test_a_build_that_the_compiler_refuses_is_followed_by_the_next(
    bench: Bench, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.plan(**{"GGML_NATIVE=OFF": "works", "": "no build"})
    assert bench.settle(PLAIN) == NAMES["portable"]
    assert "does not know these instructions" in capfd.readouterr().out


def test_where_no_build_works_it_says_so(bench: Bench) -> None:
    bench.plan(**{"": "dies"})
    with pytest.raises(Failed, match="No build of llama"):
        bench.settle(AMX)
    assert len(bench.calls("wheel")) == 3


def test_nothing_is_built_twice(bench: Bench) -> None:
    first = bench.settle(PLAIN)
    assert bench.settle(PLAIN) == first
    assert len(bench.calls("wheel")) == 1


def test_a_build_that_died_is_not_tried_again(bench: Bench) -> None:
    bench.plan(**{"-fno-tree-dse": "dies"})
    bench.settle(AMX)
    assert bench.settle(AMX) == NAMES["no AMX"]
    assert len(bench.calls("wheel")) == 2


def test_another_cpu_gets_a_build_of_its_own(bench: Bench) -> None:
    bench.settle(PLAIN)
    bench.settle(build_llama.Machine("Linux", "x86_64", frozenset({"avx512f"}), "g++ 12.2", True, False))
    assert len(bench.calls("wheel")) == 2


def test_a_ready_wheel_of_the_configured_index_saves_the_build(bench: Bench) -> None:
    bench.plan(prebuilt="works")
    assert bench.settle(PLAIN) == NAMES["ready"]
    assert bench.calls("wheel") == []


def test_a_ready_wheel_that_dies_here_is_replaced_by_a_build(bench: Bench) -> None:
    bench.plan(prebuilt="dies")
    assert bench.settle(PLAIN) == NAMES["native"]


def test_a_wheel_named_by_the_user_is_taken(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.settle(PLAIN)
    wheel = next((bench.home / "cache").rglob("*.whl"))
    monkeypatch.setenv("PAIRSMITH_LLAMA_WHEEL", str(wheel))
    assert bench.settle(AMX) == f"from {wheel}"
    assert len(bench.calls("wheel")) == 1


def test_without_a_compiler_it_says_what_to_install(bench: Bench) -> None:
    nothing = build_llama.Machine("Linux", "x86_64", frozenset(), compiler="", gcc=False, cuda=False)
    with pytest.raises(Failed, match="PAIRSMITH_LLAMA_WHEEL") as failure:
        bench.settle(nothing)
    assert "No C++ compiler found" in str(failure.value).splitlines()[0]


def test_the_packages_are_there_before_llama_is_installed(bench: Bench) -> None:
    order: list[int] = []
    bench.settle(PLAIN, lambda: order.append(len(bench.calls("install"))))
    assert order == [0]


def test_the_users_cmake_arguments_reach_the_build_and_win(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_VULKAN=ON -DLLAVA_BUILD=ON")
    bench.settle(PLAIN)
    told = bench.calls("wheel")[0]["env"]["CMAKE_ARGS"]
    assert told.endswith("-DLLAVA_BUILD=OFF -DGGML_VULKAN=ON -DLLAVA_BUILD=ON")
    assert bench.calls("download") == []


def test_build_requirements_are_pinned_for_older_and_newer_pips(bench: Bench) -> None:
    bench.settle(PLAIN)
    told = bench.calls("wheel")[0]["env"]
    assert told["PIP_CONSTRAINT"] == told["PIP_BUILD_CONSTRAINT"] == str(bench.place.constraints)


def test_where_no_cpu_build_of_torch_exists_the_standard_one_is_taken(bench: Bench) -> None:
    bench.plan(torch="no cpu build")
    screen = Screen(bench.place.root / "build" / "logs")
    step = install.start_packages(bench.place, screen, dev=False, torch="torch==2.13.0+cpu")
    install.finish_packages(bench.place, screen, dev=False, step=step)
    asked = [[word for word in call["args"] if word.startswith("torch")] for call in bench.calls("install")]
    assert asked == [["torch==2.13.0+cpu"], ["torch"]]
