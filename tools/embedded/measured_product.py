"""What a newcomer gets from the model: the quota run, the first pair on the screen, and pairs per hour.

Everything here runs the installed `pairsmith` as a person would, in a new folder, with a home of its own.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pairsmith.backends.llama_cpp.catalogue import EMBEDDED_ELSEWHERE
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.workspace import open_workspace

from . import wordings

if TYPE_CHECKING:
    from tests.terminal import Terminal

COMMAND = Path(sys.executable).with_name("pairsmith")
ROOT = Path(__file__).resolve().parents[2]
_LONGEST_S = 3600


@dataclass(frozen=True, slots=True)
class Place:
    """A folder and a home of their own, and the model in the place of the shipped one."""

    folder: Path
    env: dict[str, str]

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `pairsmith WORDS` there. Raises RuntimeError where it takes longer than an hour."""
        return subprocess.run(
            [str(COMMAND), *words],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )


@contextmanager
def place(gguf: Path) -> Iterator[Place]:
    """A new place, removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="pairsmith-measured-") as name:
        home = Path(name) / "home"
        home.mkdir()
        folder = Path(name) / "work"
        folder.mkdir()
        kept = {key: value for key, value in os.environ.items() if not key.startswith("PAIRSMITH_")}
        env = {**kept, EMBEDDED_ELSEWHERE: str(gguf.resolve()), "PAIRSMITH_HOME": str(home)}
        env["OLLAMA_HOST"] = "http://127.0.0.1:9"
        yield Place(folder, env)


def measure_quota(gguf: Path, pairs: int, seed: int) -> list[dict[str, Any]]:
    """`pairsmith generate --pairs N` for the proposed domain and for wordings that training never sees."""
    domains = (wordings.DEFAULT_DOMAIN, *sorted(wordings.DOMAINS[True])[:2])
    return [quota_run(gguf, domain, pairs, seed + number) for number, domain in enumerate(domains)]


def quota_run(gguf: Path, domain: str, pairs: int, seed: int) -> dict[str, Any]:
    """One run from an empty workspace: what was kept, and how many calls of each purpose it took."""
    with place(gguf) as here:
        _must(here.run("new", "w.pairsmith", "--domain", domain))
        started = time.monotonic()
        ran = here.run("generate", "w.pairsmith", "--pairs", str(pairs), "--seed", str(seed), "--json")
        seconds = time.monotonic() - started
        with open_workspace(here.folder / "w.pairsmith", readonly=True) as workspace:
            purposes = Counter(
                workspace.read(lambda conn: [str(row[0]) for row in conn.execute("SELECT purpose FROM call")])
            )
            texts = workspace.read(
                lambda conn: [
                    (str(row[0]), str(row[1]))
                    for row in conn.execute(
                        "SELECT version.instruction, version.output FROM pair"
                        " JOIN version ON version.id = pair.version_id WHERE pair.removed = 0"
                    )
                ]
            )
    told = json.loads(ran.stdout) if ran.stdout.strip() else {}
    kept = len(texts)
    return {
        "domain": domain,
        "asked": pairs,
        "kept": kept,
        "unique": len({instruction.casefold() for instruction, _ in texts}),
        "exit": ran.returncode,
        "list_calls": purposes["instructions"],
        "topic_calls": purposes["topics"],
        "responses": purposes["response"],
        "responses_per_pair": purposes["response"] / max(1, kept),
        "losses": told.get("losses", {}),
        "seconds": round(seconds, 1),
        "tokens_per_s": round(told.get("tokens", {}).get("out", 0) / seconds, 1),
        "examples": [{"instruction": one, "response": other} for one, other in texts[:: max(1, kept // 12)]],
    }


def _must(ran: subprocess.CompletedProcess[str]) -> None:
    if ran.returncode:
        raise RuntimeError(
            f"pairsmith {ran.args[1]} ended with {ran.returncode}: {ran.stderr.strip()[-500:]}"
        )


def measure_first_pair(gguf: Path, tries: int) -> dict[str, Any]:
    """Seconds from the command `pairsmith` on a new machine, Enter on its first offer, to a pair on the screen."""
    seconds = [first_pair(gguf) for _ in range(tries)]
    return {
        "seconds": [round(one, 2) for one in seconds],
        "median_s": round(statistics.median(seconds), 2),
        "load": round(os.getloadavg()[0], 1),
    }


def first_pair(gguf: Path) -> float:
    """One start. Raises TimeoutError where no pair comes."""
    from tests.terminal import Terminal

    with place(gguf) as here:
        script = f'cd "{here.folder}" && exec "{COMMAND}"'
        started = time.perf_counter()
        with Terminal(["sh", "-c", script], 120, 40, here.env) as terminal:
            terminal.wait("demonstration model is built in")
            since = terminal.mark()
            terminal.send("\r")
            shown = _first_shown(terminal, here.folder / "git-demo.pairsmith", since)
            terminal.send("\x11")
        return shown - started


def _first_shown(terminal: Terminal, path: Path, since: int) -> float:
    """When one of the pairs that there are was on the screen: where they come fast, the first may never be."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        made = _instructions(path)
        if made:
            with suppress(TimeoutError):
                return terminal.wait(tuple(one[:24] for one in made), since, 0.2)
        time.sleep(0.05)
    raise TimeoutError("no pair was shown")


def _instructions(path: Path) -> list[str]:
    if not path.exists():
        return []
    query = "SELECT version.instruction FROM pair JOIN version ON version.id = pair.version_id"
    try:
        with open_workspace(path, readonly=True) as workspace:
            return workspace.read(lambda conn: [str(row[0]) for row in conn.execute(query)])
    except (PairsmithError, sqlite3.Error, OSError):
        return []  # it is being made


def measure_end_to_end(gguf: Path, pairs: int) -> dict[str, Any]:
    """Pairs per hour of one sentence to judged pairs, beside the plain way: `benchmarks/embedded.py`."""
    with tempfile.TemporaryDirectory(prefix="pairsmith-measured-") as name:
        to = Path(name) / "figures.json"
        words = ["--gguf", str(gguf), "--pairs", str(pairs), "--json", str(to)]
        done = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / "embedded.py"), *words], check=False, cwd=ROOT
        )
        if done.returncode:
            raise RuntimeError(f"benchmarks/embedded.py ended with {done.returncode}")
        found: dict[str, Any] = json.loads(to.read_text(encoding="utf-8"))
        return found
