"""Show the main job in a scratch workspace: import our sample, generate a few pairs where a model is on this machine,
judge, filter, export. Every step is an ordinary command, shown before it runs; nothing leaves the machine."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import shlex
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pairsmith.backends.text import one_line, visible
from pairsmith.pairs.local_models import find_generator

from .arguments import model, whole
from .environment import read_environment
from .errors import reported
from .output import Failed, say

EXAMPLE = """
pairsmith demo
pairsmith demo --generator ollama:llama3.2 --pairs 5
"""
NO_MODEL = (
    "no model that can write was found on this machine: nothing is generated here. Put a GGUF file into"
    " PAIRSMITH_HOME/models or start Ollama, or name a model: pairsmith demo --generator BACKEND:MODEL"
)


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("--pairs", type=whole, default=3, metavar="N", help="how many pairs to generate (3)")
    parser.add_argument(
        "--generator", type=model, metavar="BACKEND:MODEL", help="who writes and judges (one on this machine)"
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="leave the workspace and the export there"
    )


def run(arguments: Namespace) -> int:
    """Run the demonstration. Exit code 1 only where something is broken."""
    if arguments.keep is not None:
        arguments.keep.mkdir(parents=True, exist_ok=True)
        return _run(arguments, arguments.keep)
    with tempfile.TemporaryDirectory(prefix="pairsmith-demo-") as folder:
        return _run(arguments, Path(folder))


def _run(arguments: Namespace, folder: Path) -> int:
    steps = _Steps(arguments.json)
    workspace, exported = str(folder / "git.pairsmith"), folder / "git.jsonl"
    steps.must("new", workspace, "--domain", "Git commands in plain language")
    with _sample() as sample:
        steps.must("import", workspace, str(sample))
    generator = arguments.generator or asyncio.run(find_generator(read_environment(arguments).settings))
    if generator is None:
        steps.tell(NO_MODEL)
    else:
        spend = ("--max-calls", str(10 + 4 * arguments.pairs), "--max-minutes", "1")
        wanted = ("--pairs", str(arguments.pairs), "--generator", generator, *spend)
        if steps.may("generate", workspace, *wanted):
            steps.may(
                "judge", workspace, "--judge", generator, "--where", "verdict == 'undecided'", "--limit", "5"
            )
    line = "by-hand/helpfulness >= 3 and by-hand/verbosity <= 2.5"
    steps.must("filter", workspace, "--where", line, "--preview")
    steps.must("filter", workspace, "--where", line)
    steps.must("export", workspace, str(exported))
    steps.must("stats", workspace)
    first = exported.read_text(encoding="utf-8").splitlines()[:2]
    if not arguments.json:
        print("\nthe first two lines of the export:")
        for text in first:
            print(f"  {visible(text, 400)}")
        print("\nyour own: pairsmith new my.pairsmith --domain 'what your data should be about'")
    else:
        say(
            arguments,
            list,
            {"generator": generator, "steps": steps.done, "export": [json.loads(t) for t in first]},
        )
    return 0


def _sample() -> contextlib.AbstractContextManager[Path]:
    from importlib.resources import as_file

    return as_file(files("pairsmith.assets") / "samples" / "git.jsonl")


class _Steps:
    """Runs commands one after another, showing each."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self.done: list[dict[str, Any]] = []

    def tell(self, text: str) -> None:
        self.done.append({"note": text})
        if not self._quiet:
            print(f"\n{text}")

    def must(self, name: str, *words: str) -> None:
        code = self._run(name, words)
        if code != 0:
            raise Failed(f"pairsmith {name} ended with exit code {code}", 1)

    def may(self, name: str, *words: str) -> bool:
        try:
            return self._run(name, words) == 0
        except Failed as failure:
            self.tell(f"{one_line(failure.message)}. {one_line(failure.advice)}".removesuffix(". "))
            return False

    def _run(self, name: str, words: Sequence[str]) -> int:
        from .main import run_command

        if not self._quiet:
            print(f"\n$ pairsmith {name} {shlex.join(words)}", flush=True)
            with reported():
                return run_command(name, list(words))
        buffer = io.StringIO()
        with contextlib.redirect_stdout(buffer), reported():
            code = run_command(name, [*words, "--json"])
        self.done.append(
            {"command": [name, *words], "exit": code, "result": json.loads(buffer.getvalue() or "null")}
        )
        return code
