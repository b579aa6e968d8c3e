"""AdamW over flat buffers, in slices that stay in the cache; fp32 masters under bf16 products.

The formulas are torch.optim.AdamW's. What differs is where the numbers lie: parameters, moments and gradients of a kind
are neighbours, and each slice is converted, updated and copied back to bf16 while it is in the cache. Rows of an
embedding that no example has used yet have moments of zero: for them AdamW is weight decay alone, and no more is done.
"""

from __future__ import annotations

import math
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from . import memory
from .model import GPT2, product_names

SLICE = 1 << 18
"""Numbers that are updated at a time on a CPU,"""
SLICE_BF16 = 1 << 16
"""and fewer where they are converted too: all six copies of them fit into the cache."""
LANES = 16
"""Rows of other widths would be rounded differently at their ends when taken out of the matrix."""


@dataclass(frozen=True, slots=True)
class Rates:
    """AdamW's settings but the learning rate, which changes by step."""

    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8


@dataclass(slots=True)
class Group:
    """Parameters of one kind, laid end to end."""

    names: list[str]
    pieces: list[slice]
    master: torch.Tensor
    gradient: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    copy: torch.Tensor | None
    """The bf16 copy that the products read."""
    width: int
    """Numbers in a row where this is an embedding whose rows are told apart, else 0."""
    live: torch.Tensor | None
    """Which rows ever had a gradient."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Views of one slice of a group."""

    master: torch.Tensor
    gradient: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    copy: torch.Tensor | None


class AdamW:
    """The optimiser of one model: owns the flat buffers, which the model's tensors become views of."""

    def __init__(
        self,
        model: GPT2,
        rates: Rates,
        dtype: torch.dtype,
        trained: dict[str, torch.Tensor],
        alone: bool = True,
    ) -> None:
        """`trained` are the tensors to update: the model's own, or LoRA's. Their storage is replaced.

        `alone`: no other process adds to the gradients.
        """
        self.rates = rates
        self.model = model
        self.step_count = torch.zeros((), dtype=torch.float32, device=model.device)
        self._scratch = threading.local()
        self._workers: ThreadPoolExecutor | None = None
        products = set(product_names(model.shape)) if dtype != torch.float32 else set()
        by_row = _row_wise(model, trained) if alone else []
        kinds = (
            [n for n in trained if n in products],
            [n for n in trained if n not in products and n not in by_row],
            *([name] for name in by_row),
        )
        self.groups = [
            self._lay_out(model, names, trained, dtype if index == 0 else torch.float32, index > 1)
            for index, names in enumerate(kinds)
            if names
        ]
        on_cpu = model.device.type == "cpu"
        self._pieces = [piece for group in self.groups if group.live is None for piece in cut(group, on_cpu)]

    def _lay_out(
        self,
        model: GPT2,
        names: list[str],
        trained: dict[str, torch.Tensor],
        dtype: torch.dtype,
        by_row: bool,
    ) -> Group:
        total = sum(trained[name].numel() for name in names)
        device = model.device
        master = memory.zeros(total, torch.float32, device)
        gradient = memory.zeros(total, dtype, device)
        copy = memory.zeros(total, dtype, device) if dtype != torch.float32 else None
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
        first, second = (memory.zeros(total, torch.float32, device) for _ in range(2))
        width, live = 0, None
        if by_row:
            rows, width = trained[names[0]].shape
            live = torch.zeros(rows, dtype=torch.bool)
            model.written[names[0]] = []
        return Group(names, pieces, master, gradient, first, second, copy, width, live)

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
        self._update_rows(learning_rate, scale)
        pieces = self._pieces
        threads = torch.get_num_threads() if self.step_count.device.type == "cpu" else 1
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

    def _update_all(self, pieces: list[Piece], learning_rate: float, scale: float) -> None:
        with torch.no_grad():
            for piece in pieces:
                self._update(piece, learning_rate, scale)

    def _update(self, piece: Piece, learning_rate: float, scale: float) -> None:
        gradient = piece.gradient
        if gradient.dtype != torch.float32 or (scale != 1.0 and gradient.device.type == "cpu"):
            # a slice is scaled in the cache: nothing is written back to memory
            gradient = self._wide(gradient, scale)
        elif scale != 1.0:
            gradient.mul_(scale)
        torch._fused_adamw_(
            [piece.master],
            [gradient],
            [piece.first],
            [piece.second],
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
        if piece.copy is not None:
            piece.copy.copy_(piece.master)

    def _update_rows(self, learning_rate: float, scale: float) -> None:
        """The embeddings whose rows are told apart: all rows decay, those with a past are updated in full."""
        for group in self.groups:
            if group.live is None:
                continue
            for index in self.model.written[group.names[0]]:
                group.live[index] = True
            live = group.live.nonzero().squeeze(1)
            whole = (group.master, group.gradient, group.first, group.second)
            if 2 * len(live) > len(group.live):
                self._update_all([Piece(*whole, None)], learning_rate, scale)
                continue
            rows = [flat.view(-1, group.width) for flat in whole]
            taken = [matrix.index_select(0, live) for matrix in rows]
            group.master.mul_(1 - learning_rate * self.rates.weight_decay)
            if len(live):
                master, gradient, first, second = (part.view(-1) for part in taken)
                self._update_all([Piece(master, gradient, first, second, None)], learning_rate, scale)
            for matrix, part in zip((rows[0], *rows[2:]), (taken[0], *taken[2:]), strict=True):
                matrix.index_copy_(0, live, part)

    def _wide(self, gradient: torch.Tensor, scale: float) -> torch.Tensor:
        scratch = getattr(self._scratch, "wide", None)
        if scratch is None or len(scratch) < len(gradient):
            scratch = self._scratch.wide = torch.empty(len(gradient), device=gradient.device)
        return torch.mul(gradient, scale, out=scratch[: len(gradient)])

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
        for group in self.groups:
            if group.live is not None:
                moved = [moment.view(-1, group.width).any(1) for moment in (group.first, group.second)]
                group.live.copy_(moved[0] | moved[1])

    def refresh(self) -> None:
        """Make the bf16 copies again, after the masters were replaced."""
        for group in self.groups:
            if group.copy is not None:
                group.copy.copy_(group.master)


def _row_wise(model: GPT2, trained: dict[str, torch.Tensor]) -> list[str]:
    """The embeddings that get gradients for the rows of a step's tokens only: no matrix product adds to them."""
    if model.device.type != "cpu" or model.shape.width % LANES:
        return []
    untied = [] if model.shape.tied_head else ["wte.weight"]
    return [name for name in (*untied, "wpe.weight") if name in trained]


def cut(group: Group, on_cpu: bool) -> list[Piece]:
    """A group in slices that stay in the cache; whole where it is not on a CPU."""
    total = len(group.master)
    size = (SLICE if group.copy is None else SLICE_BF16) if on_cpu else total
    parts = [slice(start, start + size) for start in range(0, total, size)]
    return [
        Piece(
            group.master[part],
            group.gradient[part],
            group.first[part],
            group.second[part],
            None if group.copy is None else group.copy[part],
        )
        for part in parts
    ]


def _square_sum(flat: torch.Tensor) -> float:
    size = SLICE if flat.device.type == "cpu" else len(flat)
    return sum(float(torch.dot(wide, wide)) for wide in (part.float() for part in flat.split(size)))
