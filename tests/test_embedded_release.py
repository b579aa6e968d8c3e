"""From a run of the embedded model to what ships: files, figures, card and report, with a miniature."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pairsmith.training import gguf, weights
from tools.embedded import card, measure, publish, release, report, train
from tools.embedded.making import MINIATURE
from tools.embedded.measured_judge import auc
from tools.embedded.prepared import shipped
from tools.embedded.recognise import intent_of, is_on_domain, topic_of
from tools.embedded.table import missed, table

from .embedded_miniature import CORPUS

COUNTS = {"cases": 2, "lists": 1, "judged": 4, "quota": 0, "starts": 0, "pairs": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps, with its events."""
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp("run")
    train.run(made, replace(MINIATURE, context=2048), CORPUS, steps=20, tell=train.Log(made))
    return made


def figures(**more: Any) -> dict[str, Any]:
    run = {"domain": "Git", "asked": 9, "kept": 9, "unique": 9, "exit": 0, "list_calls": 3}
    run |= {
        "responses_per_pair": 1.1,
        "examples": [{"instruction": "Stash {it}.", "response": "`git stash`"}],
    }
    lists = {"lists": 9, "parsed": 1.0, "parsed_and_on_domain": 1.0}
    lists |= {"items_on_domain": 1.0, "items_on_topic": 1.0, "items_distinct": 1.0}
    lists |= {"items_as_taught": 0.9, "lists_as_taught": 0.5}
    said = {"responses": 9, "understood": 1.0, "right": 0.9, "tokens_per_s": 900.0}
    judge = {"judged": 9, "unread": 0, "auc": 0.95, "auc_held_out_kinds": 0.93, "held_out_kinds": ["typo"]}
    return {
        "bytes": 7_000_000,
        "sha256": "ab" * 32,
        "seed": 11,
        "date": "2026-11-21",
        "machine": "two cores",
        "load_before": 1.0,
        "grammar": {"topics": 16, "intents": 288, "phrasings": 2304, "surviving": 2000},
        "responses": {"held-out": said, "train": said},
        "lists": {"instructions": lists, "topics": lists},
        "judge": judge | {"by_kind": {"typo": {"auc": 0.9, "mean": 3.0, "n": 2}}},
        "quota": [run],
    } | more


def test_a_run_publishes_the_same_model_as_folder_and_as_gguf(folder: Path) -> None:
    whole, small = weights.load(folder / "model"), weights.load(folder / "embedded.gguf")
    assert whole.model.shape == small.model.shape
    assert (
        whole.notes["prompt_style"] == gguf.read(folder / "embedded.gguf").metadata["pairsmith.prompt_style"]
    )
    assert whole.vocabulary is not None
    assert small.vocabulary is not None
    assert whole.vocabulary.tokens == small.vocabulary.tokens


def test_the_newest_checkpoint_of_a_run_can_be_published_elsewhere(folder: Path, tmp_path: Path) -> None:
    step, size = publish.publish_newest(folder, tmp_path / "look")
    assert step == 20
    assert (tmp_path / "look" / "embedded.gguf").read_bytes() == (folder / "embedded.gguf").read_bytes()
    assert size == (folder / "embedded.gguf").stat().st_size
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        publish.publish_newest(tmp_path, tmp_path / "none")


def test_a_model_is_measured_on_held_out_prompts(folder: Path) -> None:
    found = asyncio.run(measure.measure_model(folder / "embedded.gguf", COUNTS, 11))
    assert found["responses"]["held-out"]["responses"] == 2
    assert found["lists"]["instructions"]["lists"] == found["lists"]["topics"]["lists"] == 1
    assert found["judge"]["judged"] == 4
    assert json.loads(json.dumps(found)) == found


def test_figures_that_fall_short_are_named() -> None:
    assert missed(figures()) == []
    short = figures(bytes=12_000_001)
    short["judge"] = short["judge"] | {"auc": 0.91}
    assert [line.split(":")[0] for line in missed(short)] == ["size in bytes", "judge"]
    assert "**missed**" in table(short)


def test_the_card_holds_every_figure_and_leaves_no_name_open(folder: Path) -> None:
    text = card.card(report.read_events(folder / "events.jsonl"), figures())
    assert table(figures()).strip() in text
    assert "> **Stash {it}.**" in text
    assert "{" not in text.replace("{it}", "")
    unfinished = {name: value for name, value in figures().items() if name != "quota"}
    with pytest.raises(ValueError, match="quota"):
        card.card(report.read_events(folder / "events.jsonl"), unfinished)


def test_the_report_shows_losses_of_every_kind(folder: Path, tmp_path: Path) -> None:
    paths = report.write(folder, tmp_path)
    text, picture = (path.read_text(encoding="utf-8") for path in paths)
    assert "| steps | 20 of 20 |" in text
    assert picture.count("<polyline") == len(CORPUS.shares)
    with pytest.raises(ValueError, match="no event"):
        report.write(tmp_path, tmp_path)


def test_a_release_writes_model_card_and_report_and_says_what_was_missed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(release, "ASSET", tmp_path / "embedded.gguf")
    monkeypatch.setattr(card, "PLACE", tmp_path / "embedded.md")
    monkeypatch.setattr(report, "PLACE", tmp_path / "docs")
    (folder / "measured.json").write_text(json.dumps(figures()), encoding="utf-8")
    assert release.main([str(folder), "--measured"]) == 0
    assert (tmp_path / "embedded.gguf").read_bytes() == (folder / "embedded.gguf").read_bytes()
    assert {path.name for path in (tmp_path / "docs").iterdir()} == {"report.md", "losses.svg"}
    (folder / "measured.json").write_text(json.dumps(figures(bytes=13_000_000)), encoding="utf-8")
    assert release.main([str(folder), "--measured"]) == 1
    assert "missed: size" in capsys.readouterr().out


def test_a_file_that_is_too_large_is_not_released(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "ASSET", tmp_path / "embedded.gguf")
    monkeypatch.setattr(release, "LARGEST", 1000)
    assert release.main([str(folder), "--measured"]) == 1
    assert not (tmp_path / "embedded.gguf").exists()


def test_auc_is_the_share_of_right_orders() -> None:
    assert auc([3, 4], [1, 2]) == 1
    assert auc([1, 3], [2, 2]) == 0.5
    assert auc([2], [2]) == 0.5
    assert auc([], [1]) is None


@pytest.mark.parametrize("text", ["Switch to coucel.", "Tag v1.6.4 has to go.", "Unstage otter.cfg"])
def test_short_instructions_are_recognised_whatever_name_stands_in_them(text: str) -> None:
    assert intent_of(text) is not None
    assert topic_of(text) in range(len(shipped().topics))


@pytest.mark.parametrize(
    "text",
    [
        "The pull request is merged, so upload them now.",
        "Drop the newest stash.",
        "My cat walked over the keyboard and notes.txt is ruined, but not staged. Undo?",
        "git log, but shorter",
    ],
)
def test_what_speaks_of_git_is_on_the_domain(text: str) -> None:
    assert is_on_domain(text)


@pytest.mark.parametrize(
    "text",
    [
        "Write a poem about the sea.",
        "What is the capital of France?",
        "How do I bake bread for feature/login-tag?",
        "Name three different animals.",
        "What does servers isn't?",
        "",
    ],
)
def test_what_does_not_speak_of_git_is_not(text: str) -> None:
    assert not is_on_domain(text)
