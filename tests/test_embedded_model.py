"""The embedded model: a miniature is trained here, and stands in for the shipped file in all that uses it."""

from __future__ import annotations

import asyncio
import json
import random
from pathlib import Path

import pytest
import torch

from pairsmith.backends.errors import NoSuchModel
from pairsmith.backends.llama_cpp.catalogue import EMBEDDED_ELSEWHERE, resolve
from pairsmith.backends.protocol import Completion, Message, Request, ScoreRequest
from pairsmith.backends.registry import Settings, Spec, open_backend
from pairsmith.pairs import demonstration
from pairsmith.pairs.store.workspace import create_workspace
from pairsmith.pairs.surroundings import default_judge, read_surroundings
from pairsmith.pairs.training_settings import TrainSettings
from pairsmith.training import gguf, weights
from pairsmith.training.prompts import STYLES
from pairsmith.tui.screens import train_form
from tools.embedded import form, train, vocabulary
from tools.embedded.making import MINIATURE
from tools.embedded.steps import ahead, step

from . import embedded_corpus as corpus
from .command_line import git_rows, run, write_rows
from .embedded_miniature import CORPUS, SHARES, SHIPPED, trained

GIT = "Git commands in plain language"


@pytest.fixture(scope="module")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> train.Trainer:
    """Trained once for all tests here."""
    return trained(tmp_path_factory.mktemp("miniature"))


