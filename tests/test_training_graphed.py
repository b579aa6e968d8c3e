"""Steps by a recorded computation: batches laid into a fixed size teach the same; one that differs is not used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pairsmith.training import forward, gradients, train
from pairsmith.training.batches import Packed, pack
from pairsmith.training.events import Control, Event
from pairsmith.training.graphed import Disagreement, Graphed, budget, lay_out, record
from pairsmith.training.model import GPT2
from pairsmith.training.optimiser import AdamW, Rates
from pairsmith.training.shapes import Shape
from tests.small_models import lively_model, random_examples, run_folder

Run = Callable[[], torch.Tensor]


def _again(run: Run) -> Run:
    """What stands for a recording where there is no GPU: the same computation on the same memory."""
    run()
    return run


def _model(device: str = "cpu", dtype: torch.dtype = torch.float32) -> tuple[GPT2, AdamW]:
    model = lively_model(Shape(2, 32, 2, 64, 300, tied_head=False)).to(torch.device(device))
    model.use(dtype)
    return model, AdamW(model, Rates(), dtype, dict(model.tensors))


def _ordinary(model: GPT2, batch: Packed, divisor: float) -> tuple[float, dict[str, torch.Tensor]]:
    model.start_step()
    loss, _ = forward.losses(model, batch.to(model.device), divisor)
    loss.backward()
    model.finish_step()
    return float(loss.detach()), {name: gradient.clone() for name, gradient in model.gradients.items()}


def test_a_batch_in_a_fixed_size_has_the_same_loss_and_gradients() -> None:
    model, _ = _model()
    batches = [
        pack(random_examples(1 + seed % 4, 300, 3 * (seed % 5), seed % 2 == 0, seed)) for seed in range(12)
    ]
    room = budget(batches, 64)
    for batch in batches:
        if not batch.labels:
            continue
        expected, wanted = _ordinary(model, batch, 7.0)
        found, got = _ordinary(model, lay_out(batch, room, 7.0), 1.0)
        assert found == pytest.approx(expected, rel=1e-5)
        for name, gradient in wanted.items():
            assert torch.allclose(got[name], gradient, atol=1e-6 + 1e-5 * float(gradient.abs().max())), name


def test_all_batches_of_a_size_have_equal_tensor_sizes() -> None:
    batches = [pack(random_examples(4, 300, 5, False, seed)) for seed in range(5)]
    room = budget(batches, 64)
    sizes = {tuple(len(tensor) for tensor in (b.ids, b.to_padded, b.again_cells, b.again_rows, b.targets))
             for b in (lay_out(batch, room, 1.0) for batch in batches)}  # fmt: skip
    assert len(sizes) == 1


def test_recorded_steps_are_checked_and_then_trusted() -> None:
    model, _ = _model()
    batches = [pack(random_examples(4, 300, 5, False, seed)) for seed in range(5)]
    graphed = Graphed(model, budget(batches, 64), batches[0], _again)
    for batch in batches:
        expected, wanted = _ordinary(model, batch, float(batch.labels))
        assert graphed.gradients(batch, float(batch.labels)) == pytest.approx(expected, rel=1e-5)
        name = "h.1.attn.c_attn.weight"
        assert torch.allclose(model.gradients[name], wanted[name], atol=1e-6)
    assert graphed.checked == graphed.to_check


def test_a_batch_that_is_too_big_is_left_to_the_ordinary_way() -> None:
    model, _ = _model()
    small = [pack(random_examples(2, 300, 0, False, seed)) for seed in range(3)]
    graphed = Graphed(model, budget(small, 64), small[0], _again)
    assert graphed.gradients(pack(random_examples(12, 300, 0, False)), 1.0) is None


@pytest.mark.parametrize("wrong", ["loss", "gradient"])
def test_a_recording_that_differs_is_refused_and_the_step_is_the_ordinary_one(wrong: str) -> None:
    model, _ = _model()
    batch = pack(random_examples(4, 300, 5, False))

    def broken(run: Run) -> Run:
        def replay() -> torch.Tensor:
            loss = run()
            if wrong == "loss":
                return loss * 1.01
            model.gradients["ln_f.weight"].zero_()
            return loss

        return replay

    expected, wanted = _ordinary(model, batch, float(batch.labels))
    graphed = Graphed(model, budget([batch], 64), batch, broken)
    with pytest.raises(Disagreement) as caught:
        graphed.gradients(batch, float(batch.labels))
    assert caught.value.expected == pytest.approx(expected, rel=1e-6)
    assert torch.allclose(model.gradients["ln_f.weight"], wanted["ln_f.weight"])


def _run(folder: Path) -> list[Event]:
    return list(train.run(folder, False, Control()))


def _losses(events: list[Event]) -> list[float]:
    return [event["loss"] for event in events if event["event"] == "step"]


@pytest.mark.parametrize("recorder", ["works", "cannot", "differs"])
def test_a_whole_run_has_the_same_curve(
    recorder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = _run(run_folder(tmp_path / "plain", epochs=2, cuda_graph=False))

    def record_here(run: Run) -> Run:
        if recorder == "cannot":
            raise RuntimeError("operation not permitted when stream is capturing\nmore")
        return run if recorder == "works" else lambda: run() + 1

    monkeypatch.setattr(gradients, "_can_be_graphed", lambda job: True)
    monkeypatch.setattr(gradients, "record", record_here)
    events = _run(run_folder(tmp_path / "graphed", epochs=2))
    assert _losses(events) == pytest.approx(_losses(plain), abs=1e-4)
    warnings = [event["message"] for event in events if event.get("kind") == "cuda_graph"]
    assert len(warnings) == (0 if recorder == "works" else 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_real_graph_agrees_with_the_ordinary_computation(dtype: torch.dtype) -> None:
    model, optimiser = _model("cuda", dtype)
    batches = [pack(random_examples(4, 300, 5, False, seed)) for seed in range(8)]
    graphed = Graphed(model, budget(batches, 64), batches[0], record)
    graphed.to_check = len(batches)
    for batch in batches:
        assert graphed.gradients(batch, float(batch.labels)) is not None
        optimiser.step(1e-3)
