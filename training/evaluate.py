"""`evaluate FOLDER`: answers to the test pairs and every measure that needs no other model, with intervals."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from . import atomic, data, evaluation_loss, inference, metrics, statistics
from .data import Pair
from .errors import TrainingError
from .events import Control, Event, event
from .generate import Answer, Cancelled
from .inference import Options, Speaker

PER_ITEM = ("bleu", *metrics.ROUGES, "exact_match", "short_answer_match")


def run(
    folder: Path,
    model: str | None,
    name: str | None,
    choices: Path | None,
    options: Options,
    control: Control,
    emit: Callable[[Event], None],
) -> Iterator[Event]:
    """The events of an evaluation; `emit` takes those that come from within a batch. Raises TrainingError, and
    generate.Cancelled where `control` is told to cancel: nothing is written then."""
    model, name = _named(folder, model, name)
    speaker = inference.load(model, options, folder)
    pairs = data.read_pairs(folder / "test.jsonl", required=False)
    if not pairs and choices is None:
        raise TrainingError(
            "data", "test.jsonl: holds no pairs", "Give a larger data set, or --choices FILE."
        )
    questions = metrics.read_questions(choices) if choices else []
    yield event(
        "started",
        verb="evaluate",
        model=model,
        name=name,
        device=speaker.device.label,
        precision=speaker.device.precision,
        prompt_style=speaker.style.name,
        base_is_random=speaker.is_random,
        n=len(pairs),
    )
    report: dict[str, Any] = {
        "model": model,
        "name": name,
        "prompt_style": speaker.style.name,
        "n": len(pairs),
    }
    items: list[dict[str, Any]] = []
    if pairs:
        answers, generation = _answers(speaker, pairs, options, control, emit)
        items = _items(speaker, pairs, answers)
        report |= {"generation": generation}
        perplexity, cut = _perplexity(speaker, pairs, items, control)
        report |= {"perplexity": perplexity, "truncated": cut, "metrics": measure(items)}
    if questions:
        report["choices"] = _choices(speaker, questions, control, emit)
    _heed(control)
    files = write(folder / "evaluation", name, report, items)
    yield event("done", verb="evaluate", state="finished", report=report, files=files)


def _named(folder: Path, model: str | None, name: str | None) -> tuple[str, str]:
    tuned = folder / "model"
    if model is None:
        if not tuned.exists():
            raise TrainingError("weights", f"{folder.name}: no model was published there", "Train it first.")
        return str(tuned), name or "tuned"
    name = name or ("base" if model == "base" else Path(model).stem)
    if not name or "/" in name or "\\" in name or name.startswith("."):
        raise TrainingError("config", f"--name {name!r} cannot be the name of a file")
    return model, name


def _answers(
    speaker: Speaker,
    pairs: Sequence[Pair],
    options: Options,
    control: Control,
    emit: Callable[[Event], None],
) -> tuple[list[Answer], dict[str, Any]]:
    started = time.perf_counter()
    done = tokens = 0

    def report(index: int, answer: Answer) -> None:
        nonlocal done, tokens
        done, tokens = done + 1, tokens + len(answer.tokens)
        emit(
            event(
                "response",
                id=pairs[index].id,
                text=speaker.text(answer),
                tokens=len(answer.tokens),
                finish_reason=answer.finish_reason,
            )
        )
        rate = round(tokens / max(time.perf_counter() - started, 1e-9), 1)
        emit(event("progress", done=done, total=len(pairs), unit="responses", tokens_per_s=rate))

    answers = inference.answer_all(speaker, pairs, options, report, control.cancel.is_set)
    seconds = time.perf_counter() - started
    count = sum(len(answer.tokens) for answer in answers)
    return answers, {
        "seconds": round(seconds, 3),
        "tokens": count,
        "tokens_per_s": round(count / max(seconds, 1e-9), 1),
        "stopped_at_limit": sum(answer.finish_reason == "length" for answer in answers),
        "max_new_tokens": options.sampling.max_new_tokens,
        "temperature": options.sampling.temperature,
    }


def _items(speaker: Speaker, pairs: Sequence[Pair], answers: Sequence[Answer]) -> list[dict[str, Any]]:
    texts = [speaker.text(answer) for answer in answers]
    scores = score_items(texts, [pair.output for pair in pairs])
    return [
        {
            "id": pair.id,
            "instruction": pair.instruction,
            "input": pair.input,
            "output": pair.output,
            "model_response": text,
            "tokens": len(answer.tokens),
            "finish_reason": answer.finish_reason,
            **score,
        }
        for pair, text, answer, score in zip(pairs, texts, answers, scores, strict=True)
    ]


def score_items(answers: Sequence[str], expected: Sequence[str]) -> list[dict[str, float]]:
    """The measures of each answer by itself (BLEU 0 to 100, the others 0 to 1)."""
    return [
        {
            "bleu": metrics.sentence_bleu(answer, wanted),
            **scores,
            "exact_match": float(metrics.exact_match(answer, wanted)),
            "short_answer_match": float(metrics.short_answer_match(answer, wanted)),
        }
        for answer, wanted, scores in zip(answers, expected, metrics.rouge(answers, expected), strict=True)
    ]


def measure(items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Corpus BLEU and the means of the other measures, each with its 95 % interval and n."""
    answers = [item["model_response"] for item in items]
    expected = [item["output"] for item in items]
    low, high = metrics.corpus_bleu_interval(answers, expected) or (None, None)
    found: dict[str, Any] = {
        "bleu": {**metrics.bleu(answers, expected), "low": low, "high": high, "n": len(items)}
    }
    for name in PER_ITEM[1:]:
        interval = statistics.interval([float(item[name]) for item in items])
        found[name] = {"value": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n}
    return found


