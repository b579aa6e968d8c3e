"""Makes `.venv`: all that Pairsmith needs, at the pinned versions, with a llama.cpp built for this CPU.

    python tools/install.py [--dev]       --dev: also what the tests, the linter and the type checker need

Needs only the standard library, a C++ compiler and pip's own configuration. Does nothing, at once, if nothing
has changed since the last time. Variables: CMAKE_ARGS (passed through to llama.cpp's build),
PAIRSMITH_LLAMA_WHEEL (a ready llama-cpp-python wheel to install instead of building one); they stay in force
until one of them is given anew.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import build_llama
from steps import Failed, Screen, Step

ROOT = Path(__file__).resolve().parents[1]
INPUTS = ("pyproject.toml", "constraints.txt", "tools/install.py", "tools/build_llama.py", "tools/steps.py")
VARIABLES = ("CMAKE_ARGS", "PAIRSMITH_LLAMA_WHEEL")
SELF_TEST_S = 120
SELF_TEST_FAILED = 3
NO_COMPILER = """\
No C++ compiler found, and llama.cpp has to be compiled: its Python package has no binary on the registry.
Install one (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; macOS: xcode-select --install),
or name a ready wheel: make run PAIRSMITH_LLAMA_WHEEL=/path/to/llama_cpp_python-….whl (see README.md)."""
NO_VENV = "python -m venv failed (on Debian and Ubuntu: apt install python3-venv)"


@dataclass(frozen=True)
class Place:
    """The clone that is being installed, and its environment."""

    root: Path

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.venv / "bin" / "python"

    @property
    def constraints(self) -> Path:
        return self.root / "constraints.txt"

    @property
    def stamp(self) -> Path:
        return self.venv / "pairsmith-installed.json"


# --- what is installed already ---------------------------------------------------------------------------


def digest(place: Place) -> str:
    """What the installation is made from; the folder itself counts, as an editable install points into it."""
    told = hashlib.sha256(str(place.root).encode())
    for name in INPUTS:
        told.update((place.root / name).read_bytes())
    return told.hexdigest()


def stamped(place: Place) -> dict[str, object]:
    """What the last complete installation left; empty where there is none."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(place.stamp.read_text(encoding="utf-8"))
        if isinstance(found, dict) and place.python.exists():
            return found
    return {}


def wishes(found: dict[str, object]) -> dict[str, str]:
    """The user's variables: those that are set now, else those of the last time, which stay in force."""
    given = {name: os.environ[name] for name in VARIABLES if os.environ.get(name)}
    kept = found.get("wishes")
    return given or (kept if isinstance(kept, dict) else {})


def is_current(place: Place, dev: bool) -> bool:
    """Whether there is nothing to do."""
    found = stamped(place)
    same = found.get("digest") == digest(place) and found.get("wishes") == wishes(found)
    return same and (not dev or found.get("dev") is True)


@contextlib.contextmanager
def alone(file: Path, waiting: str) -> Iterator[None]:
    """Hold the lock of `file`; where another process has it, say so and wait."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print(waiting, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


# --- packages -------------------------------------------------------------------------------------------


def pinned(place: Place, name: str) -> str:
    """The version that constraints.txt fixes for `name`."""
    found = re.search(rf"^{re.escape(name)}==([^\s;]+)", place.constraints.read_text(), re.MULTILINE)
    if not found:
        raise Failed(f"constraints.txt does not pin {name}")
    return found[1]


def requirements(place: Place, dev: bool) -> list[str]:
    """What pip installs: all of pyproject.toml but torch and llama-cpp-python, which are chosen here."""
    with (place.root / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    names = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    names += project["dependency-groups"]["dev"] if dev else []
    return [name for name in names if re.split(r"[^\w.-]", name)[0] not in ("torch", build_llama.NAME)]


def torch_choice(version: str, gpu: bool, system: str) -> str:
    """The torch to ask for: with a GPU any build but the CPU one, else the CPU one where builds differ."""
    if gpu:
        return f"torch!={version}+cpu"
    return "torch" if system == "Darwin" else f"torch=={version}+cpu"


def pip_install(place: Place, *what: str) -> list[str]:
    """A pip command; bytecode is compiled at the first import, which saves half of the time."""
    command = [str(place.python), "-m", "pip", "install", "--no-compile"]
    return [*command, "--constraint", str(place.constraints), *what]


def pip_environment(place: Place) -> dict[str, str]:
    """Pins for the build requirements too: older pips read the first variable for them, newer the second."""
    environment = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    for name in ("PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"):
        environment[name] = " ".join(filter(None, (os.environ.get(name), str(place.constraints))))
    return environment


def start_packages(place: Place, screen: Screen, dev: bool, torch: str) -> Step:
    """Start installing everything but llama-cpp-python."""
    command = pip_install(place, torch, *requirements(place, dev), "diskcache", "typing-extensions")
    return screen.start("installing packages", command, pip_environment(place))


def finish_packages(place: Place, screen: Screen, dev: bool, step: Step) -> None:
    """Wait for the packages; where the wanted build of torch is not to be had, take the one that is."""
    done = screen.wait(step)
    if not done and re.search(r"(No matching distribution found for|Cannot install) torch\b", step.tail()):
        screen.say(
            "the wanted build of torch is not in pip's indexes: taking the standard one, maybe some GB"
        )
        step = start_packages(place, screen, dev, "torch")
        done = screen.wait(step)
    if not done:
        raise Failed(f"{step.tail()}\nThe packages could not be installed; all of it: {step.log}")


# --- llama.cpp ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """What a self-test says; `problem` is empty where all is well."""

    problem: str
    certain: bool = True
    """Whether the problem is surely the wheel's, so that it need never be tried here again."""


