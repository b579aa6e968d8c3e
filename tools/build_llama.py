"""llama.cpp for this machine: which builds to try, in which order, and where the finished wheels are kept.

llama-cpp-python has no binary wheel on the registry; its stock build takes minutes too long and can crash:

- only what the Python binding loads is built (`libllama`, `libggml*`): not llama.cpp's "common" library,
  which the source distribution forces on, and not the image and audio part. That halves the time.
- GCC removes half of the tile configuration of CPUs with AMX as dead stores, and the build dies in its first
  quantised decode; `-fno-tree-dse -fno-dse` keeps it, at no cost in speed.

A wheel holds code for the CPU it was made on, so it is kept by version, flags, compiler and CPU features in
the user's cache directory, and nothing is built twice. What the self-test finds broken is marked there, and
not tried again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = "llama-cpp-python"
COMMON_OFF = "set(LLAMA_BUILD_COMMON OFF)\n"
"""Included after llama_cpp's `project()`: a normal variable wins over the one forced into CMake's cache."""
PORTABLE_X86 = (
    "-DGGML_NATIVE=OFF",
    "-DGGML_AVX2=ON",
    "-DGGML_FMA=ON",
    "-DGGML_F16C=ON",
    "-DGGML_BMI2=ON",
)
KEEP_TILES = "-fno-tree-dse -fno-dse"
NO_TILES = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
BROKEN = "broken.txt"


@dataclass(frozen=True)
class Machine:
    """What decides how llama.cpp is built here."""

    system: str
    architecture: str
    cpu_flags: frozenset[str]
    compiler: str
    """First line of the C++ compiler's `--version`; empty where there is no compiler."""
    gcc: bool
    cuda: bool
    """Whether an NVIDIA GPU and its compiler are both here."""

    @property
    def amx(self) -> bool:
        return "amx_tile" in self.cpu_flags


@dataclass(frozen=True)
class Variant:
    """One way to build llama.cpp; `title` names it to the user."""

    title: str
    cmake: tuple[str, ...] = ()
    cflags: str = ""
    cxxflags: str = ""


PREBUILT = Variant("ready-made, from pip's index")


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""


def gpu() -> bool:
    """Whether this machine has an NVIDIA GPU that its driver can see."""
    return "GPU" in _output("nvidia-smi", "-L")


def _cpu_flags() -> frozenset[str]:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(value.split())
    return frozenset(_output("sysctl", "-n", "machdep.cpu.brand_string").split())


def look(environment: Mapping[str, str] = os.environ) -> Machine:
    """This machine: its CPU, its compilers, its GPU. Takes a few milliseconds."""
    compiler = _found(environment.get("CXX", ""), "c++", "g++", "clang++")
    c_compiler = _found(environment.get("CC", ""), "cc", "gcc", "clang")
    version = _output(*compiler, "--version") if compiler and c_compiler else ""
    return Machine(
        system=platform.system(),
        architecture=platform.machine(),
        cpu_flags=_cpu_flags(),
        compiler=version.partition("\n")[0].strip(),
        gcc="Free Software Foundation" in version,
        cuda=shutil.which("nvcc") is not None and gpu(),
    )


def _found(*names: str) -> list[str]:
    """The first of these commands (each may have arguments) that is installed, or nothing."""
    for words in map(shlex.split, names):
        if words and shutil.which(words[0]):
            return words
    return []


def variants(machine: Machine) -> list[Variant]:
    """The builds to try, the fastest first; a later one is for where the earlier does not build or dies."""
    keep = KEEP_TILES if machine.amx and machine.gcc else ""
    result = [Variant("for this CPU, AMX kept" if machine.amx else "for this CPU", cxxflags=keep)]
    if (machine.system, machine.architecture) == ("Darwin", "arm64"):
        result = [Variant("for this CPU and Metal")]
    if machine.cuda:
        result.insert(0, Variant("for this CPU and CUDA", ("-DGGML_CUDA=ON",), cxxflags=keep))
    if machine.amx:
        result.append(Variant("for this CPU, without AMX", cflags=NO_TILES, cxxflags=NO_TILES))
    x86 = machine.architecture in ("x86_64", "AMD64")
    portable = PORTABLE_X86 if x86 else ("-DGGML_NATIVE=OFF",)
    return [*result, Variant("portable", portable)]


