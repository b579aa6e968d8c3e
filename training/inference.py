"""Answers from a model by name: what `generate`, `evaluate` and `chat` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import bases, config, data, devices, hub
from .generate import Answer, Sampling, generate
from .model import GPT2
from .prompts import STYLES, Style
from .vocabulary import Vocabulary

GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class Options:
    """How a model is loaded and asked. `header` puts the response header into the prompt: it need not be generated."""

    device: str = "auto"
    precision: str = "fp32"
    threads: int | None = None
    models_dir: str | None = None
    offline: bool = False
    style: str | None = None
    header: bool = False
    rows: int = 128
    sampling: Sampling = GREEDY


@dataclass(slots=True)
class Speaker:
    """A model that is ready to answer in one style."""

    model: GPT2
    vocabulary: Vocabulary
    style: Style
    device: devices.Device
    name: str
    is_random: bool

    def prompt(self, instruction: str, input_: str, header: bool, room: int) -> list[int]:
        """Ids of a prompt; its beginning is lost where it leaves less than `room` tokens of the context."""
        text = self.style.prompt(instruction, input_) + (self.style.header if header else "")
        return self.fitting(text, room)

    def fitting(self, text: str, room: int) -> list[int]:
        """Ids of text, its beginning lost where it leaves less than `room` tokens of the context."""
        ids = self.vocabulary.encode(text) or [self.vocabulary.end_of_text]
        return ids[-max(1, self.model.shape.context - room) :]

    def text(self, answer: Answer) -> str:
        """The response in what was generated."""
        return self.style.response(self.vocabulary.decode(answer.tokens))


def load(
    name: str,
    options: Options,
    folder: Path | None = None,
    progress: hub.Progress = lambda _name, _done, _total: None,
) -> Speaker:
    """A model to talk to. With a run's folder, "base" is what that run started from. Raises TrainingError."""
    settings = config.read(folder / "config.json") if folder else None
    style = options.style
    models_dir, offline = options.models_dir, options.offline
    if settings is not None:
        models_dir, offline = models_dir or settings.models_dir, offline or settings.offline
        style = style or settings.prompt_style
    if name == "base" and settings is not None and folder is not None:
        name = settings.base
        if settings.scratch is not None:
            base = _scratch(folder, settings)
            return _speaker(base, options, style)
    return _speaker(bases.load(name, models_dir, offline, progress), options, style)


def _scratch(folder: Path, settings: config.Config) -> bases.Base:
    kept = folder / "vocabulary"
    words = str(kept) if (kept / "vocab.json").exists() else settings.vocabulary
    pairs = data.read_pairs(folder / "train.jsonl")
    style = STYLES[settings.prompt_style]
    texts = (style.text(pair.instruction, pair.input, pair.output) for pair in pairs)
    return bases.scratch(settings.scratch or "tiny", settings.shape, words, settings.seed, texts)


def _speaker(base: bases.Base, options: Options, style: str | None) -> Speaker:
    device = devices.choose(options.device, options.precision, options.threads, base.model.shape.parameters)
    model = base.model.to(device.device)
    model.use(device.dtype)
    chosen = STYLES.get(style or base.style or "alpaca", STYLES["alpaca"])
    return Speaker(model, base.vocabulary, chosen, device, base.name, base.is_random)


def answer_all(
    speaker: Speaker,
    pairs: Sequence[data.Pair],
    options: Options,
    on_answer: Callable[[int, Answer], None] = lambda _index, _answer: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[Answer]:
    """An answer to every pair's instruction, in order. Raises generate.Cancelled."""
    room = min(options.sampling.max_new_tokens, speaker.model.shape.context // 2)
    prompts = [speaker.prompt(pair.instruction, pair.input, options.header, room) for pair in pairs]
    return generate(
        speaker.model,
        prompts,
        speaker.vocabulary.end_of_text,
        options.sampling,
        tokens=len(speaker.vocabulary),
        rows=options.rows,
        on_answer=on_answer,
        stop=stop,
    )
