"""From messages to tokens: the model's own chat template in a sandbox, or a plain prompt where it has none.

Text of messages can never become a control token, whatever it spells; a template can neither run code nor run on.
"""

from __future__ import annotations

import contextlib
import mmap
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import BadRequest
from ..text import one_line
from .native import Model

ALPACA_HEAD = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request."
)
ALPACA_STOP = "### Instruction:"
THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
CLOSED_THINKING = "\n\n</think>\n\n"
FROZEN_DATE = "26 Jul 2024"
"""What `strftime_now` gives: a prompt must be the same tomorrow, or nothing could be replayed."""
_TEMPLATE_SECONDS = 2.0
_TEMPLATE_BYTES = 512 << 20
_LONGEST_RENDERED = 16 << 20


@dataclass(frozen=True, slots=True)
class Turn:
    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt. `opened`: the template has already opened a thinking block."""

    tokens: list[int]
    opened: bool = False
    stops: tuple[str, ...] = ()


@dataclass(slots=True)
class PromptMaker:
    """Renders and tokenises for one model."""

    model: Model
    template: str | None
    think: bool = False
    _compiled: Any = None
    _controls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._controls = sorted(
            {text for text in self.model.control_texts() if text.strip()}, key=len, reverse=True
        )

    def raw(self, text: str) -> Prompt:
        """A prompt as it stands."""
        return Prompt(self._with_bos(self.model.tokenize(text, special=False)))

    def chat(self, turns: Sequence[Turn], *, quick: bool = False) -> Prompt:
        """A conversation, the assistant's turn opened. `quick`: no thinking, the answer must come at once."""
        if self.template is None:
            return Prompt(
                self._with_bos(self.model.tokenize(alpaca(turns), special=False)), stops=(ALPACA_STOP,)
            )
        hidden = _Hidden(self._controls)
        text = self._render([Turn(t.role, hidden.hide(t.content)) for t in turns])
        opened = text.rstrip().endswith(THINK_OPEN)
        if opened and (quick or not self.think):
            text, opened = text.rstrip() + CLOSED_THINKING, False
        tokens: list[int] = []
        for part, special in hidden.split(text):
            tokens += self.model.tokenize(part, special=special)
        return Prompt(self._with_bos(tokens), opened)

    def _with_bos(self, tokens: list[int]) -> list[int]:
        if self.model.bos >= 0 and self.model.add_bos and tokens[:1] != [self.model.bos]:
            return [self.model.bos, *tokens]
        return tokens or ([self.model.bos] if self.model.bos >= 0 else tokens)

    def _render(self, turns: Sequence[Turn]) -> str:
        """Render; where the template refuses or drops a system message, that goes into the first user message."""
        merged = merge_system(turns)
        try:
            text = self._once(turns)
            system = next((t.content.strip() for t in turns if t.role == "system"), "")
            return text if system in text else self._once(merged)
        except BadRequest:
            if merged == list(turns):
                raise
            return self._once(merged)

    def _once(self, turns: Sequence[Turn]) -> str:
        from jinja2 import TemplateError

        try:
            with _bounded():
                if self._compiled is None:
                    self._compiled = _environment().from_string(self.template or "")
                text: str = self._compiled.render(
                    messages=[{"role": t.role, "content": t.content} for t in turns],
                    bos_token=self.model.spelling(self.model.bos) if self.model.bos >= 0 else "",
                    eos_token=self.model.spelling(self.model.eos) if self.model.eos >= 0 else "",
                    add_generation_prompt=True,
                    enable_thinking=self.think,
                )
        except TemplateError as error:
            raise BadRequest(
                f"The model's chat template refuses these messages: {one_line(str(error))}"
            ) from error
        except (_TooSlow, MemoryError, RecursionError) as error:
            raise BadRequest("The model's chat template takes too long or too much memory") from error
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, LookupError) as error:
            raise BadRequest(f"The model's chat template fails: {one_line(str(error))}") from error
        if len(text) > _LONGEST_RENDERED:
            raise BadRequest("The model's chat template makes a prompt of more than 16 million characters")
        return text


def alpaca(turns: Sequence[Turn]) -> str:
    """The plain prompt for a model without a template: preamble, instruction, and the response opened."""
    head = "\n\n".join(t.content for t in turns if t.role == "system") or ALPACA_HEAD
    parts = [head]
    for turn in turns:
        if turn.role != "system":
            parts.append(f"### {'Instruction' if turn.role == 'user' else 'Response'}:\n{turn.content}")
    return "\n\n".join(parts) + "\n\n### Response:\n"


