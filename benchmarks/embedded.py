"""One sentence to judged pairs with the demonstration model: Pairsmith beside the plain way with the same model.

    python benchmarks/embedded.py [--gguf PATH] [--pairs 200] [--append FILE] [--json FILE]

Ours is the installed `pairsmith`: `new --domain` and `generate --pairs N --judge llama-cpp:embedded`, measured from the
start of the first command. The plain way is llama-cpp-python's high-level `Llama` class, one call at a time: the same
prompts for topics, instructions and responses, the same rule for near-duplicates, and a judge that answers in JSON. It
runs with sleeping and with spinning OpenMP threads and with one thread alone; the best run counts. Loading the model
is part of both. Exit code 2: this copy has no demonstration model.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from pairsmith.backends.errors import NoSuchModel
from pairsmith.backends.llama_cpp.catalogue import EMBEDDED_ELSEWHERE, resolve
from pairsmith.backends.protocol import Completion, Request, Usage
from pairsmith.pairs.demonstration import EMBEDDED
from pairsmith.pairs.judging import Judge, JudgeFailed, json_request, read_json
from pairsmith.pairs.recipes import load_recipe
from pairsmith.pairs.rubrics import load_rubric
from pairsmith.pairs.similarity import SimilarityIndex
from pairsmith.pairs.store.workspace import open_workspace
from pairsmith.pairs.topic_tree import (
    instructions_request,
    read_list,
    read_response,
    response_request,
    topics_request,
)

DOMAIN = "Git commands in plain language"
COMMAND = Path(sys.executable).with_name("pairsmith")
CPUS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_MOST_LISTS = 200
_DOUBLES = """
SELECT count(*), count(DISTINCT pair.id) FROM pair JOIN judgement ON judgement.version_id = pair.version_id
WHERE pair.removed = 0 AND judgement.state = 'scored'
"""


def main() -> int:
    options = _options()
    if options.plain:
        print(json.dumps(plain(Path(options.plain), options.pairs, options.threads)))
        return 0
    try:
        gguf = options.gguf or resolve(EMBEDDED.partition(":")[2], None, os.environ)
    except NoSuchModel as error:
        print(error)
        return 2
    found = side_by_side(gguf.resolve(), options.pairs)
    lines = _lines(found)
    print("\n".join(lines), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if options.append:
        with options.append.open("a", encoding="utf-8") as file:
            body = "\n".join(lines)
            file.write(f"\n## embedded.py, {datetime.date.today().isoformat()}\n\n```\n{body}\n```\n")
    return 0


def side_by_side(gguf: Path, pairs: int) -> dict[str, Any]:
    """Both ways, one after the other."""
    before = round(os.getloadavg()[0], 1)
    ways = (("passive", CPUS), ("active", CPUS), ("passive", 1))
    tries = [_plain_child(gguf, pairs, policy, threads) for policy, threads in ways]
    best = max(tries, key=lambda one: float(one["pairs_per_hour"]))
    mine = ours(gguf, pairs)
    return {
        "pairs": pairs,
        "cpus": CPUS,
        "load": [before, round(os.getloadavg()[0], 1)],
        "ours": mine,
        "plain": best,
        "ratio": round(mine["pairs_per_hour"] / max(best["pairs_per_hour"], 1e-9), 2),
    }


# -- ours ------------------------------------------------------------------------------------------------------


def ours(gguf: Path, pairs: int) -> dict[str, Any]:
    """The installed command, from an empty folder."""
    with tempfile.TemporaryDirectory(prefix="pairsmith-bench-") as folder:
        home = Path(folder) / "home"
        home.mkdir()
        env = {**os.environ, EMBEDDED_ELSEWHERE: str(gguf), "PAIRSMITH_HOME": str(home)}
        started = time.perf_counter()
        _pairsmith(["new", "w.pairsmith", "--domain", DOMAIN], folder, env)
        _pairsmith(
            ["generate", "w.pairsmith", "--pairs", str(pairs), "--generator", EMBEDDED, "--judge", EMBEDDED],
            folder,
            env,
        )
        seconds = time.perf_counter() - started
        with open_workspace(Path(folder) / "w.pairsmith", readonly=True) as workspace:
            _, judged = workspace.read(lambda conn: tuple(conn.execute(_DOUBLES).fetchone()))
            calls = workspace.read(
                lambda conn: dict(
                    conn.execute("SELECT purpose, count(*) FROM call GROUP BY purpose").fetchall()
                )
            )
    return _figures("pairsmith", seconds, judged, calls)


def _pairsmith(words: list[str], folder: str, env: dict[str, str]) -> None:
    done = subprocess.run(
        [str(COMMAND), *words], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode not in (0, 3):
        raise SystemExit(f"pairsmith {words[0]} ended with {done.returncode}: {done.stderr[-500:]}")


# -- the plain way ---------------------------------------------------------------------------------------------


def _plain_child(gguf: Path, pairs: int, policy: str, threads: int) -> dict[str, Any]:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, __file__, "--plain", str(gguf), "--pairs", str(pairs), "--threads", str(threads)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        check=True,
        env={**os.environ, "OMP_WAIT_POLICY": policy},
    )
    told = json.loads(done.stdout)
    what = f"plain, {threads} {policy} threads" if threads > 1 else "plain, 1 thread"
    return _figures(what, time.perf_counter() - started, told["judged"], told["calls"])


def plain(gguf: Path, pairs: int, threads: int) -> dict[str, Any]:
    """Child: everything in a row, as one would write it in a notebook."""
    from llama_cpp import Llama

    llama = Llama(str(gguf), n_ctx=2048, n_threads=threads, n_threads_batch=threads, verbose=False)
    calls: dict[str, int] = {"topics": 0, "instructions": 0, "response": 0, "judge": 0}

    def ask(purpose: str, request: Request) -> Completion:
        calls[purpose] += 1
        return _asked(llama, request)

    recipe, rubric = load_recipe("english"), load_rubric()
    names = read_list(
        ask("topics", topics_request(recipe, DOMAIN, recipe.topics.count, (), constrained=True)),
        5,
        names=True,
    ).items
    known, kept = SimilarityIndex(recipe.similarity.threshold), list[tuple[str, str]]()
    existing: dict[str, list[str]] = {name: [] for name in names}
    judge = Judge("plain", "json", rubric)
    judged = 0
    while len(kept) < pairs and calls["instructions"] < _MOST_LISTS and names:
        topic = names[calls["instructions"] % len(names)]
        count = min(recipe.instructions.per_call, max(3, pairs - len(kept)))
        for text in _new_instructions(ask, topic, count, existing[topic], known):
            if len(kept) == pairs:
                break
            said = ask("response", response_request(recipe, DOMAIN, topic, text, ""))
            answer = read_response(said, text)
            if answer.loss is None:
                kept.append((text, answer.output))
                judged += _judged(ask, judge, text, answer.output)
    return {"judged": judged, "calls": calls}


def _new_instructions(
    ask: Callable[[str, Request], Completion],
    topic: str,
    count: int,
    existing: list[str],
    known: SimilarityIndex,
) -> list[str]:
    request = instructions_request(load_recipe("english"), DOMAIN, topic, count, existing, constrained=True)
    fresh = []
    for text in read_list(ask("instructions", request), count).items:
        if known.admit(len(known), text) is None:
            existing.append(text)
            fresh.append(text)
    return fresh


def _judged(ask: Callable[[str, Request], Completion], judge: Judge, text: str, output: str) -> bool:
    """Whether the JSON judge gave scores; asked once more where they cannot be read."""
    request = json_request(judge, text, "", output, constrained=True)
    for temperature in (0.0, 0.7):
        try:
            read_json(judge, ask("judge", replace(request, temperature=temperature)))
            return True
        except JudgeFailed:
            continue
    return False


def _asked(llama: Any, request: Request) -> Completion:
    form = None
    if request.json_schema is not None:
        form = {"type": "json_object", "schema": _unbounded(request.json_schema)}
    answer: Any = llama.create_chat_completion(
        [{"role": m.role, "content": m.content} for m in request.messages],
        response_format=form,
        temperature=0.2 if request.temperature is None else request.temperature,
        top_p=request.top_p or 1.0,
        max_tokens=request.max_tokens,
    )
    choice, used = answer["choices"][0], answer["usage"]
    return Completion(
        choice["message"]["content"] or "",
        "length" if choice["finish_reason"] == "length" else "stop",
        Usage(used["prompt_tokens"], used["completion_tokens"]),
        "plain",
        0.0,
    )


def _unbounded(schema: Any) -> Any:
    """A schema without the bounds of lengths, which make the high-level class's grammars very slow."""
    if isinstance(schema, dict) or hasattr(schema, "items"):
        left_out = ("maxLength", "minLength", "maxItems", "minItems")
        return {key: _unbounded(value) for key, value in schema.items() if key not in left_out}
    return schema


