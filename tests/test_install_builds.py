"""Which builds of llama.cpp are tried on which machine, and when two of them may share a wheel."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

import build_llama
import pytest
from build_llama import Machine, Variant

INTEL = Machine("Linux", "x86_64", frozenset({"avx512f", "amx_tile"}), "g++ 12.2", gcc=True, cuda=False)
EPYC = replace(INTEL, cpu_flags=frozenset({"avx2"}))
ARM = Machine("Linux", "aarch64", frozenset({"asimd"}), "g++ 12.2", gcc=True, cuda=False)
MAC = Machine("Darwin", "arm64", frozenset({"Apple", "M3"}), "Apple clang 16", gcc=False, cuda=False)


def test_gcc_on_amx_keeps_the_stores_then_gives_up_amx_then_goes_portable() -> None:
    first, second, last = build_llama.variants(INTEL)
    assert first.cxxflags == "-fno-tree-dse -fno-dse"
    assert second.cflags == second.cxxflags == "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
    assert "-DGGML_NATIVE=OFF" in last.cmake


def test_clang_on_amx_needs_no_remedy() -> None:
    assert build_llama.variants(replace(INTEL, gcc=False))[0].cxxflags == ""


def test_without_amx_there_is_one_native_build_and_the_portable_one() -> None:
    assert [variant.title for variant in build_llama.variants(EPYC)] == ["for this CPU", "portable"]


def test_the_portable_build_on_arm_names_no_x86_instructions() -> None:
    assert build_llama.variants(ARM)[-1].cmake == ("-DGGML_NATIVE=OFF",)


def test_a_mac_says_metal() -> None:
    assert build_llama.variants(MAC)[0].title == "for this CPU and Metal"


def test_a_gpu_with_its_compiler_is_tried_first_and_keeps_the_amx_remedy() -> None:
    first, second, *_ = build_llama.variants(replace(INTEL, cuda=True))
    assert first.cmake == ("-DGGML_CUDA=ON",)
    assert first.cxxflags == second.cxxflags


def test_flags_of_the_user_come_last() -> None:
    told = build_llama.build_environment(
        Variant("x", cxxflags="-a"), Path("i.cmake"), {"CXXFLAGS": "-b", "CMAKE_ARGS": "-DX=1"}
    )
    assert told["CXXFLAGS"] == "-a -b"
    assert told["CMAKE_ARGS"].endswith(" -DX=1")


def test_a_path_with_a_space_survives_cmake_args() -> None:
    told = build_llama.build_environment(Variant("x"), Path("a folder/i.cmake"), {})
    assert "-DCMAKE_PROJECT_llama_cpp_INCLUDE=a folder/i.cmake" in shlex.split(told["CMAKE_ARGS"])


@pytest.mark.parametrize(
    "other",
    [
        replace(INTEL, cpu_flags=INTEL.cpu_flags | {"avx10"}),
        replace(INTEL, compiler="g++ 14.1"),
        replace(INTEL, architecture="AMD64"),
    ],
)
def test_wheels_are_shared_only_by_equal_machines(other: Machine) -> None:
    variant = Variant("for this CPU")
    twin = replace(INTEL, cpu_flags=frozenset(["amx_tile", "avx512f"]))
    assert build_llama.key("1", variant, INTEL, {})[0] == build_llama.key("1", variant, twin, {})[0]
    assert build_llama.key("1", variant, INTEL, {})[0] != build_llama.key("1", variant, other, {})[0]


@pytest.mark.parametrize("name", ["CMAKE_ARGS", "CFLAGS", "CXXFLAGS"])
def test_wheels_are_shared_only_by_equal_flags(name: str) -> None:
    variant = Variant("for this CPU")
    assert build_llama.key("1", variant, EPYC, {})[0] != build_llama.key("1", variant, EPYC, {name: "-DX"})[0]


def test_another_version_is_another_wheel() -> None:
    variant = Variant("for this CPU")
    assert build_llama.key("1", variant, EPYC, {})[0] != build_llama.key("2", variant, EPYC, {})[0]


def test_wheels_are_kept_in_the_users_cache_directory(tmp_path: Path) -> None:
    found = build_llama.cache_directory({"XDG_CACHE_HOME": str(tmp_path)})
    assert found == tmp_path / "pairsmith" / "wheels"


def test_a_condemned_build_has_no_wheel_any_more(tmp_path: Path) -> None:
    shelf = build_llama.shelf("1", Variant("x"), EPYC, {"XDG_CACHE_HOME": str(tmp_path)})
    (tmp_path / "a.whl").write_bytes(b"wheel")
    kept = shelf.put(tmp_path / "a.whl")
    assert shelf.wheel() == kept
    shelf.condemn("died of SIGILL")
    assert shelf.wheel() is None
    assert shelf.broken() == "died of SIGILL"
    assert not kept.exists()


def test_this_machine_is_recognised() -> None:
    machine = build_llama.look()
    assert machine.system
    assert machine.cpu_flags
    assert machine.compiler


def test_a_compiler_that_is_not_there_is_none() -> None:
    assert build_llama._found("no-such-compiler-anywhere") == []


def test_a_compiler_may_be_named_with_arguments() -> None:
    assert build_llama._found("env c++")[0] == "env"