def self_test(command: list[str]) -> Verdict:
    """Let a child decode a small model with the installed llama.cpp. Raises Failed if it does not start."""
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=SELF_TEST_S, check=False)
    except subprocess.TimeoutExpired:
        return Verdict(f"hangs: no answer in {SELF_TEST_S} s", certain=False)
    if child.returncode == 0:
        return Verdict("")
    if child.returncode < 0:
        names = {number.value: number.name for number in signal.Signals}
        return Verdict(f"died of {names.get(-child.returncode, f'signal {-child.returncode}')}")
    if child.returncode == SELF_TEST_FAILED:
        return Verdict(f"failed: {child.stdout.strip()}")
    raise Failed(f"{child.stdout}{child.stderr}\nThe self-test of llama.cpp does not start.")


@dataclass
class Llama:
    """Gets a llama-cpp-python wheel that passes its self-test on this machine."""

    place: Place
    screen: Screen
    machine: build_llama.Machine
    version: str

    def variants(self) -> list[build_llama.Variant]:
        """What to try, in this order. A ready wheel goes first, unless the user or the cache has a better."""
        built = build_llama.variants(self.machine)
        if os.environ.get("CMAKE_ARGS") or self.shelf(built[0]).wheel():
            return built
        return [build_llama.PREBUILT, *built]

    def shelf(self, variant: build_llama.Variant) -> build_llama.Shelf:
        return build_llama.shelf(self.version, variant, self.machine)

    def get(self, variant: build_llama.Variant) -> Path | None:
        """The wheel of `variant`, from the cache or made now; None where it cannot be had."""
        shelf = self.shelf(variant)
        cache = shelf.folder.parent
        with alone(cache / (shelf.folder.name + ".lock"), "Another process builds this llama.cpp: waiting."):
            if found := shelf.wheel():
                self.screen.say(f"llama.cpp {variant.title}: made before, at hand")
                return found
            if why := shelf.broken():
                self.screen.say(f"llama.cpp {variant.title}: {why} here before, not tried again")
                return None
            if variant != build_llama.PREBUILT and not self.machine.compiler:
                raise Failed(NO_COMPILER)
            with build_llama.workshop(cache) as folder:
                return self._made(variant, shelf, folder)

    def _made(self, variant: build_llama.Variant, shelf: build_llama.Shelf, folder: Path) -> Path | None:
        ready = variant == build_llama.PREBUILT
        title = "looking for a ready llama.cpp" if ready else f"building llama.cpp {variant.title}"
        command = build_llama.wheel_command(self.place.python, variant, self.version, folder)
        include = folder / "include.cmake"
        environment = build_llama.build_environment(variant, include, pip_environment(self.place))
        step = self.screen.start(title, command, environment, "none" if ready else "failed")
        well = self.screen.wait(step)
        wheel = next(folder.glob("*.whl"), None)
        if well and wheel:
            return shelf.put(wheel)
        if not ready:
            self.screen.say(f"it does not build here; the end of {step.log}:\n{step.tail()}")
        return None

    def install(self, wheel: Path) -> Verdict:
        """Install `wheel` and Pairsmith itself, then see whether they work."""
        what = ("--no-deps", "--no-build-isolation", "--force-reinstall", str(wheel))
        command = pip_install(self.place, *what, "--editable", str(self.place.root))
        environment = pip_environment(self.place)
        del environment["PIP_BUILD_CONSTRAINT"]  # newer pips refuse it where there is no build isolation
        step = self.screen.start("installing Pairsmith and llama.cpp", command, environment)
        if not self.screen.wait(step):
            raise Failed(f"{step.tail()}\nPairsmith could not be installed; all of it: {step.log}")
        return self_test([str(self.place.python), "-P", "-m", "pairsmith.backends.llama_cpp.selftest"])

    def settle(self, packages: Callable[[], None]) -> str:
        """Install the first build that works, once `packages` has returned; its title. Raises Failed."""
        if named := os.environ.get("PAIRSMITH_LLAMA_WHEEL"):
            packages()
            if problem := self.install(Path(named).resolve()).problem:
                raise Failed(f"{named} (PAIRSMITH_LLAMA_WHEEL) {problem} in its self-test.")
            return f"from {named}"
        for variant in self.variants():
            wheel = self.get(variant)
            if wheel is None:
                continue
            packages()
            verdict = self.install(wheel)
            if not verdict.problem:
                return variant.title
            self.screen.say(f"llama.cpp {variant.title} {verdict.problem} in its self-test: trying the next")
            if verdict.certain:
                self.shelf(variant).condemn(verdict.problem)
        raise Failed("No build of llama.cpp works on this machine; see the messages above.")


