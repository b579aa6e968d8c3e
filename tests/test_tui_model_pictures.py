"""What Train and Evaluate look like, as text at 80x24 and 160x48. PAIRSMITH_SNAPSHOTS=write makes them anew."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.blind import compared, contestants, read_sheet
from pairsmith.pairs.store.driver import sqlite3
from pairsmith.pairs.store.held_out import AnswerJudgement, add_answer_judgement
from pairsmith.pairs.store.ratings import add_rating
from pairsmith.pairs.store.runs import set_result, start_run
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.tui.screens.evaluate import EvaluateScreen
from pairsmith.tui.screens.train import TrainScreen

from .answered import answered_workspace
from .tui_pilot import NARROW, WIDE, application, environment, screen_text, until, until_shown

SNAPSHOTS = Path(__file__).parent / "snapshots"
TRAINED = {
    "state": "finished", "step": 60, "steps": 60, "epochs": 2, "train_loss": 0.512, "validation_loss": 0.671,
    "tokens_per_s": 106.4, "peak_memory_mb": 1850.0, "minutes": 12.5, "device": "cpu (2 threads)",
    "parameters": 124_439_808, "examples": {"train": 268, "test": 31, "validation": 17},
    "losses": [[step, 4.0 / (1 + step / 8)] for step in range(1, 61)],
    "validations": [[step, step / 30, None, 0.6 + 3.0 / (1 + step / 6), 100 * step] for step in (0, 15, 30, 45, 60)],
    "samples": [{"step": 60, "prompt": "Put my changes aside", "expected": "git stash", "text": "Use `git stash`."}],
}  # fmt: skip


def measured(low: float, value: float, high: float) -> dict[str, float]:
    return {"low": low, "value": value, "mean": value, "high": high, "n": 12}


EVALUATED: dict[str, Any] = {
    "n": 12,
    "subjects": {
        name: {
            "metrics": {"rougeL": measured(a, b, c), "bleu": measured(10 * a, 10 * b, 10 * c)},
            "perplexity": {"response": p},
        }
        for name, (a, b, c, p) in {"base": (0.07, 0.11, 0.16, 48.1), "tuned": (0.39, 0.47, 0.55, 6.2)}.items()
    },
    "paired": {
        "base": {
            "rougeL": {"tuned": measured(0.39, 0.47, 0.55), "other": measured(0.07, 0.11, 0.16),
                       "difference": measured(0.28, 0.36, 0.44), "p": 0.0004},
            "nll": {"tuned": measured(1.6, 1.8, 2.0), "other": measured(3.5, 3.8, 4.1),
                    "difference": measured(-2.5, -2.0, -1.5), "p": 0.0002},
        }
    },
    "judge": {
        "judge": "ollama:llama3.1", "prompt": "integer",
        "subjects": {"tuned": {**measured(44, 52.4, 61), "failed": 1, "n": 12},
                     "base": {**measured(7, 11.2, 16), "failed": 0, "n": 12}},
        "paired": {"base": {"difference": measured(31, 41.2, 51), "p": 0.0003}},
    },
    "pairwise": {"against": "base", "wins": 9, "ties": 2, "losses": 1, "failed": 0, "p": 0.021},
    "files": ["report.md"],
}  # fmt: skip


def filled(folder: Path) -> Workspace:
    """A workspace with a run that was trained, measured, judged and rated, and one that was stopped."""
    workspace = answered_workspace(
        folder, {"tuned": lambda n: f"git stash {n}", "base": lambda n: f"### Instruction: what is {n}"}
    )
    workspace.id = "always the same"

    def fill(conn: sqlite3.Connection) -> None:
        set_result(conn, 1, TRAINED)
        set_result(conn, 2, {"train_run": 1, **EVALUATED})
        for subject, value in (("tuned", 52.0), ("base", 11.0)):
            for pair in range(1, 13):
                add_answer_judgement(
                    conn, 2, subject=subject, against="", judge="ollama:llama3.1", kind="integer",
                    question=f"{subject} {pair}".encode(),
                    judgement=AnswerJudgement(pair, value + pair % 7, None, None),
                )  # fmt: skip
        settings = {"base": "gpt2-small", "config": {"epochs": 2, "batch_size": 8, "learning_rate": 5e-5}}
        run = start_run(conn, "train", {**settings, "base": "gpt2-medium"})
        conn.execute(
            "UPDATE run SET state = 'paused', started_at = '2026-11-21T10:00:00Z' WHERE id = ?", (run,)
        )
        conn.execute("UPDATE run SET started_at = '2026-11-20T10:00:00Z' WHERE id = 1")
        sheet = read_sheet(conn, "compare", contestants(conn, 1)[:2], "Ada", workspace.id)
        for item in sheet.items[:9]:
            choice = "left" if item.answers[0].name == "run 1" else "right"
            add_rating(conn, compared(sheet, item, choice if item.pair_id % 4 else "tie"))  # type: ignore[arg-type]

    workspace.write(fill)
    return workspace


def check(name: str, app: Any, size: tuple[int, int]) -> None:
    """Compare with the picture, or make it anew."""
    lines = screen_text(app).splitlines()
    lines[1] = ""  # the places that are built
    assert max(map(len, lines)) <= size[0]
    shown = "\n".join(lines) + "\n"
    picture = SNAPSHOTS / f"{name}-{size[0]}x{size[1]}.txt"
    if os.environ.get("PAIRSMITH_SNAPSHOTS") == "write":
        picture.write_text(shown, encoding="utf-8")
    assert shown == picture.read_text(encoding="utf-8")


@pytest.mark.parametrize("size", [NARROW, WIDE])
@pytest.mark.parametrize("view", ["form", "run", "runs"])
async def test_train_looks_as_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, view: str, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(TrainScreen, "LOOK_AFTER_S", 3600.0)  # what a child would say depends on the machine
    async with application(environment(tmp_path), filled(tmp_path), size=size, start="train") as (app, pilot):
        screen = app.screen
        assert isinstance(screen, TrainScreen)
        await until_shown(pilot, "12 pairs")
        await until(pilot, lambda: len(screen._past) == 2 and "gpt2-medium" in screen.form.text)
        if view == "runs":
            await pilot.press("v", "v")
            await until_shown(pilot, "valid.")
            await until(pilot, lambda: len(screen.runs.entries) == 3)
        elif view == "run":
            await pilot.press("v", "v", "down", "enter")
            await until_shown(pilot, "run 1:")
            await until(pilot, lambda: "step 60/60" in screen.text)
        await pilot.pause()
        check(f"train-{view}", app, size)


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_evaluate_looks_as_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    async with application(environment(tmp_path), filled(tmp_path), size=size, start="evaluate") as (
        app,
        pilot,
    ):
        assert isinstance(app.screen, EvaluateScreen)
        await until_shown(pilot, "worst first")
        await until_shown(pilot, "by hand, blind")
        await pilot.pause()
        check("evaluate", app, size)
