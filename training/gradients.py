"""The gradients of one step: slice by slice, or on a GPU by a recorded graph where that is possible and right."""

from __future__ import annotations

import torch

from . import forward
from .batches import pack
from .data import Example
from .graphed import Disagreement, Graphed, Recorder, budget, record
from .setup import Job

LOOKED_AT = 64
"""Batches of the coming epoch from which the graph's size is taken; a bigger one is computed without it."""


class Gradients:
    """Computes the gradients of a job's steps into its model's buffers."""

    def __init__(self, job: Job, recorder: Recorder | None = None) -> None:
        self.job = job
        self.recorder = recorder or record
        self.graphed: Graphed | None = None
        self.wanted = job.config.cuda_graph and _can_be_graphed(job)
        self.notes: list[str] = []
        """What people should know; whoever tells it takes it out."""

    def prepare(self, batches: list[list[Example]]) -> None:
        """Record the graph, of a size that holds the coming batches; once, where it is wanted."""
        if not self.wanted or self.graphed is not None:
            return
        packs = [pack(batch) for batch in batches[:LOOKED_AT]]
        packs = [packed for packed in packs if packed.labels]
        if not packs:
            return
        model = self.job.model
        try:
            self.graphed = Graphed(model, budget(packs, model.shape.context), packs[0], self.recorder)
        except RuntimeError as error:
            self._without(f"no CUDA graph could be recorded ({_first_line(error)})")

    def of(self, examples: list[Example], labels: int) -> float:
        """Gradients of the mean loss over the examples' labels; that loss, over all processes."""
        job = self.job
        loss = self._by_graph(examples, labels)
        if loss is None:
            loss = self._ordinary(examples, labels)
        if job.world.size > 1:
            for group in job.optimiser.groups:
                job.world.add(group.gradient)
        return job.world.total(loss, job.device.device)

    def _by_graph(self, examples: list[Example], labels: int) -> float | None:
        if self.graphed is None or not any(example.labels for example in examples):
            return None
        try:
            return self.graphed.gradients(pack(examples), float(labels))
        except Disagreement as error:
            self._without(str(error))
            return error.expected

    def _without(self, why: str) -> None:
        self.graphed, self.wanted = None, False
        self.notes.append(f"{why}: steps are computed without it, which is slower and else the same")
        torch.cuda.empty_cache()

    def _ordinary(self, examples: list[Example], labels: int) -> float:
        job = self.job
        job.optimiser.start_step(job.model)
        loss = 0.0
        for packed in job.slices(examples):
            if packed.labels:
                part, _ = forward.losses(job.model, packed, float(labels))
                part.backward()
                loss += float(part.detach())
        job.model.finish_step()
        return loss


def _can_be_graphed(job: Job) -> bool:
    """On one GPU, where no random draw and no autograd buffer of its own is part of a step."""
    return (
        job.device.device.type == "cuda"
        and job.world.size == 1
        and job.config.accumulate == 1
        and not job.config.dropout
        and not job.model.lora
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
