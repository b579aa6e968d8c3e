"""A whole run inside this process: it learns, resumes with the same curve, stops where it should."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from pairsmith.training import atomic, checkpoints, evaluate, events, forward, loop, train, weights
from pairsmith.training.errors import TrainingError
from pairsmith.training.events import Control, Event
from pairsmith.training.inference import Options
from tests.small_models import colour_pairs, run_folder


def _events(folder: Path, resume: bool = False, control: Control | None = None) -> list[Event]:
    return list(train.run(folder, resume, control or Control()))


def _named(found: list[Event], name: str) -> list[Event]:
    return [item for item in found if item["event"] == name]


def _curve(found: list[Event]) -> dict[int, float]:
    return {item["step"]: item["loss"] for item in _named(found, "step")}


def _validations(found: list[Event]) -> list[tuple[int, Any, Any]]:
    return [(v["step"], v["train_loss"], v["validation_loss"]) for v in _named(found, "validation")]


def test_a_tiny_model_learns_until_it_answers_held_out_items(tmp_path: Path) -> None:
    folder = run_folder(
        tmp_path / "run",
        train=400,
        epochs=30,
        batch_size=16,
        learning_rate=0.005,
        prompt_style="phi3",
        mask_instructions=True,
        validate_every=0,
    )
    seen = {pair["instruction"] for pair in colour_pairs(400, 1)}
    held_out = [pair for pair in colour_pairs(200, 3) if pair["instruction"] not in seen][:40]
    assert len(held_out) == 40
    (folder / "test.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in held_out))
    found = _events(folder)
    done = found[-1]
    assert done["state"] == "finished"
    report = list(evaluate.run(folder, None, None, None, Options(), Control(), lambda _event: None))[-1][
        "report"
    ]
    assert report["metrics"]["exact_match"]["value"] >= 0.95
    base = list(evaluate.run(folder, "base", None, None, Options(), Control(), lambda _event: None))[-1][
        "report"
    ]
    assert base["metrics"]["exact_match"]["value"] == 0.0
    assert report["perplexity"]["response"] < base["perplexity"]["response"] / 10
    answers = json.loads((folder / "evaluation" / "tuned-responses.json").read_text())
    assert set(answers[0]) == {"instruction", "input", "output", "model_response"}


def test_the_events_come_in_order_and_complete(tmp_path: Path) -> None:
    found = _events(run_folder(tmp_path / "run", epochs=2))
    names = [item["event"] for item in found]
    assert names[0] == "started"
    assert names[1:3] == ["validation", "sample"]
    assert names[-1] == "done"
    assert [item["step"] for item in _named(found, "step")] == list(range(1, 11))
    assert [item["step"] for item in _named(found, "sample")] == [0, 5, 10]
    assert found[0]["base_is_random"] is True
    assert any("random weights" in note for note in found[0]["notes"])
    last = _named(found, "step")[-1]
    assert last["tokens_seen"] == 2 * found[0]["tokens_per_epoch"]
    assert all(math.isfinite(loss) for loss in _curve(found).values())
    assert weights.load(tmp_path / "run" / "model").notes["prompt_style"] == "alpaca"


def test_equal_seeds_give_equal_curves_and_others_do_not(tmp_path: Path) -> None:
    first = _curve(_events(run_folder(tmp_path / "a", epochs=1)))
    again = _curve(_events(run_folder(tmp_path / "b", epochs=1)))
    other = _curve(_events(run_folder(tmp_path / "c", epochs=1, seed=5)))
    assert first == again
    assert first != other


class _StopAfter(Control):
    """Pauses or cancels once a number of steps is done."""

    def __init__(self, steps: int, how: str) -> None:
        super().__init__()
        self.steps = steps
        self.how = how

    def watch(self, item: Event) -> None:
        if item["event"] == "step" and item["step"] >= self.steps:
            getattr(self, self.how).set()


def _run_and_stop(folder: Path, steps: int, how: str, resume: bool = False) -> list[Event]:
    control = _StopAfter(steps, how)
    found = []
    for item in train.run(folder, resume, control):
        control.watch(item)
        found.append(item)
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"parity": True},
        {"dropout": 0.1, "schedule": "cosine", "warmup_steps": 3, "clip_norm": 0.5, "accumulate": 2},
        {"lora_rank": 2},
        {"precision": "bf16", "tied_head": False},
    ],
    ids=["plain", "parity", "dropout", "lora", "bf16"],
)
def test_a_resumed_run_has_the_curve_of_an_uninterrupted_one(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    whole = _events(run_folder(tmp_path / "whole", epochs=3, **settings))
    folder = run_folder(tmp_path / "parts", epochs=3, **settings)
    parts = _run_and_stop(folder, 2, "pause")
    for steps in (5, 7, 11):
        parts += _run_and_stop(folder, steps, "pause", resume=True)
    parts += _events(folder, resume=True)
    assert _curve(parts) == _curve(whole)
    assert {v[0]: v[1:] for v in _validations(parts)} == {v[0]: v[1:] for v in _validations(whole)}
    ours = weights.load(folder / "model").model.tensors
    theirs = weights.load(tmp_path / "whole" / "model").model.tensors
    assert all(torch.equal(ours[name], tensor) for name, tensor in theirs.items())
    curve = json.loads((folder / "model" / "losses.json").read_text())
    assert curve["losses"] == list(_curve(whole).values())


def test_cancel_stops_at_once_and_writes_nothing(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", epochs=4)
    found = _run_and_stop(folder, 3, "cancel")
    assert found[-1]["state"] == "cancelled"
    assert max(_curve(found)) == 3
    assert not (folder / "model").exists()
    assert not list((folder / "checkpoints").glob("*")) if (folder / "checkpoints").exists() else True


def test_resuming_a_finished_run_only_says_so(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", epochs=2)
    found = _events(folder)
    again = _events(folder, resume=True)
    assert again == [found[-1]]


def test_a_checkpoint_that_lies_there_is_not_overlooked(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", epochs=2)
    _run_and_stop(folder, 2, "pause")
    with pytest.raises(TrainingError, match="checkpoint at step 2"):
        _events(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [("learning_rate", 0.1), ("shape", {"layers": 1, "width": 32, "heads": 2, "context": 128}), ("seed", 7)],
)
def test_another_configuration_is_not_continued(tmp_path: Path, name: str, value: Any) -> None:
    folder = run_folder(tmp_path / "run", epochs=2)
    _run_and_stop(folder, 2, "pause")
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | {name: value}))
    before = sorted(folder.rglob("*"))
    with pytest.raises(TrainingError, match=name) as refused:
        _events(folder, resume=True)
    assert refused.value.kind == "checkpoint"
    assert sorted(folder.rglob("*")) == before


def test_other_data_is_not_continued(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", epochs=2)
    _run_and_stop(folder, 2, "pause")
    with (folder / "train.jsonl").open("a") as file:
        file.write(json.dumps(colour_pairs(1, 9)[0]) + "\n")
    with pytest.raises(TrainingError, match=r"train\.jsonl"):
        _events(folder, resume=True)


def test_a_broken_newest_checkpoint_is_passed_over(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", epochs=2, checkpoint_every=2, keep_checkpoints=3)
    _run_and_stop(folder, 5, "cancel")
    newest = folder / "checkpoints" / "step-00000004"
    content = (newest / "optimizer.safetensors").read_bytes()
    (newest / "optimizer.safetensors").write_bytes(content[:-5] + b"12345")
    found = _events(folder, resume=True)
    assert found[0]["resumed_from"] == 2


def test_a_pickle_in_a_checkpoint_is_never_opened(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", epochs=2)
    _run_and_stop(folder, 2, "pause")
    newest = folder / "checkpoints" / "step-00000002"
    torch.save({"a": 1}, newest / "optimizer.safetensors")
    assert checkpoints.newest(folder / "checkpoints") is None


def test_a_loss_that_is_not_finite_stops_the_run_with_a_sound_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_folder(tmp_path / "run", epochs=4, checkpoint_every=2)
    original = forward.losses

    def spoilt(*arguments: Any) -> Any:
        total, losses = original(*arguments)
        spoilt.calls += 1  # type: ignore[attr-defined]
        return (total * float("nan"), losses) if spoilt.calls == 7 else (total, losses)  # type: ignore[attr-defined]

    spoilt.calls = 0  # type: ignore[attr-defined]
    monkeypatch.setattr(forward, "losses", spoilt)
    monkeypatch.setattr(loop.evaluation_loss, "mean", lambda *_arguments: 1.0)
    found: list[Event] = []
    with pytest.raises(TrainingError) as refused:
        found.extend(train.run(folder, False, Control()))
    assert refused.value.kind == "not_finite"
    assert "learning_rate" in refused.value.advice
    assert not (folder / "model").exists()
    saved = checkpoints.newest(folder / "checkpoints")
    assert saved is not None
    assert all(bool(torch.isfinite(tensor).all()) for tensor in saved.tensors.values())


def test_a_diverging_learning_rate_is_caught(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", epochs=4, learning_rate=10.0, weight_decay=10.0)
    found: list[Event] = []
    with pytest.raises(TrainingError) as refused:
        found.extend(train.run(folder, False, Control()))
    assert refused.value.kind == "not_finite"
    assert _curve(found)
    assert all(math.isfinite(loss) for loss in _curve(found).values())
    saved = checkpoints.newest(folder / "checkpoints")
    assert saved is None or all(bool(torch.isfinite(tensor).all()) for tensor in saved.tensors.values())


def test_early_stopping_publishes_the_best_weights(tmp_path: Path) -> None:
    folder = run_folder(
        tmp_path / "run",
        train=8,
        epochs=60,
        learning_rate=0.02,
        early_stop=3,
        validate_every=0,
        sample_tokens=0,
    )
    found = _events(folder)
    done = found[-1]
    assert done["state"] == "stopped_early"
    points = [item for item in _named(found, "validation") if item["validation_loss"] is not None]
    best = min(points, key=lambda item: item["validation_loss"])
    assert done["best_step"] == best["step"] < done["step"]
    assert json.loads((folder / "model" / "pairsmith.json").read_text())["step"] == best["step"]


def test_the_best_weights_are_never_those_of_an_earlier_start_in_the_same_folder(tmp_path: Path) -> None:
    settings = {"train": 40, "early_stop": 50, "validate_every": 1, "sample_tokens": 0}
    folder = run_folder(tmp_path / "run", epochs=8, learning_rate=0.003, **settings)
    killed = train.run(folder, False, Control())
    for item in killed:
        if item["event"] == "step" and item["step"] == 4:
            break
    killed.close()
    best = folder / "checkpoints" / "best"
    assert [path.name for path in best.iterdir()] == ["step-00000003"]
    half_written = best / f".step-00000004.tmp-{2**22 + 1}-0123abcd"
    half_written.mkdir()
    found = _events(run_folder(tmp_path / "run", epochs=2, learning_rate=0.5, **settings))
    assert found[-1]["best_step"] == 0
    assert json.loads((folder / "model" / "pairsmith.json").read_text())["step"] == 0
    assert not half_written.exists()


def test_a_pause_on_a_full_disk_says_what_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = run_folder(tmp_path / "run", epochs=1)
    _run_and_stop(folder, 2, "pause")

    def full(*_arguments: Any, **_keywords: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    found = _run_and_stop(folder, 4, "pause", resume=True)
    assert found[-1]["state"] == "paused"
    message = _named(found, "warning")[-1]["message"]
    assert "what came after step 2 is computed again" in message
    assert "goes on" not in message


def test_a_full_disk_at_a_checkpoint_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_folder(tmp_path / "run", epochs=1, checkpoint_every=1)
    original = checkpoints.save_file
    calls = 0

    def full(*arguments: Any, **keywords: Any) -> None:
        nonlocal calls
        calls += 1
        if 3 <= calls <= 5:
            raise OSError(28, "No space left on device")
        original(*arguments, **keywords)

    monkeypatch.setattr(checkpoints, "save_file", full)
    found = _events(folder)
    warnings = [item for item in _named(found, "warning") if item["kind"] == "disk_full"]
    assert warnings
    assert "No space left" in warnings[0]["message"]
    assert found[-1]["state"] == "finished"
    assert not [path for path in (folder / "checkpoints").iterdir() if ".tmp-" in path.name]
    assert checkpoints.newest(folder / "checkpoints") is not None


def test_a_removal_that_is_killed_half_way_leaves_only_whole_checkpoints_and_is_swept_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        """Nothing catches it, as nothing catches a kill."""

    def half(path: Path, **_keywords: Any) -> None:
        if Path(path).is_dir():
            min(Path(path).iterdir()).unlink()
            raise Killed

    whole = run_folder(tmp_path / "whole", epochs=2, checkpoint_every=2, keep_checkpoints=1)
    curve = _curve(_events(whole))
    folder = run_folder(tmp_path / "run", epochs=2, checkpoint_every=2, keep_checkpoints=1)
    with monkeypatch.context() as patched:
        patched.setattr(atomic.shutil, "rmtree", half)
        with pytest.raises(Killed):
            _events(folder)
    place = folder / "checkpoints"
    kept = {path.name for path in place.glob("step-*")}
    assert kept == {"step-00000004"}
    assert all(atomic.check_manifest(place / name) is not None for name in kept)
    monkeypatch.setattr(atomic, "_alive", lambda _pid: False)  # whoever removed is dead by then
    assert atomic.sweep(place) == 1
    assert {path.name for path in place.iterdir()} == kept
    found = _events(folder, resume=True)
    assert found[0]["resumed_from"] == 4
    assert {step: loss for step, loss in curve.items() if step > 4} == _curve(found)


def test_running_out_of_memory_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run_folder(tmp_path / "run", epochs=1)

    def starved(*_arguments: Any) -> None:
        raise RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes"
        )

    monkeypatch.setattr(forward, "losses", starved)
    monkeypatch.setattr(loop.evaluation_loss, "mean", lambda *_arguments: 1.0)
    with pytest.raises(TrainingError) as refused:
        _events(folder)
    assert refused.value.kind == "oom"
    assert "needs about" in refused.value.message
    assert "accumulate to 2" in refused.value.advice


def test_lora_trains_little_and_is_merged_into_the_result(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", epochs=6, lora_rank=4, tied_head=False, learning_rate=0.02)
    found = _events(folder)
    assert found[0]["trainable"] < found[0]["parameters"] / 2
    curve = list(_curve(found).values())
    assert curve[-1] < curve[0] - 0.5
    result = weights.load(folder / "model").model
    again = list(evaluate.run(folder, None, None, None, Options(), Control(), lambda _event: None))[-1][
        "report"
    ]
    assert result.lora == {}
    assert again["perplexity"]["nll_text"] == pytest.approx(found[-1]["train_loss"], abs=0.3)


def test_lora_gradients_equal_those_of_merged_weights() -> None:
    from pairsmith.training import lora
    from pairsmith.training.batches import pack
    from pairsmith.training.optimiser import AdamW, Rates
    from pairsmith.training.reference import Reference
    from pairsmith.training.shapes import Shape
    from tests.small_models import lively_model, random_examples

    model = lively_model(Shape(2, 32, 2, 64, 300, tied_head=False))
    trained = lora.attach(model, 3, 6.0, seed=1)
    for tensor in trained.values():
        tensor.data.normal_(0, 0.05)
    AdamW(model, Rates(), torch.float32, trained)
    examples = random_examples(4, 300, shared=9, masked=True)
    reference = Reference(model)
    from pairsmith.training.data import pad_examples

    inputs, targets = (torch.tensor(rows) for rows in pad_examples(examples, 299))
    expected = reference.loss(inputs, targets)
    expected.backward()
    for tensor in trained.values():
        tensor.grad.zero_()
    found, _ = forward.losses(model, pack(examples))
    found.backward()
    assert float(found.detach()) == pytest.approx(float(expected.detach()), abs=1e-5)
    for name in ("h.0.mlp.c_fc.weight", "lm_head.weight"):
        whole = reference.values[name].grad
        part = model.lora[name]
        assert torch.allclose(part.up.grad, whole @ part.down.detach().T * part.scale, atol=1e-5)
        assert torch.allclose(part.down.grad, part.up.detach().T @ whole * part.scale, atol=1e-5)


def test_parity_follows_the_recipe_and_ends_with_the_table(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", train=43, epochs=2, parity=True, batch_size=3, drop_last=False)
    found = _events(folder)
    assert found[0]["shape"]["tied_head"] is False
    assert found[0]["steps"] == 10
    assert [item["step"] for item in _named(found, "validation")] == [0, 1, 6]
    table = {row["figure"]: row for row in found[-1]["table"]}
    assert table["initial training loss"]["published"] == 3.8259105682373047
    assert table["initial training loss"]["ours"] is not None
    assert table["step 000005 validation loss"]["difference"] == pytest.approx(
        table["step 000005 validation loss"]["ours"] - 1.103, abs=1e-6
    )
    assert table["step 000230 training loss"]["ours"] is None
    assert table["training set length"]["difference"] == 43 - 935


def test_of_two_processes_that_learn_a_runs_vocabulary_at_once_the_later_takes_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairsmith.training import setup
    from pairsmith.training.vocabulary import Vocabulary

    folder = run_folder(tmp_path / "run", vocabulary="train:300")
    save = Vocabulary.save

    def beaten(words: Vocabulary, target: Path) -> None:
        save(words, folder / "vocabulary")
        save(words, target)

    monkeypatch.setattr(Vocabulary, "save", beaten)
    assert len(setup.prepare(folder, train=False).vocabulary) == 300
    assert [item.name for item in folder.iterdir() if "tmp" in item.name] == []
    assert (folder / "vocabulary" / "vocab.json").exists()


def test_parity_evaluates_on_the_batches_that_a_dataloader_would_draw(tmp_path: Path) -> None:
    """The reference text's own loop, written out with torch's DataLoader, against ours."""
    from torch.utils.data import DataLoader

    from pairsmith.training import setup
    from pairsmith.training.data import pad_examples
    from pairsmith.training.reference import Reference

    folder = run_folder(tmp_path / "run", train=43, validation=19, epochs=2, parity=True)
    found = _events(folder)
    job = setup.prepare(folder, train=False)
    reference = Reference(job.model)
    optimiser = torch.optim.AdamW(reference.parameters(), lr=0.003, weight_decay=0.1)

    def collate(items: list[Any]) -> tuple[torch.Tensor, torch.Tensor]:
        inputs, targets = pad_examples(items, job.vocabulary.end_of_text)
        return torch.tensor(inputs), torch.tensor(targets)

    train_loader = DataLoader(job.examples["train"], 8, shuffle=True, drop_last=True, collate_fn=collate)
    validation_loader = DataLoader(job.examples["validation"], 8, collate_fn=collate)

    def look(loader: Any) -> float:
        total = 0.0
        count = min(5, len(loader))
        for index, batch in enumerate(loader):
            if index >= count:
                break
            with torch.no_grad():
                total += float(reference.loss(*batch))
        return total / count

    torch.manual_seed(123)
    expected = [(0, look(train_loader), look(validation_loader))]
    torch.manual_seed(123)
    step = 0
    for _ in range(2):
        for batch in train_loader:
            optimiser.zero_grad()
            reference.loss(*batch).backward()
            optimiser.step()
            step += 1
            if (step - 1) % 5 == 0:
                expected.append((step, look(train_loader), look(validation_loader)))
    ours = _validations(found)
    assert [point[0] for point in ours] == [point[0] for point in expected]
    for mine, theirs in zip(ours, expected, strict=True):
        assert mine[1] == pytest.approx(theirs[1], abs=1e-4)
        assert mine[2] == pytest.approx(theirs[2], abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"epochs": 0}, "epochs"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"colour": "red"}, "colour"),
        ({"prompt_style": "chatml"}, "prompt_style"),
        ({"base": "scratch:huge"}, "huge"),
        ({"drop_last": True, "batch_size": 100}, "do not fill one batch"),
        ({"version": 2}, "version"),
        ({"vocabulary": "train:3"}, "vocabulary"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, settings: dict[str, Any], why: str) -> None:
    with pytest.raises(TrainingError, match=why):
        _events(run_folder(tmp_path / "run", **settings))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "not a JSON object"),
        ('{"instruction": 3, "output": ""}', "instruction"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, why: str) -> None:
    folder = run_folder(tmp_path / "run")
    (folder / "train.jsonl").write_text(json.dumps(colour_pairs(1, 1)[0]) + "\n" + line + "\n")
    with pytest.raises(TrainingError, match=why):
        _events(folder)


def test_truncated_examples_are_counted_and_warned_of(tmp_path: Path) -> None:
    found = _events(run_folder(tmp_path / "run", epochs=1, max_length=12))
    assert found[0]["truncated"]["train"] == 40
    assert found[0]["truncated_tokens"] > 0
    assert _named(found, "warning")[0]["kind"] == "truncated"


def test_numbers_that_are_not_finite_are_null_in_events() -> None:
    assert events.event("x", a=float("nan"), b={"c": [float("inf")]})["a"] is None
