"""A model written for other tools: what an export that comes to no end leaves behind."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from pairsmith.pairs.model_export import export_model
from pairsmith.training import bpe, export_safetensors
from pairsmith.training.prompts import STYLES
from pairsmith.training.shapes import Shape
from tests.small_models import colour_pairs, lively_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small model with random weights."""
    folder = tmp_path_factory.mktemp("models") / "model"
    words = bpe.train(
        [STYLES["alpaca"].text(p["instruction"], "", p["output"]) for p in colour_pairs(60, 1)], 400
    )
    made = lively_model(Shape(3, 64, 4, 128, len(words), True))
    export_safetensors.write(folder, made.shape, made.tensors, words, {"prompt_style": "alpaca"})
    return folder


class GivenUp(Exception):
    """Somebody pressed escape."""


def give_up(what: str, done: int, total: int) -> None:
    raise GivenUp


async def test_an_export_for_ollama_that_is_given_up_leaves_no_folder(model: Path, tmp_path: Path) -> None:
    with pytest.raises(GivenUp):
        await export_model(model, tmp_path / "ollama", "ollama", "x", give_up)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("format_", ["safetensors", "gguf-f32", "gguf-q8_0"])
@pytest.mark.parametrize("into_folder", [False, True])
async def test_an_export_that_is_given_up_leaves_nothing_begun_and_what_was_there_stays(
    model: Path, tmp_path: Path, format_: str, into_folder: bool
) -> None:
    target = tmp_path / "exported"
    if into_folder:
        if format_ == "safetensors":
            await export_model(model, target, format_, "x")
        else:
            target.mkdir()
    before = sorted(os.listdir(target)) if into_folder else []
    with pytest.raises(GivenUp):
        await export_model(model, target, format_, "x", give_up)
    # the child may have come to its end before it was stopped: then the file is there, and whole
    assert os.listdir(tmp_path) in ([], ["exported"])
    if into_folder:
        assert set(before) <= set(os.listdir(target)) <= {*before, "x.gguf"}


async def test_an_export_for_ollama_that_is_cancelled_leaves_no_folder(model: Path, tmp_path: Path) -> None:
    target = tmp_path / "ollama"
    task = asyncio.create_task(export_model(model, target, "ollama", "x"))
    while not target.exists():
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("files", [[], ["notes.txt"]])
async def test_a_folder_that_was_there_stays_with_what_was_in_it(
    model: Path, tmp_path: Path, files: list[str]
) -> None:
    target = tmp_path / "ollama"
    target.mkdir()
    for name in files:
        (target / name).write_text("mine")
    with pytest.raises(GivenUp):
        await export_model(model, target, "ollama", "x", give_up)
    assert os.listdir(target) == files
