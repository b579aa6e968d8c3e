"""What answers are worth against the expected ones: BLEU, ROUGE, exact and short-answer match; multiple choice.

BLEU is sacrebleu's and ROUGE is rouge-score's: their own code computes them, imported when asked for.
"""

from __future__ import annotations

import csv
import re
import string
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from . import evaluation_loss, statistics
from .data import IGNORED, Example
from .errors import TrainingError
from .model import GPT2
from .vocabulary import Vocabulary

ROUGES = ("rouge1", "rouge2", "rougeL")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_LETTERS = "ABCDEFGHIJ"


def bleu(answers: Sequence[str], expected: Sequence[str]) -> dict[str, Any]:
    """Corpus BLEU with sacrebleu's defaults: value (0 to 100) and signature; value None without answers."""
    if not answers:
        return {"value": None, "signature": None}
    from sacrebleu.metrics import BLEU

    metric = BLEU()
    score = metric.corpus_score(list(answers), [list(expected)])
    return {"value": float(score.score), "signature": str(metric.get_signature())}


def sentence_bleu(answer: str, expected: str) -> float:
    """BLEU of one answer, smoothed as sacrebleu does by default for sentences (0 to 100)."""
    from sacrebleu.metrics import BLEU

    return float(BLEU(effective_order=True).sentence_score(answer, [expected]).score)


def corpus_bleu_interval(
    answers: Sequence[str], expected: Sequence[str], resamples: int = 1000, seed: int = 123
) -> tuple[float, float] | None:
    """A 95 % percentile interval of corpus BLEU, by resampling the answers' n-gram counts; None below two answers."""
    if len(answers) < 2:
        return None
    import numpy as np
    from sacrebleu.metrics import BLEU

    metric = BLEU()
    rows = []
    for answer, wanted in zip(answers, expected, strict=True):
        score = metric.corpus_score([answer], [[wanted]])
        rows.append([score.sys_len, score.ref_len, *score.counts, *score.totals])
    table = np.array(rows, dtype=np.int64)
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        total = table[generator.integers(0, len(table), len(table))].sum(axis=0)
        length, reference, *counts = (int(number) for number in total)
        half = len(counts) // 2
        # smoothed as corpus_score does it: its default here is not to
        smoothing = (metric.smooth_method, metric.smooth_value)
        values.append(BLEU.compute_bleu(counts[:half], counts[half:], length, reference, *smoothing).score)
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def rouge(answers: Sequence[str], expected: Sequence[str]) -> list[dict[str, float]]:
    """ROUGE-1, -2 and -L F-measures (0 to 1) of each answer, by Google's rouge-score without stemming."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGES), use_stemmer=False)
    scores = []
    for answer, wanted in zip(answers, expected, strict=True):
        found = scorer.score(wanted, answer)
        scores.append({name: float(found[name].fmeasure) for name in ROUGES})
    return scores


def exact_match(answer: str, expected: str) -> bool:
    """Whether both are the same text but for white space at the ends."""
    return answer.strip() == expected.strip()


def normalised(text: str) -> str:
    """A short answer without case, articles, punctuation and extra white space (SQuAD's rules, any script)."""
    folded = unicodedata.normalize("NFC", text).casefold()
    kept = "".join(letter for letter in folded if letter not in string.punctuation and not _is_mark(letter))
    return " ".join(_ARTICLES.sub(" ", kept).split())


def _is_mark(letter: str) -> bool:
    return unicodedata.category(letter).startswith("P")


def short_answer_match(answer: str, expected: str) -> bool:
    """Whether both are the same short answer after normalising; what is only punctuation must be exactly equal."""
    wanted = normalised(expected)
    return normalised(answer) == wanted if wanted else exact_match(answer, expected)


@dataclass(frozen=True, slots=True)
class Question:
    """One line of a multiple-choice file."""

    text: str
    choices: tuple[str, ...]
    answer: int


def read_questions(path: Path) -> list[Question]:
    """Questions of a CSV in MMLU's layout: question, choices (A, B, C, D), the letter of the answer; no header.

    A first line that ends with "answer" is taken as a header. Raises TrainingError("data"), naming the line.
    """
    questions = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.reader(file), 1):
                if not row or (number == 1 and row[-1].strip().lower() == "answer"):
                    continue
                questions.append(_question(f"{path.name}, line {number}", row))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise TrainingError("data", f"{path.name}: cannot be read: {error}") from error
    if not questions:
        raise TrainingError("data", f"{path.name}: holds no questions")
    return questions


def _question(where: str, row: list[str]) -> Question:
    text, *choices, letter = row
    place = _LETTERS.find(letter.strip().upper()) if len(letter.strip()) == 1 else -1
    if len(choices) < 2 or not 0 <= place < len(choices) <= len(_LETTERS):
        raise TrainingError(
            "data", f"{where}: not question, choices, letter of the answer", "See MMLU's CSV files."
        )
    return Question(text, tuple(choices), place)


def question_prompt(question: Question) -> str:
    """The question as MMLU's own evaluation puts it, without the answer."""
    lines = [f"{_LETTERS[place]}. {choice}" for place, choice in enumerate(question.choices)]
    return "\n".join([question.text, *lines, "Answer:"])


def choose(
    model: GPT2,
    vocabulary: Vocabulary,
    questions: Sequence[Question],
    progress: Callable[[int], None] = lambda _done: None,
) -> list[list[float]]:
    """For each question the log-likelihood of " A", " B", … after its prompt. A prompt too long loses its beginning."""
    found = []
    for done, question in enumerate(questions, 1):
        prompt = vocabulary.encode(question_prompt(question))
        examples = []
        for place in range(len(question.choices)):
            ending = vocabulary.encode(f" {_LETTERS[place]}")
            kept = prompt[-(model.shape.context - len(ending)) :]
            ids = kept + ending
            targets = [IGNORED] * (len(kept) - 1) + ids[len(kept) :]
            examples.append(Example(tuple(ids[:-1]), tuple(targets)))
        found.append([-loss for loss, _ in evaluation_loss.sums(model, examples)])
        progress(done)
    return found


def accuracy(questions: Sequence[Question], likelihoods: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Share of questions whose answer is the likeliest letter (the first of equals), with its 95 % interval."""
    hits = [
        float(max(range(len(row)), key=row.__getitem__) == question.answer)
        for question, row in zip(questions, likelihoods, strict=True)
    ]
    interval = statistics.interval(hits)
    return {"accuracy": interval.mean, "low": interval.low, "high": interval.high, "n": interval.n}


def perplexity_of_text(
    model: GPT2,
    ids: Sequence[int],
    stride: int = 512,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[float, int]:
    """Mean loss (natural log) of a long text by a sliding window of the model's context, and the tokens counted.

    Every token but the first is predicted once, with at least context - stride tokens before it where there are any.
    """
    context = model.shape.context
    stride = min(stride, context)
    examples = []
    done = 1
    for start in range(0, max(1, len(ids) - 1), stride):
        window = list(ids[start : start + context + 1])
        targets = [
            target if start + place + 1 >= done else IGNORED for place, target in enumerate(window[1:])
        ]
        examples.append(Example(tuple(window[:-1]), tuple(targets)))
        done = start + len(window)
        if done >= len(ids):
            break
    with torch.no_grad():
        found = evaluation_loss.sums(model, examples, lambda number: progress(number, len(examples)))
    count = sum(number for _, number in found)
    return (sum(loss for loss, _ in found) / count if count else float("nan")), count
