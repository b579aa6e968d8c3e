"""How fast the similarity index is, and that it decides as Google's `rouge_score` and as comparing with all.

    python benchmarks/similarity.py FILE [FILE ...]

Each FILE is a JSON array or JSON Lines with an `instruction` per record. The instructions are grown to 50,000
by seeded word-level mutations, so that near-duplicates on both sides of the threshold abound, and filtered in
one run in order of arrival. Needs `rouge-score`. Exit code 1 if a decision differs or a target is missed.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from pairsmith.pairs.rouge import f_measure, lcs_with_masks, masks_of
from pairsmith.pairs.similarity import SimilarityIndex
from pairsmith.pairs.tokens import rouge_tokens

THRESHOLD = 0.7
SPEEDUP_WANTED = 1000
GROWTH_ALLOWED = 5.0


def main() -> int:
    options = _options()
    texts = grown(instructions(options.files), options.count, options.seed)
    print(f"{len(texts):,} instructions, seed {options.seed}; {platform.python_version()}, {cpu()}")
    decisions, seconds, compared, timed = filter_all(texts, parity=True)
    kept = sum(decisions)
    print(
        f"parity mode: {kept:,} kept, {len(texts) - kept:,} refused, {seconds:.1f} s, "
        f"{seconds / len(texts) * 1e6:.0f} us each"
    )
    other, other_seconds, _, _ = filter_all(texts, parity=False)
    print(f"default mode: {sum(other):,} kept, {len(texts) - sum(other):,} refused, {other_seconds:.1f} s")

    fine = report("brute force", texts[: options.brute], decisions, brute_force(texts[: options.brute]))
    judged, pair_seconds, pairs = reference(texts[: options.reference])
    fine &= report("rouge_score", texts[: options.reference], decisions, judged)
    print(f"rouge_score: {pairs:,} pairs at {pair_seconds * 1e6:.1f} us, texts tokenised beforehand")

    whole = pair_seconds * compared
    print(f"the same {compared:,} pairs by rouge_score: {whole / 3600:.1f} h")
    fine &= target("speed-up over rouge_score", whole / seconds, SPEEDUP_WANTED, at_least=True)
    early, late = timed
    print(
        f"check and add: the 1,001st {early * 1e6:.0f} us, "
        f"the {len(texts) + 1:,}th {late * 1e6:.0f} us (medians)"
    )
    fine &= target("growth from 1,000 to all", late / early, GROWTH_ALLOWED, at_least=False)
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    return 0 if fine else 1


def instructions(files: Sequence[Path]) -> list[str]:
    """The `instruction` of every record of the files."""
    texts: list[str] = []
    for file in files:
        whole = file.read_text(encoding="utf-8")
        records = json.loads(whole) if whole.lstrip().startswith("[") else map(json.loads, whole.splitlines())
        texts += [record["instruction"] for record in records]
    return texts


def grown(texts: list[str], count: int, seed: int) -> list[str]:
    """`count` texts: those given, then mutations of any before, by a tenth to two thirds of the words."""
    rng = random.Random(seed)
    words = [word for text in texts for word in text.split()]
    texts = list(dict.fromkeys(texts))[:count]
    while len(texts) < count:
        parts = rng.choice(texts).split()
        for _ in range(max(1, round(len(parts) * rng.uniform(0.1, 0.67)))):
            place = rng.randrange(len(parts) + 1)
            match rng.choice(("replace", "replace", "insert", "delete", "swap")):
                case "insert":
                    parts.insert(place, rng.choice(words))
                case "delete" if len(parts) > 3:
                    del parts[min(place, len(parts) - 1)]
                case "swap" if len(parts) > 1:
                    place = min(place, len(parts) - 2)
                    parts[place], parts[place + 1] = parts[place + 1], parts[place]
                case _:
                    parts[min(place, len(parts) - 1)] = rng.choice(words)
        texts.append(" ".join(parts))
    return texts


def filter_all(texts: Sequence[str], *, parity: bool) -> tuple[list[bool], float, int, tuple[float, float]]:
    """Decisions in order, seconds, pairs that comparing with all would take, median cost early and late."""
    index = SimilarityIndex(THRESHOLD, parity)
    decisions: list[bool] = []
    costs: list[float] = []
    compared = 0
    begin = time.perf_counter()
    for key, text in enumerate(texts):
        compared += len(index)
        before = time.perf_counter()
        decisions.append(index.admit(key, text) is None)
        costs.append(time.perf_counter() - before)
    seconds = time.perf_counter() - begin
    # The same texts in a pool of the first 1,000 and in one of all: the pool grows, not the text.
    probes = random.Random(1).sample(list(texts), min(1000, len(texts)))
    early = cost_of_adding(texts[:1000], probes, parity)
    late = cost_of_adding(texts, probes, parity)
    return decisions, seconds, compared, (early, late)


def cost_of_adding(pool: Sequence[str], probes: Sequence[str], parity: bool) -> float:
    """Median seconds of looking at one text and adding it, when the whole `pool` is in, alike or not."""
    index = SimilarityIndex(THRESHOLD, parity)
    for key, text in enumerate(pool):
        index.add(key, text)
    costs = []
    for text in probes:
        begin = time.perf_counter()
        index.check(text)
        index.add("probe", text)
        costs.append(time.perf_counter() - begin)
        index.remove("probe")
    return statistics.median(costs)


def brute_force(texts: Sequence[str]) -> list[bool]:
    """Our own ROUGE-L of each text against every one kept before it."""
    pool: list[list[str]] = []
    decisions = []
    for text in texts:
        tokens = rouge_tokens(text)
        masks = masks_of(tokens)
        kept = all(
            f_measure(lcs_with_masks(masks, len(tokens), other), len(tokens), len(other)) <= THRESHOLD
            for other in pool
        )
        decisions.append(kept)
        if kept:
            pool.append(tokens)
    return decisions


def reference(texts: Sequence[str]) -> tuple[list[bool], float, int]:
    """rouge_score's decisions, its seconds for a pair of tokenised texts, and how many pairs it compared."""
    from rouge_score import rouge_scorer

    score: Callable[[list[str], list[str]], object] = rouge_scorer._score_lcs
    tokenise = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)._tokenizer.tokenize
    pool: list[list[str]] = []
    decisions = []
    pairs = 0
    begin = time.perf_counter()
    for text in texts:
        tokens = tokenise(text)
        kept = True
        for other in pool:
            pairs += 1
            if score(tokens, other).fmeasure > THRESHOLD:  # type: ignore[attr-defined]
                kept = False
                break
        decisions.append(kept)
        if kept:
            pool.append(tokens)
    return decisions, (time.perf_counter() - begin) / max(1, pairs), pairs


def report(name: str, texts: Sequence[str], ours: Sequence[bool], theirs: Sequence[bool]) -> bool:
    """Say how many of the decisions differ; whether none does."""
    wrong = [text for text, mine, other in zip(texts, ours, theirs, strict=False) if mine != other]
    print(
        f"decisions against {name}: {len(theirs):,} compared, {sum(theirs):,} kept, {len(wrong)} differ",
        *wrong[:3],
        sep="\n  ",
    )
    return not wrong


def target(name: str, value: float, wanted: float, *, at_least: bool) -> bool:
    """Say whether a figure is where it should be."""
    fine = value >= wanted if at_least else value <= wanted
    bound = f"{'at least' if at_least else 'at most'} {wanted:,}"
    print(f"{'ok' if fine else 'MISSED'}: {name} {value:,.1f} (wanted {bound})")
    return fine


def cpu() -> str:
    """The processor's name, where the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--brute", type=int, default=10_000, help="how many to check against comparing all")
    parser.add_argument("--reference", type=int, default=3_000, help="how many to check against rouge_score")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
