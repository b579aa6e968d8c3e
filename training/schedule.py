"""Learning rates by step, and the order of the data, drawn as torch's DataLoader draws it."""

from __future__ import annotations

import math

import torch

from .config import Config


def learning_rate(config: Config, step: int, steps: int) -> float:
    """The rate of step 1..steps: linear warm-up, then constant, linear or cosine down to a fraction."""
    if step <= config.warmup_steps:
        return config.learning_rate * step / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - config.warmup_steps) / max(1, steps - config.warmup_steps)
    falling = 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    low = config.min_learning_rate
    return config.learning_rate * (low + (1 - low) * falling)


class Order:
    """Shuffled orders with the random draws of a `DataLoader(shuffle=True)` after `torch.manual_seed(seed)`.

    A private generator stands for torch's global one, so that nothing else disturbs it and a checkpoint can hold it.
    """

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.before = self.generator.get_state()
        """The state before the running epoch's draw."""

    def reset(self, seed: int) -> None:
        """As `torch.manual_seed(seed)`."""
        self.generator.manual_seed(seed)

    def draw(self, count: int) -> list[int]:
        """What iterating a shuffling loader over `count` items draws: two seeds, and an order from the second."""
        self.draw_unshuffled()
        seed = int(torch.empty((), dtype=torch.int64).random_(generator=self.generator).item())
        order: list[int] = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
        return order

    def draw_unshuffled(self) -> None:
        """What iterating a loader without shuffling draws: one seed, unused."""
        torch.empty((), dtype=torch.int64).random_(generator=self.generator)

    def start_epoch(self, count: int) -> list[int]:
        """The order of an epoch; remembers the state before it."""
        self.before = self.generator.get_state()
        return self.draw(count)

    def resume_epoch(self, count: int, before: torch.Tensor, now: torch.Tensor) -> list[int]:
        """The order of an epoch that was interrupted: drawn again, then on from where the draws had come to."""
        self.generator.set_state(before)
        order = self.start_epoch(count)
        self.generator.set_state(now)
        return order
