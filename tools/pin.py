"""Writes `constraints.txt` from what is installed in the environment that runs this.

    .venv/bin/python tools/pin.py

Every package that pyproject.toml leads to gets its exact version, and so do the build requirements of
llama-cpp-python, which are not installed here: those keep their line unless `--build NAME==VERSION` gives
another. pip is left alone: it cannot be replaced while it builds llama.cpp beside. The lines have no URL, no
path and no local version, so that the file serves every platform and every index.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = ("cmake", "ninja", "scikit-build-core")
"""What building llama-cpp-python installs for itself, in an environment of its own."""
HEAD = """\
# Exact versions for Python 3.11 to 3.13 on Linux and macOS; written by tools/pin.py.
# torch stands without a local version, so that its CPU and its CUDA builds both fit.
"""


def canonical(name: str) -> str:
    """The name as indexes spell it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def reached(requirements: list[str]) -> dict[str, str]:
    """Name and version of every installed package that these requirements lead to, by any extra or marker."""
    found: dict[str, str] = {}
    waiting = list(requirements)
    while waiting:
        name = canonical(re.split(r"[^\w.-]", waiting.pop().strip())[0])
        if name in found:
            continue
        try:
            package = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        found[name] = package.version.partition("+")[0]
        waiting += package.requires or []
    return found


def kept(text: str) -> dict[str, str]:
    """The build requirements as constraints.txt has them now."""
    lines = re.findall(r"^([\w-]+)==(\S+)$", text, re.MULTILINE)
    return {name: version for name, version in lines if name in BUILD}


def main() -> int:
    """Write the file; 1 if a build requirement has no version yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", action="append", default=[], metavar="NAME==VERSION")
    given = dict(item.split("==") for item in parser.parse_args().build)
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    file_out = ROOT / "constraints.txt"
    pins = kept(file_out.read_text() if file_out.exists() else "") | given
    if missing := set(BUILD) - set(pins):
        print(f"no version known for {', '.join(sorted(missing))}: give it with --build", file=sys.stderr)
        return 1
    names = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    pins |= reached([*names, *project["dependency-groups"]["dev"], "packaging", "pathspec"])
    pins.pop("pip", None)
    lines = [f"{name}=={version}\n" for name, version in sorted(pins.items())]
    file_out.write_text(HEAD + "".join(lines))
    print(f"{file_out.name}: {len(lines)} packages pinned")
    return 0


if __name__ == "__main__":
    sys.exit(main())