# -- tools -----------------------------------------------------------------------------------------------------


def _figures(what: str, seconds: float, judged: int, calls: dict[str, int]) -> dict[str, Any]:
    return {
        "what": what,
        "seconds": round(seconds, 1),
        "judged_pairs": judged,
        "pairs_per_hour": round(judged / seconds * 3600, 1),
        "calls": calls,
    }


def _lines(found: dict[str, Any]) -> list[str]:
    head = (
        f"one sentence to {found['pairs']} judged pairs, {CPUS} CPUs, Python {platform.python_version()},"
        f" load {found['load'][0]} to {found['load'][1]}"
    )
    lines = [head, f"{'':26} {'pairs':>6} {'seconds':>8} {'pairs/h':>9}  calls"]
    for one in (found["ours"], found["plain"]):
        calls = ", ".join(f"{count} {name}" for name, count in sorted(one["calls"].items()))
        lines.append(
            f"{one['what']:26} {one['judged_pairs']:6} {one['seconds']:8.1f} {one['pairs_per_hour']:9,.0f}  {calls}"
        )
    mark = "ok" if found["ratio"] >= 3 else "MISSED"
    return [*lines, f"{mark}: {found['ratio']:.1f} times the plain way (wanted at least 3)"]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--gguf", type=Path, help="another file than the one that ships")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--append", type=Path, help="a Markdown file that the table is appended to")
    parser.add_argument("--json", type=Path, help="a file for the figures")
    parser.add_argument("--plain", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=CPUS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
