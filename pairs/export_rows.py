"""The pairs of an export, one after another, with everything that a format or the manifest says of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from .export_formats import ExportPair
from .store.calls import models_of
from .store.driver import sqlite3
from .store.pair_rows import get_pairs
from .store.preferences import rejected_responses, replaced_responses
from .store.provenance import provenance_of
from .store.scores import scores_of
from .store.topics import list_topics
from .store.verdicts import get_verdicts

_BATCH = 500


def pairs_of(conn: sqlite3.Connection, ids: Sequence[int]) -> Iterator[ExportPair]:
    """These pairs in this order, in constant memory."""
    paths = {topic.id: topic.path for topic in list_topics(conn, pruned=True)}
    for start in range(0, len(ids), _BATCH):
        pairs = get_pairs(conn, ids[start : start + _BATCH])
        versions = [pair.version.id for pair in pairs]
        judged, verdicts = scores_of(conn, versions), get_verdicts(conn, versions)
        models = models_of(conn, [pair.version.call_id for pair in pairs if pair.version.call_id is not None])
        made = provenance_of(conn, pairs)
        for pair in pairs:
            verdict = verdicts.get(pair.version.id)
            given = judged.get(pair.version.id, {})
            yield ExportPair(
                uid=pair.uid,
                instruction=pair.instruction,
                input=pair.input,
                output=pair.output,
                topic=paths.get(pair.topic_id or 0, ()),
                verdict=pair.verdict,
                decided_by=pair.verdict_by or "",
                rule=(verdict.rule if verdict is not None else None) or "",
                reason=verdict.reason if verdict is not None else "",
                tags=verdict.tags if verdict is not None else (),
                note=verdict.note if verdict is not None else "",
                model=models.get(pair.version.call_id or 0, ""),
                scores={judge: said.scores for judge, said in given.items() if said.scores},
                pair_id=pair.id,
                provenance=made[pair.id],
            )


def preferences_of(conn: sqlite3.Connection, ids: Sequence[int]) -> Iterator[ExportPair]:
    """A pair for every response that its own is preferred to; pairs without any are passed over."""
    for start in range(0, len(ids), _BATCH):
        batch = ids[start : start + _BATCH]
        rejected = rejected_responses(conn, batch)
        for pair in pairs_of(conn, [pair_id for pair_id in batch if pair_id in rejected]):
            for _, text in rejected[pair.pair_id]:
                yield replace(pair, rejected=text)


def with_replaced(conn: sqlite3.Connection, pairs: Iterator[ExportPair]) -> Iterator[ExportPair]:
    """The pairs, those whose response a person wrote with the one that it replaced."""
    while batch := list(islice(pairs, _BATCH)):
        before = replaced_responses(conn, [pair.pair_id for pair in batch])
        for pair in batch:
            yield replace(pair, replaced=before[pair.pair_id]) if pair.pair_id in before else pair


def count_preferences(conn: sqlite3.Connection, ids: Sequence[int]) -> dict[str, int]:
    """How many rows `preferences_of` gives, by the verdict of the pair that is preferred."""
    counts: dict[str, int] = {}
    for start in range(0, len(ids), _BATCH):
        rejected = rejected_responses(conn, ids[start : start + _BATCH])
        for pair in get_pairs(conn, list(rejected)):
            counts[pair.verdict] = counts.get(pair.verdict, 0) + len(rejected[pair.id])
    return counts


def split_of(conn: sqlite3.Connection, ids: Sequence[int], sides: Mapping[int, str]) -> Iterator[ExportPair]:
    """The pairs of the train side, then of validation, then of test; without sides, all are train."""
    for side in ("train", "validation", "test"):
        chosen = [pair_id for pair_id in ids if sides[pair_id] == side] if sides else ids
        for pair in pairs_of(conn, chosen):
            yield replace(pair, split=side)
        if not sides:
            return