def _heed(control: Control) -> None:
    if control.cancel.is_set():
        raise Cancelled


def _perplexity(
    speaker: Speaker, pairs: Sequence[Pair], items: list[dict[str, Any]], control: Control
) -> tuple[dict[str, Any], int]:
    """Perplexity of the expected responses and of the whole texts; adds each response's loss to its item."""
    context = speaker.model.shape.context
    found: dict[str, Any] = {}
    cut = 0
    for name, masked in (("response", True), ("text", False)):
        examples = data.examples(pairs, speaker.vocabulary, speaker.style, context, masked)
        sums = evaluation_loss.sums(speaker.model, examples, lambda _done: _heed(control))
        labels = sum(count for _, count in sums)
        loss = sum(total for total, _ in sums) / labels if labels else math.nan
        found |= {name: _exp(loss), f"nll_{name}": loss, f"tokens_{name}": labels}
        cut = sum(example.cut > 0 for example in examples)
        if masked:
            for item, (total, count) in zip(items, sums, strict=True):
                item |= {"nll": total / count if count else None, "label_tokens": count}
    return found, cut


def _exp(loss: float) -> float:
    return math.exp(min(loss, 700.0)) if math.isfinite(loss) else math.nan


def _choices(
    speaker: Speaker,
    questions: Sequence[metrics.Question],
    control: Control,
    emit: Callable[[Event], None],
) -> dict[str, Any]:
    def report(done: int) -> None:
        _heed(control)
        if done % 20 == 0 or done == len(questions):
            emit(event("progress", done=done, total=len(questions), unit="questions"))

    found = metrics.choose(speaker.model, speaker.vocabulary, questions, report)
    return metrics.accuracy(questions, found)


def write(folder: Path, name: str, report: dict[str, Any], items: list[dict[str, Any]]) -> list[str]:
    """Publish the report, the items, and the answers in the reference text's layout; the paths."""
    reference = [
        {key: item[key] for key in ("instruction", "input", "output", "model_response")} for item in items
    ]
    files = {
        folder / f"{name}.json": json.dumps(_finite(report), indent=1) + "\n",
        folder / f"{name}.jsonl": "".join(json.dumps(_finite(item)) + "\n" for item in items),
        folder / f"{name}-responses.json": json.dumps(reference, indent=4) + "\n",
    }
    for path, text in files.items():
        atomic.text(path, text)
    return [str(path) for path in files]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
