"""The styles that a pair is written in: Alpaca's and Phi-3's, byte for byte as the reference text has them, and a
short one, whose form costs three tokens: for a small model most of a small prompt would be form.

A prompt ends before the header of the response: in training the model also learns to write the header.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

ALPACA_PREAMBLE = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)


@dataclass(frozen=True, slots=True)
class Style:
    """How a pair becomes text: `prompt(instruction, input) + header + output`."""

    name: str
    prompt: Callable[[str, str], str]
    header: str
    """What stands between prompt and response."""
    marker: str
    """The part of the header that is removed from a generated response."""

    def text(self, instruction: str, input_: str, output: str) -> str:
        """The whole training text, without end-of-text."""
        return self.prompt(instruction, input_) + self.header + output

    def response(self, generated: str) -> str:
        """The response in what was generated after a prompt: header marker removed, white space stripped."""
        return generated.replace(self.marker, "").strip()


def _alpaca(instruction: str, input_: str) -> str:
    given = f"\n\n### Input:\n{input_}" if input_ else ""
    return f"{ALPACA_PREAMBLE}\n\n### Instruction:\n{instruction}{given}"


def _phi3(instruction: str, input_: str) -> str:
    return f"<|user|>\n{instruction}" + (f"\n{input_}" if input_ else "")


def _short(instruction: str, input_: str) -> str:
    return instruction + (f"\n{input_}" if input_ else "")


STYLES = {
    "alpaca": Style("alpaca", _alpaca, "\n\n### Response:\n", "### Response:"),
    "phi3": Style("phi3", _phi3, "\n<|assistant|>:\n", "<|assistant|>:"),
    "short": Style("short", _short, "\n<|>\n", "<|>"),
}