@pytest.fixture
def asset(miniature: train.Trainer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The miniature in the place of the shipped model, for this process and its children."""
    path = miniature.folder / "embedded.gguf"
    monkeypatch.setenv(EMBEDDED_ELSEWHERE, str(path))
    return path


def test_a_miniature_learns(miniature: train.Trainer) -> None:
    first, last = miniature.losses[0], miniature.losses[-1]
    assert all(last[kind] < 0.6 * first[kind] for kind in SHARES)


def test_the_same_seed_gives_the_same_file_also_when_the_run_was_interrupted(
    miniature: train.Trainer, tmp_path: Path
) -> None:
    def files(folder: Path, stop_after: int | None) -> bytes:
        trainer = train.Trainer(folder, MINIATURE, CORPUS, 7, lambda _event: None)
        if stop_after is not None:
            trainer.steps = 8
            drawn = ahead(corpus.drawn, SHARES, trainer.words, MINIATURE.context, 7, 1, stop_after)
            for parts in drawn:
                trainer._step(parts)
            trainer.save()
        train.run(folder, MINIATURE, CORPUS, steps=8)
        return (folder / "embedded.gguf").read_bytes()

    assert files(tmp_path / "whole", None) == files(tmp_path / "halved", 4)


def test_what_the_template_renders_is_the_prompt_of_training(miniature: train.Trainer, asset: Path) -> None:
    """llama.cpp counts as many tokens in the prompt as the trainer's own vocabulary gives."""
    rng = random.Random(3)
    documents = [made for kind in SHARES for _ in range(4) for made in corpus.drawn(rng, kind)]

    async def ask() -> list[Completion]:
        backend = open_backend(Spec("llama-cpp", "embedded"), Settings())
        try:
            return [
                await backend.complete(Request(messages=made.messages, max_tokens=1, temperature=0.0))
                for made in documents
            ]
        finally:
            await backend.close()

    for made, answer in zip(documents, asyncio.run(ask()), strict=True):
        turns = [(str(said.role), said.content) for said in made.messages]
        assert answer.usage.prompt_tokens == len(miniature.words.encode(form.prompt_text(turns)))


def test_the_engine_says_what_was_learnt_and_gives_digits_to_judge_with(asset: Path) -> None:
    async def ask() -> tuple[str, float]:
        backend = open_backend(Spec("llama-cpp", "embedded"), Settings())
        try:
            said = await backend.complete(
                Request(
                    messages=(Message("user", "Make a branch called bodo."),), max_tokens=40, temperature=0.0
                )
            )
            made = corpus.judged(random.Random(1))[0]
            scored = await backend.score(
                ScoreRequest((made.begun,), tuple("01234"), made.messages, begins_answer=True)
            )
            return said.text, sum(scored.probabilities[0])
        finally:
            await backend.close()

    text, mass = asyncio.run(ask())
    assert "`git " in text
    assert mass > 0.5


def test_the_file_says_what_it_is(asset: Path) -> None:
    values = gguf.read(asset).metadata
    assert "demonstration" in values["general.name"]
    assert values["pairsmith.domain"] == GIT
    assert values["pairsmith.prompt_style"] == "short"


def test_it_is_a_base_to_train_from_in_its_own_style(miniature: train.Trainer, asset: Path) -> None:
    loaded = weights.load(asset)
    assert loaded.vocabulary is not None
    text = STYLES["short"].text("Mark this commit as v2.", "", "Run `git tag v2`.")
    assert loaded.vocabulary.encode(text) == miniature.words.encode(text)
    assert loaded.notes["prompt_style"] == "short"


def test_a_name_has_the_same_pieces_wherever_it_stands() -> None:
    words = vocabulary.learn(
        (f"{a}\n{b}" for a, b in (corpus.pair(random.Random(n)) for n in range(400))), 500
    )
    bare = words.encode("nubolaka-42")
    spaced = words.encode(" nubolaka-42")
    assert words.bytes_of(bare) == b"nubolaka-42"
    assert words.bytes_of(spaced).endswith(words.bytes_of(bare[1:]))
    assert spaced[-len(bare) + 1 :] == bare[1:]
    assert [words.tokens[token] for token in bare[-2:]] == [b"4", b"2"]


def test_steps_drawn_ahead_are_those_drawn_here(miniature: train.Trainer) -> None:
    words = miniature.words
    drawn = list(ahead(corpus.drawn, SHARES, words, MINIATURE.context, 7, 3, 4))
    for number, parts in zip((3, 4), drawn, strict=True):
        here = step(corpus.drawn, SHARES, words, MINIATURE.context, 7, number)
        assert [part.kind for part in parts] == [part.kind for part in here]
        assert all(torch.equal(a.batch.ids, b.batch.ids) for a, b in zip(parts, here, strict=True))


@pytest.mark.parametrize("domain", [GIT, "Version control for beginners", "Source-code control", "git"])
def test_domains_that_it_knows(domain: str) -> None:
    demonstration.check_domain("llama-cpp:embedded", domain)


@pytest.mark.parametrize(
    "domain", ["Questions of patients", "GitHub Actions", "Digital art", "legit sources", ""]
)
def test_domains_that_it_does_not_know_are_refused_with_what_would_serve(domain: str) -> None:
    with pytest.raises(demonstration.UsageError) as refused:
        demonstration.check_domain("llama-cpp:embedded", domain)
    assert all(name in refused.value.advice for name in ("nim:", "openai:", "ollama:", "llama-cpp:/"))
    demonstration.check_domain("ollama:llama3.2", domain)


def test_generate_refuses_another_domain_before_any_call(asset: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "cooking.pairsmith"
    assert run("new", str(workspace), "--domain", "Cooking for one").code == 0
    done = run("generate", str(workspace), "--pairs", "3", "--json")
    assert done.code == 2
    assert "demonstration model" in done.err
    assert json.loads(run("stats", str(workspace), "--json").out)["calls"] == 0


def test_judge_refuses_another_domain_and_import_does_not(asset: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "cooking.pairsmith"
    rows = write_rows(tmp_path / "rows.jsonl", git_rows(3))
    assert run("new", str(workspace), "--domain", "Cooking for one").code == 0
    assert run("import", str(workspace), str(rows)).code == 0
    refused = run("judge", str(workspace), "--judge", "llama-cpp:embedded")
    refused.assert_one_line_error(2, "demonstration model", "nim:MODEL")
    assert json.loads(run("stats", str(workspace), "--json").out)["calls"] == 0


def test_the_application_trains_it_in_its_own_style_unless_another_was_chosen() -> None:
    chosen = TrainSettings("gpt2-small")
    embedded = train_form.with_base(chosen, "embedded")
    assert embedded.config["prompt_style"] == "short"
    assert train_form.with_base(embedded, "gpt2-small").config["prompt_style"] == "alpaca"
    odd = train_form.with_config(chosen, "prompt_style", "phi3")
    assert train_form.with_base(odd, "scratch:tiny").config["prompt_style"] == "phi3"
    assert train_form.with_base(chosen, "scratch:tiny").config == chosen.config


def test_nobody_named_a_judge(asset: Path, tmp_path: Path) -> None:
    env = {EMBEDDED_ELSEWHERE: str(asset)}
    for domain, judge in ((GIT, "llama-cpp:embedded"), ("Cooking for one", None)):
        path = tmp_path / f"{len(domain)}.pairsmith"
        with create_workspace(path, domain=domain, recipe_toml="", language="en") as workspace:
            assert default_judge(workspace, read_surroundings(env, workspace)) == judge


def test_a_copy_without_the_file_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(EMBEDDED_ELSEWHERE, str(tmp_path / "nothing.gguf"))
    with pytest.raises(NoSuchModel, match="without the embedded model"):
        resolve("embedded", None, {})


@pytest.mark.skipif(not SHIPPED.exists(), reason="the model is not in assets yet")
def test_the_shipped_file_is_small_and_answers() -> None:
    assert SHIPPED.stat().st_size <= 12_000_000

    async def ask() -> str:
        backend = open_backend(Spec("llama-cpp", str(SHIPPED)), Settings())
        try:
            request = Request(
                messages=(Message("user", "Create a branch called quiet-river."),),
                max_tokens=80,
                temperature=0.0,
            )
            return (await backend.complete(request)).text
        finally:
            await backend.close()

    assert "quiet-river`" in asyncio.run(ask())
