"""AdamW over flat buffers, in slices that stay in the cache; fp32 masters under bf16 products.

The formulas are torch.optim.AdamW's. What differs is where the numbers lie: parameters, moments and gradients of a kind
are neighbours, and each slice is converted, updated and copied back to bf16 while it is in the cache.
"""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from .model import GPT2, product_names

SLICE = 1 << 18


@dataclass(frozen=True, slots=True)
class Rates:
    """AdamW's settings but the learning rate, which changes by step."""

    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8


@dataclass(slots=True)
class _Group:
    """Parameters of one kind, laid end to end."""

    names: list[str]
    pieces: list[slice]
    master: torch.Tensor
    gradient: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    copy: torch.Tensor | None
    """The bf16 copy that the products read."""


class AdamW:
    """The optimiser of one model: owns the flat buffers, which the model's tensors become views of."""

    def __init__(
        self, model: GPT2, rates: Rates, dtype: torch.dtype, trained: dict[str, torch.Tensor]
    ) -> None:
        """`trained` are the tensors to update: the model's own, or LoRA's. Their storage is replaced."""
        self.rates = rates
        self.step_count = torch.zeros((), dtype=torch.float32, device=model.device)
        self._scratch = threading.local()
        self._workers: ThreadPoolExecutor | None = None
        products = set(product_names(model.shape)) if dtype != torch.float32 else set()
        kinds = ([n for n in trained if n in products], [n for n in trained if n not in products])
        self.groups = [
            self._lay_out(model, names, trained, dtype if index == 0 else torch.float32)
            for index, names in enumerate(kinds)
            if names
        ]

    def _lay_out(
        self, model: GPT2, names: list[str], trained: dict[str, torch.Tensor], dtype: torch.dtype
    ) -> _Group:
        total = sum(trained[name].numel() for name in names)
        device = model.device
        master = torch.empty(total, device=device)
        gradient = torch.zeros(total, dtype=dtype, device=device)
        copy = torch.empty(total, dtype=dtype, device=device) if dtype != torch.float32 else None
        start = 0
        pieces = []
        for name in names:
            tensor = trained[name]
            piece = slice(start, start + tensor.numel())
            pieces.append(piece)
            view = master[piece].view(tensor.shape)
            view.copy_(tensor.detach())
            gradient_view = gradient[piece].view(tensor.shape)
            if name in model.tensors:
                model.tensors[name] = view
                model.gradients[name] = gradient_view
                if copy is not None:
                    model.compute[name] = copy[piece].view(tensor.shape)
                    model.compute[name].copy_(view)
                elif model.compute[name].dtype == torch.float32:
                    model.compute[name] = view
            else:
                tensor.data = view
                tensor.grad = gradient_view
            start += tensor.numel()
        zeros = torch.zeros(total, device=device), torch.zeros(total, device=device)
        return _Group(names, pieces, master, gradient, *zeros, copy)

    def start_step(self, model: GPT2) -> None:
        """Forget the gradients of the last step."""
        model.start_step()
        if not model.gradients:
            for group in self.groups:
                group.gradient.zero_()

    def norm(self) -> float:
        """The global norm of the gradients (fp32 accumulation)."""
        return math.sqrt(sum(_square_sum(group.gradient) for group in self.groups))

    def step(self, learning_rate: float, scale: float = 1.0) -> None:
        """One update with the gradients times `scale`."""
        self.step_count += 1
        on_cpu = self.step_count.device.type == "cpu"
        pieces = [
            (group, slice(start, start + size))
            for group in self.groups
            for size in (SLICE if on_cpu else len(group.master),)
            for start in range(0, len(group.master), size)
        ]
        threads = torch.get_num_threads() if on_cpu else 1
        if threads == 1 or len(pieces) < 2 * threads:
            self._update_all(pieces, learning_rate, scale)
            return
        # each thread its own share: no thread waits for another slice by slice, which a busy machine makes slow
        share = -(-len(pieces) // threads)
        parts = [pieces[start : start + share] for start in range(0, len(pieces), share)]
        if self._workers is None:
            self._workers = ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))
        list(self._workers.map(lambda part: self._update_all(part, learning_rate, scale), parts))
        torch.set_num_threads(threads)

    def _update_all(self, pieces: list[tuple[_Group, slice]], learning_rate: float, scale: float) -> None:
        with torch.no_grad():
            for group, piece in pieces:
                self._update(group, piece, learning_rate, scale)

    def _update(self, group: _Group, piece: slice, learning_rate: float, scale: float) -> None:
        gradient = group.gradient[piece]
        if gradient.dtype != torch.float32:
            gradient = self._wide(gradient)
        if scale != 1.0:
            gradient.mul_(scale)
        master = group.master[piece]
        torch._fused_adamw_(
            [master],
            [gradient],
            [group.first[piece]],
            [group.second[piece]],
            [],
            [self.step_count],
            lr=learning_rate,
            beta1=self.rates.betas[0],
            beta2=self.rates.betas[1],
            weight_decay=self.rates.weight_decay,
            eps=self.rates.epsilon,
            amsgrad=False,
            maximize=False,
        )
        if group.copy is not None:
            group.copy[piece].copy_(master)

    def _wide(self, gradient: torch.Tensor) -> torch.Tensor:
        scratch = getattr(self._scratch, "wide", None)
        if scratch is None or len(scratch) < len(gradient):
            scratch = self._scratch.wide = torch.empty(len(gradient), device=gradient.device)
        return scratch[: len(gradient)].copy_(gradient)

    def state(self) -> dict[str, torch.Tensor]:
        """Both moments by parameter name, and the step count: what a checkpoint holds (views, not copies)."""
        tensors = {"step": self.step_count}
        for group in self.groups:
            for name, piece in zip(group.names, group.pieces, strict=True):
                tensors[f"first.{name}"] = group.first[piece]
                tensors[f"second.{name}"] = group.second[piece]
        return tensors

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take over the moments of a checkpoint."""
        own = self.state()
        for name, tensor in own.items():
            tensor.copy_(tensors[name])

    def refresh(self) -> None:
        """Make the bf16 copies again, after the masters were replaced."""
        for group in self.groups:
            if group.copy is not None:
                group.copy.copy_(group.master)


def _square_sum(flat: torch.Tensor) -> float:
    size = SLICE if flat.device.type == "cpu" else len(flat)
    return sum(float(part.float().square().sum()) for part in flat.split(size))
