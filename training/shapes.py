"""How large a GPT-2 is: the four official sizes, our tiny one, and any other."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .errors import TrainingError

GPT2_VOCABULARY = 50257


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that decides the sizes of the tensors. `context` is in tokens."""

    layers: int
    width: int
    heads: int
    context: int
    vocabulary: int
    tied_head: bool = True
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads", "context", "vocabulary"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10_000_000:
                raise TrainingError("config", f"shape: {name} must be a whole number above 0, not {value!r}")
        if self.width % self.heads:
            raise TrainingError(
                "config",
                f"shape: width {self.width} cannot be divided by {self.heads} heads",
                "Choose another.",
            )

    @property
    def head_width(self) -> int:
        """Numbers per attention head."""
        return self.width // self.heads

    @property
    def parameters(self) -> int:
        """Trainable numbers, a tied output matrix counted once."""
        block = 12 * self.width * self.width + 13 * self.width
        embeddings = (self.vocabulary + self.context) * self.width
        head = 0 if self.tied_head else self.vocabulary * self.width
        return embeddings + self.layers * block + 2 * self.width + head

    def as_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


OFFICIAL = {
    "gpt2-small": Shape(12, 768, 12, 1024, GPT2_VOCABULARY),
    "gpt2-medium": Shape(24, 1024, 16, 1024, GPT2_VOCABULARY),
    "gpt2-large": Shape(36, 1280, 20, 1024, GPT2_VOCABULARY),
    "gpt2-xl": Shape(48, 1600, 25, 1024, GPT2_VOCABULARY),
}
HUB_IDS = {
    "gpt2-small": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
}
SCRATCH = {
    "tiny": Shape(4, 128, 4, 1024, 1024),
    "small": OFFICIAL["gpt2-small"],
    "medium": OFFICIAL["gpt2-medium"],
    "large": OFFICIAL["gpt2-large"],
    "xl": OFFICIAL["gpt2-xl"],
}
