"""ROUGE-L of two token lists, equal to Google's `rouge_score` to the last bit.

The longest common subsequence is found bit-parallel (Hyyro 2004: one row of the table is one Python integer).
The score is then computed by rouge_score's own floating-point expression, because its rounding decides ties
at the threshold: F = 7/10 comes out as 0.7 or as 0.7000000000000001, depending on the lengths.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence


def masks_of(tokens: Sequence[Hashable]) -> dict[Hashable, int]:
    """For each token, an integer whose bit i says whether it stands at place i."""
    masks: dict[Hashable, int] = {}
    bit = 1
    for token in tokens:
        masks[token] = masks.get(token, 0) | bit
        bit <<= 1
    return masks


def lcs_with_masks(masks: Mapping[Hashable, int], length: int, other: Iterable[Hashable]) -> int:
    """Length of the longest common subsequence of the text behind `masks` (`length` tokens) and `other`."""
    full = (1 << length) - 1
    row = full
    find = masks.get
    for token in other:
        mask = find(token)
        if mask is not None:
            kept = row & mask
            row = ((row + kept) | (row - kept)) & full
    return length - row.bit_count()


def lcs_length(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """Length of the longest common subsequence of two token lists."""
    if len(b) < len(a):
        a, b = b, a
    return lcs_with_masks(masks_of(a), len(a), b)


def f_measure(lcs: int, target: int, prediction: int) -> float:
    """ROUGE-L F of two texts with `target` and `prediction` tokens of which `lcs` are common, in order."""
    if not lcs:
        return 0.0
    precision = lcs / prediction
    recall = lcs / target
    return 2 * precision * recall / (precision + recall)


def rouge_l(target: Sequence[Hashable], prediction: Sequence[Hashable]) -> float:
    """ROUGE-L F of two token lists; 0.0 if either is empty. Symmetric, floats included."""
    return f_measure(lcs_length(target, prediction), len(target), len(prediction))