def build_environment(
    variant: Variant, include: Path, environment: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The environment for pip; the user's own CMAKE_ARGS and compiler flags come last, so that they win."""
    ours = [*variant.cmake, f"-DCMAKE_PROJECT_llama_cpp_INCLUDE={include}", "-DLLAVA_BUILD=OFF"]

    def flags(name: str, value: str) -> str:
        return " ".join(filter(None, (value, environment.get(name, ""))))

    return {
        **environment,
        "CMAKE_ARGS": " ".join(filter(None, (shlex.join(ours), environment.get("CMAKE_ARGS", "")))),
        "CFLAGS": flags("CFLAGS", variant.cflags),
        "CXXFLAGS": flags("CXXFLAGS", variant.cxxflags),
        "CMAKE_BUILD_PARALLEL_LEVEL": environment.get("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1)),
    }


def cache_directory(environment: Mapping[str, str] = os.environ) -> Path:
    """Where wheels are kept: `pairsmith/wheels` in the user's cache directory."""
    if base := environment.get("XDG_CACHE_HOME"):
        return Path(base) / "pairsmith" / "wheels"
    folder = "Library/Caches" if sys.platform == "darwin" else ".cache"
    return Path.home() / folder / "pairsmith" / "wheels"


def key(
    version: str, variant: Variant, machine: Machine, environment: Mapping[str, str] = os.environ
) -> tuple[str, dict[str, object]]:
    """(folder name in the cache, what it stands for): two builds share it only if they make the same code."""
    told = build_environment(variant, Path("include.cmake"), environment)
    about: dict[str, object] = {
        "version": version,
        "build": variant.title,
        "compiler": machine.compiler,
        "cpu": sorted(machine.cpu_flags),
        "platform": [machine.system, machine.architecture, *platform.libc_ver()],
        "include": COMMON_OFF,
        **{name: told[name] for name in ("CMAKE_ARGS", "CFLAGS", "CXXFLAGS")},
    }
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return f"{version}-{digest[:16]}", about


@dataclass(frozen=True)
class Shelf:
    """The place of one build in the cache."""

    folder: Path
    about: dict[str, object]

    def wheel(self) -> Path | None:
        """The finished wheel, if it is there and nothing is known against it."""
        return None if self.broken() else next(iter(sorted(self.folder.glob("*.whl"))), None)

    def broken(self) -> str:
        """Why this build is of no use here; empty where nothing is known against it."""
        with contextlib.suppress(OSError):
            return (self.folder / BROKEN).read_text(encoding="utf-8").strip() or "broken"
        return ""

    def put(self, wheel: Path) -> Path:
        """Keep a finished wheel; readers see all of it or nothing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.about, indent=1, sort_keys=True) + "\n"
        (self.folder / "about.json").write_text(text, encoding="utf-8")
        return wheel.replace(self.folder / wheel.name)

    def condemn(self, why: str) -> None:
        """Remember that this build fails here, and drop its wheel."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / BROKEN).write_text(why + "\n", encoding="utf-8")
        for wheel in self.folder.glob("*.whl"):
            wheel.unlink()


def shelf(
    version: str, variant: Variant, machine: Machine, environment: Mapping[str, str] = os.environ
) -> Shelf:
    """The place in the cache of `variant` on this machine."""
    name, about = key(version, variant, machine, environment)
    return Shelf(cache_directory(environment) / name, about)


@contextlib.contextmanager
def workshop(cache: Path) -> Iterator[Path]:
    """A folder to build in, on the cache's file system, with the include file in it; removed afterwards."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=cache) as name:
        (Path(name) / "include.cmake").write_text(COMMON_OFF, encoding="utf-8")
        yield Path(name)


def wheel_command(python: Path, variant: Variant, version: str, out: Path) -> list[str]:
    """The command that puts the wheel of `variant` into `out`.

    Without pip's cache: it could hand out a wheel that was built with other flags, or hand ours to others.
    """
    pip = [str(python), "-m", "pip"]
    if variant == PREBUILT:
        pip += ["download", f"--only-binary={NAME}", "--dest", str(out)]
    else:
        pip += ["wheel", "--verbose", "--no-cache-dir", f"--no-binary={NAME}", "--wheel-dir", str(out)]
    return [*pip, "--no-deps", f"{NAME}=={version}"]