# --- all of it ------------------------------------------------------------------------------------------


def make_venv(place: Place, screen: Screen) -> None:
    """Create `.venv`, anew where a former one is of no use (moved, or its Python gone)."""
    usable = place.python.exists() and (place.venv / "bin" / "pip").exists()
    if usable and stamped(place).get("root", str(place.root)) == str(place.root):
        return
    base = getattr(sys, "_base_executable", None) or sys.executable
    step = screen.start(
        f"creating .venv with Python {platform.python_version()}",
        [base, "-m", "venv", "--clear", str(place.venv)],
    )
    if not screen.wait(step):
        raise Failed(f"{step.tail()}\n{NO_VENV}")


def described(machine: build_llama.Machine, gpu: bool) -> str:
    """One line about this machine: what the choices below follow from."""
    parts = [f"{machine.system} {machine.architecture}", f"{os.cpu_count()} cores"]
    parts += ["AMX"] if machine.amx else []
    parts += [machine.compiler or "no C++ compiler", "NVIDIA GPU" if gpu else "no NVIDIA GPU"]
    return ", ".join(parts)


def install(place: Place, dev: bool) -> None:
    """Bring `.venv` up to date. Raises Failed with what to do about it."""
    screen = Screen(place.root / "build" / "logs")
    machine, gpu = build_llama.look(), build_llama.gpu()
    screen.say(f"Installing Pairsmith: {described(machine, gpu)}")
    make_venv(place, screen)
    was = stamped(place)
    dev = dev or was.get("dev") is True
    wished = wishes(was)
    os.environ.update(wished)
    stamp = {"digest": "", "root": str(place.root), "dev": dev, "wishes": wished}
    place.stamp.write_text(json.dumps(stamp), encoding="utf-8")
    torch = torch_choice(pinned(place, "torch"), gpu, machine.system)
    llama = Llama(place, screen, machine, pinned(place, build_llama.NAME))
    try:
        started = start_packages(place, screen, dev, torch)
        waiting = [started]

        def packages() -> None:
            while waiting:
                finish_packages(place, screen, dev, waiting.pop())

        title = llama.settle(packages)
    finally:
        screen.stop()
    place.stamp.write_text(json.dumps({**stamp, "digest": digest(place)}), encoding="utf-8")
    screen.say(f"Ready: .venv/bin/pairsmith, llama.cpp {title}")


def main() -> int:
    """Install, or do nothing; 1 and what is wrong on standard error if that fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dev", action="store_true", help="also what the tests need")
    dev = parser.parse_args().dev
    place = Place(ROOT)
    if is_current(place, dev):
        return 0
    try:
        with alone(ROOT / "build" / "install.lock", "Another installation runs in this folder: waiting."):
            if not is_current(place, dev):
                install(place, dev)
    except Failed as failure:
        print(failure, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted; the next run goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
