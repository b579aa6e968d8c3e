"""Small models that write and judge well enough on an ordinary machine, for somebody who has none yet.

Names and licences are those of the publishers' own pages on the Hub. Sizes say what to expect; how large a file really
is, and its SHA-256, the Hub is asked before anything is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HubModel:
    """One GGUF file of a repository on the Hub. `bytes`: about; `memory`: bytes of RAM that running it takes, about."""

    name: str
    repo: str
    file: str
    bytes: int
    memory: int
    licence: str
    about: str

    @property
    def id(self) -> str:
        """The name under which `llama-cpp:` finds it once it is here."""
        return self.file.removesuffix(".gguf")


RECOMMENDED = (
    HubModel(
        "Qwen2.5 1.5B Instruct",
        "Qwen/Qwen2.5-1.5B-Instruct-GGUF",
        "qwen2.5-1.5b-instruct-q4_k_m.gguf",
        1_120_000_000,
        2_000_000_000,
        "Apache 2.0",
        "a good beginning: 29 languages, quick on a laptop's processor",
    ),
    HubModel(
        "Qwen2.5 0.5B Instruct",
        "Qwen/Qwen2.5-0.5B-Instruct-GGUF",
        "qwen2.5-0.5b-instruct-q4_k_m.gguf",
        491_000_000,
        1_000_000_000,
        "Apache 2.0",
        "the smallest that is of use; often wrong",
    ),
    HubModel(
        "SmolLM2 1.7B Instruct",
        "HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF",
        "smollm2-1.7b-instruct-q4_k_m.gguf",
        1_060_000_000,
        2_000_000_000,
        "Apache 2.0",
        "English; trained on open data",
    ),
    HubModel(
        "SmolLM2 360M Instruct",
        "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF",
        "smollm2-360m-instruct-q8_0.gguf",
        386_000_000,
        800_000_000,
        "Apache 2.0",
        "English; very small and quick; good for trying things out",
    ),
    HubModel(
        "Qwen2.5 3B Instruct",
        "Qwen/Qwen2.5-3B-Instruct-GGUF",
        "qwen2.5-3b-instruct-q4_k_m.gguf",
        2_100_000_000,
        3_500_000_000,
        "Qwen Research: no commercial use",
        "better than the others, and slower",
    ),
)
"""The one to begin with first."""