def merge_system(turns: Sequence[Turn]) -> list[Turn]:
    """The system text in front of the first user message, for templates that know no system role."""
    system = "\n\n".join(t.content for t in turns if t.role == "system")
    rest = [t for t in turns if t.role != "system"]
    if not system:
        return rest
    if rest and rest[0].role == "user":
        return [Turn("user", f"{system}\n\n{rest[0].content}"), *rest[1:]]
    return [Turn("user", system), *rest]


def split_thinking(text: str, opened: bool) -> tuple[str, str | None]:
    """(answer, reasoning). An unclosed thinking block is all reasoning: the answer is empty."""
    bare = text.lstrip()
    if not opened and not bare.startswith(THINK_OPEN):
        head, mark, tail = text.partition(THINK_CLOSE)
        return (tail.lstrip(), head.strip()) if mark and THINK_OPEN not in head else (text, None)
    inside = bare.removeprefix(THINK_OPEN)
    reasoning, _, answer = inside.partition(THINK_CLOSE)
    return answer.lstrip(), reasoning.strip()


def visible_so_far(text: str, opened: bool) -> str:
    """What of a growing text may be shown: nothing of a thinking block, nor of what may become one."""
    bare = text.lstrip()
    if opened or bare.startswith(THINK_OPEN):
        return split_thinking(text, opened)[0]
    return "" if THINK_OPEN.startswith(bare) else text


class _Hidden:
    """Replaces spellings of control tokens in contents by marks, and finds them again in the rendered text."""

    def __init__(self, controls: list[str]) -> None:
        self._controls = controls
        self._found: list[str] = []
        self._open, self._close = "\U0010fff0", "\U0010fff1"

    def hide(self, content: str) -> str:
        content = content.replace(self._open, "\ufffd").replace(self._close, "\ufffd")
        for control in self._controls:
            if control in content:
                content = content.replace(control, self._mark(control))
        # The first half of a control token at the end could be completed by the content that follows it.
        tail = max((_overlap(content, control) for control in self._controls), default=0)
        return content[:-tail] + self._mark(content[-tail:]) if tail else content

    def _mark(self, text: str) -> str:
        self._found.append(text)
        return f"{self._open}{len(self._found) - 1}{self._close}"

    def split(self, text: str) -> Iterator[tuple[str, bool]]:
        """(part, whether control tokens count in it)."""
        while text:
            before, mark, rest = text.partition(self._open)
            if before:
                yield before, True
            if not mark:
                return
            number, _, text = rest.partition(self._close)
            if number.isdecimal() and int(number) < len(self._found):
                yield self._found[int(number)], False


def _overlap(text: str, control: str) -> int:
    """Length of the longest proper beginning of `control` that `text` ends with."""
    most = min(len(text), len(control) - 1)
    return next((n for n in range(most, 0, -1) if text.endswith(control[:n])), 0)


class _TooSlow(Exception):
    pass


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Two seconds and half a gigabyte for a template; a bomb ends as an exception, not as a dead worker."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return
    import resource

    def ring(_signal: int, _frame: object) -> None:
        raise _TooSlow

    before = signal.signal(signal.SIGALRM, ring)
    limits = resource.getrlimit(resource.RLIMIT_AS)
    ceiling = _address_space() + _TEMPLATE_BYTES
    hard = limits[1]
    if ceiling > _TEMPLATE_BYTES and (hard == resource.RLIM_INFINITY or ceiling < hard):
        resource.setrlimit(resource.RLIMIT_AS, (ceiling, hard))
    signal.setitimer(signal.ITIMER_REAL, _TEMPLATE_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, limits)


def _address_space() -> int:
    """Bytes of address space in use; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[0]) * mmap.PAGESIZE
    except OSError:
        return 0


def _environment() -> Any:
    import json

    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(str(message))

    def as_json(value: Any, indent: int | None = None, **_more: Any) -> str:
        return json.dumps(value, ensure_ascii=False, indent=indent)

    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    env.filters["tojson"] = as_json
    env.globals["raise_exception"] = refuse
    env.globals["strftime_now"] = lambda _format="": FROZEN_DATE
    return env
