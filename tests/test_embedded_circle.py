"""The guided tour in the shell with the embedded model, and nothing of it leaves the machine."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from pairsmith.pairs.store.integrity import check_workspace
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.workspace import open_workspace
from pairsmith.training import gguf, weights
from tools.embedded.execute import cases
from tools.embedded.responses import draw_parts

from .embedded_miniature import SHIPPED, Alone, trained

GIT = "Git commands in plain language"


def circle(folder: Path, model: Path, pairs: int, epochs: int) -> Alone:
    """generate, judge, accept, train on it, evaluate, export, and the tuned model writes."""
    alone = Alone(folder, model)
    path, tuned = folder / "demo.pairsmith", folder / "tuned.gguf"
    alone.must("new", path, "--domain", GIT)
    made = alone.must("generate", path, "--pairs", pairs, "--seed", 1, "--json").json
    assert made["kept"] == pairs
    judged = alone.must("judge", path, "--json").json
    assert judged["judge"] == "llama-cpp:embedded"
    with open_workspace(path) as workspace:
        ids = [
            int(row[0]) for row in workspace.read(lambda conn: conn.execute("SELECT id FROM pair").fetchall())
        ]
        workspace.write(lambda conn: decide(conn, ids[: pairs - 2], "accepted"))
    learnt = ("--base", "embedded", "--epochs", epochs, "--max-length", 256, "--threads", 1)
    alone.must("train", path, *learnt, "--json")
    found = alone.must("evaluate", path, "--max-new-tokens", 48, "--json").json
    assert {"base", "tuned"} <= set(found["subjects"])
    assert found["judge"]["judge"] == "llama-cpp:embedded"
    alone.must("model", path, "--to", tuned, "--format", "gguf-q8_0")
    assert gguf.read(tuned).metadata["pairsmith.prompt_style"] == "short"
    assert len(weights.load(tuned).vocabulary or ()) == len(weights.load(model).vocabulary or ())
    more = alone.must(
        "generate", path, "--pairs", 2, "--generator", f"llama-cpp:{tuned}", "--seed", 2, "--json"
    )
    assert more.json["kept"] == 2
    assert check_workspace(path, deep=True) == []
    return alone


@pytest.mark.faults
def test_a_miniature_is_generated_with_judged_tuned_measured_and_generated_with_again(tmp_path: Path) -> None:
    miniature = trained(tmp_path / "miniature", 160)
    alone = circle(tmp_path, miniature.folder / "embedded.gguf", 6, 2)
    assert alone.reached == []


@pytest.mark.faults
@pytest.mark.skipif(not SHIPPED.exists(), reason="the model is not in assets")
def test_the_whole_tour_with_the_shipped_model_reaches_for_nothing_beyond_this_machine(
    tmp_path: Path,
) -> None:
    assert circle(tmp_path, SHIPPED, 50, 3).reached == []


def test_the_guard_sees_what_it_should(tmp_path: Path) -> None:
    alone = Alone(tmp_path, tmp_path / "none.gguf")
    code = "import socket; socket.create_connection(('203.0.113.9', 443), 1)"
    done = subprocess.run([sys.executable, "-c", code], env=alone.env, capture_output=True, check=False)
    assert done.returncode
    assert alone.reached == ["'203.0.113.9'"]


def seed_file(folder: Path, count: int) -> Path:
    """Seed tasks of the grammar, in the shape of the paper's file."""
    rows = [
        {
            "id": f"seed_task_{number}",
            "name": case.intent.name,
            "instruction": case.instruction,
            "instances": [{"input": "", "output": draw_parts(case, random.Random(number)).text()}],
            "is_classification": False,
        }
        for number, case in enumerate(cases(count, seed=5))
    ]
    path = folder / "seed_tasks.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.faults
@pytest.mark.skipif(not SHIPPED.exists(), reason="the model is not in assets")
def test_a_pool_grown_from_seed_tasks_is_exact_after_kills(tmp_path: Path) -> None:
    alone, pairs = Alone(tmp_path, SHIPPED), 40
    path = tmp_path / "pool.pairsmith"
    alone.must("new", path, "--domain", GIT, "--recipe", "self-instruct")
    words = (
        "generate",
        path,
        "--pairs",
        pairs,
        "--seed-tasks",
        seed_file(tmp_path, 30),
        "--seed",
        3,
        "--json",
    )
    seen: set[str] = set()
    for wanted in (5, 15, 25):
        alone.kill_when(partial(has_pairs, path, wanted), *words)
        stored = set(instructions_of(path))
        assert seen <= stored
        seen = stored
    done = alone.must(*words).json
    kept = instructions_of(path)
    assert (done["kept"], done["missing"], len(kept), len(set(kept))) == (pairs, 0, pairs, pairs)
    assert seen <= set(kept)
    assert check_workspace(path, deep=True) == []
    assert alone.reached == []


def has_pairs(path: Path, wanted: int) -> bool:
    return len(instructions_of(path)) >= wanted


def instructions_of(path: Path) -> list[str]:
    """Of every pair, as they are stored now."""
    with open_workspace(path, readonly=True) as workspace:
        rows = workspace.read(
            lambda conn: conn.execute(
                "SELECT version.instruction FROM pair JOIN version ON version.id = pair.version_id"
            ).fetchall()
        )
    return [str(row[0]) for row in rows]
