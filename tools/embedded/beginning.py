"""The weights that training begins with: random, but for heads that can copy.

A response names what the instruction names, and names are drawn from an open set: they must be copied. A small model
that starts from noise finds copying late or, in the hour that we have, not at all (see docs/embedded). The circuit is
known: one head looks at the token before, and a head of a later layer looks for the place whose token before is the
token at hand, and says what stands there (Olsson et al. 2022, "In-context learning and induction heads"). Here it is
written into the first weights, as others write other good beginnings (Trockman and Kolter 2023, "Mimetic
initialization of self-attention layers"); training is free to change every one of them.

Of the residual stream's columns the first three eighths begin with the position, the next `head_width` with the token
before, the rest with the token.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pairsmith.training.model import GPT2, random_model
from pairsmith.training.shapes import Shape

_SCALE = 0.02
_SLOWEST = 3000.0
"""Tokens in a turn of the slowest wave, over 2 pi."""
_FINDERS = 3
"""Layers that get a head which says what followed."""


def new_model(shape: Shape, seed: int) -> GPT2:
    """A model to be trained from nothing; the same for the same seed."""
    model = random_model(shape, seed)
    if shape.layers < 2 or _token_start(shape) >= shape.width:
        return model
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        _write(model, generator)
    return model


def _token_start(shape: Shape) -> int:
    return _position_columns(shape) + shape.head_width


def _position_columns(shape: Shape) -> int:
    """Sine and cosine of `head_width / 2` fast waves and half as many slow ones."""
    return 3 * (shape.head_width // 2)


def _write(model: GPT2, generator: torch.Generator) -> None:
    shape, tensors = model.shape, model.tensors
    width, each = shape.width, shape.head_width
    columns, token = _position_columns(shape), _token_start(shape)
    # what is found by distance wants waves of every speed: then no two distances but one look alike
    fast = torch.rand(each // 2, generator=generator) * math.pi
    slow = torch.exp(-torch.arange(each // 4) / (each // 4) * math.log(_SLOWEST))
    place = torch.arange(float(shape.context))[:, None] * torch.cat([fast, slow])
    half = columns // 2
    positions, tokens = tensors["wpe.weight"], tensors["wte.weight"]
    positions.mul_(0.1)
    positions[:, :half], positions[:, half:columns] = _SCALE * torch.sin(place), _SCALE * torch.cos(place)
    tokens[:, :token] *= 0.2
    tokens[:, token:] *= 1.5
    tensors["ln_f.weight"].mul_(3.0)

    reads_token = torch.zeros(each, width)
    reads_token[:, token:] = _orthogonal(each, width - token, generator)
    reads_before = torch.zeros(each, width)
    reads_before[:, columns:token] = torch.eye(each)
    first = tensors["h.0.attn.c_attn.weight"]
    for head in range(min(2, shape.heads)):
        at = slice(head * each, (head + 1) * each)
        first[:width][at] = 2 * _turned(fast, head + 1, half, width)
        first[width : 2 * width][at] = 2 * _turned(fast, 0, half, width)
    first[2 * width :][:each] = reads_token
    tensors["h.0.attn.c_proj.weight"][:, :each] = 2 * _SCALE * reads_before.T
    for layer in range(1, min(1 + _FINDERS, shape.layers)):
        products = tensors[f"h.{layer}.attn.c_attn.weight"]
        products[:each] = 2 * reads_token
        products[width : width + each] = 2 * reads_before
        said = torch.zeros(each, width)
        said[:, token:] = _orthogonal(each, width - token, generator)
        products[2 * width : 2 * width + each] = said
        tensors[f"h.{layer}.attn.c_proj.weight"][:, :each] = 1.5 * _SCALE * said.T


def _turned(rates: Tensor, distance: int, half: int, width: int) -> Tensor:
    """[2 * waves, width]: reads the fast waves as they were `distance` places before."""
    count = len(rates)
    matrix = torch.zeros(2 * count, width)
    for wave, angle in enumerate((rates * distance).tolist()):
        matrix[wave, wave], matrix[wave, half + wave] = math.cos(angle), -math.sin(angle)
        matrix[count + wave, half + wave], matrix[count + wave, wave] = math.cos(angle), math.sin(angle)
    return matrix


def _orthogonal(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    """[rows, columns] with orthonormal rows or, where there are more rows than columns, columns."""
    drawn = torch.randn(max(rows, columns), min(rows, columns), generator=generator)
    made: Tensor = torch.linalg.qr(drawn)[0]
    return made.T if rows < columns else made
