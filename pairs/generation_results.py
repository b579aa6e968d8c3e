"""What a generate run stores of its answers, in the words of its ledger: pairs and losses."""

from __future__ import annotations

from collections.abc import Mapping

from .errors import JobStopped
from .expressions import Expression, evaluate, names
from .generation_plan import TopicState
from .methods import Response
from .store import candidates as candidate_rows
from .store.candidates import Candidate
from .store.driver import sqlite3
from .store.errors import DuplicatePair
from .store.pair_rows import NewPair, add_pair


def store_response(
    conn: sqlite3.Connection,
    run_id: int,
    topic_id: int,
    candidate: Candidate,
    response: Response,
    *,
    kept: bool,
) -> int | None:
    """Close the calls and store the pair, or the loss. Returns the pair's id."""
    *earlier, last = response.open
    for answered in earlier:
        answered.close(conn)
    if response.loss is not None:
        last.close(conn, response.loss, response.detail)
        candidate_rows.lose(conn, candidate.id, response.loss, response.detail)
        return None
    last.close(conn)
    try:
        pair_id = add_pair(
            conn,
            NewPair(
                instruction=candidate.instruction,
                input=candidate.input if response.input is None else response.input,
                output=response.output,
                origin="generated",
                run_id=run_id,
                topic_id=topic_id,
                call_id=last.call_id,
            ),
        )
    except DuplicatePair as duplicate:
        candidate_rows.lose(conn, candidate.id, "exact duplicate", str(duplicate.message))
        return None
    candidate_rows.answer(conn, candidate.id, pair_id, kept=kept, detail=response.detail)
    return pair_id


def judged_loss(
    where: Expression, scores: Mapping[str, float], failure: str | None, topic_name: str
) -> tuple[str | None, str | None]:
    """The loss that a judge's word means, and its detail; (None, None) where the pair passes.

    Raises JobStopped where the judge does not score what the expression names: with a judge that was switched to
    meanwhile, nothing could ever pass.
    """
    if failure is not None:
        return "judge failed", failure
    if missing := sorted(set(names(where)) - scores.keys()):
        raise JobStopped(
            f"--where names {missing[0]!r}, which the judge of now does not score",
            f"It scores {', '.join(scores)}",
        )
    fields = {"topic": topic_name, "verdict": "undecided"}
    if evaluate(where, lambda name: fields.get(name, scores.get(name))) is True:
        return None, None
    return "judged below", ", ".join(f"{name} {value:.2f}" for name, value in scores.items())


def dry_text(
    topic: TopicState,
    why: str,
    before: Mapping[int, int],
    after: Mapping[int, int],
    topics: Mapping[int, TopicState],
    *,
    everywhere: bool,
    again: bool,
) -> str:
    """How the user is told that a topic ran dry, and where its rest went."""
    text = f"{topic.path} {'was taken out' if topic.pruned else 'ran dry'}: {why}"
    if again:
        return f"{text}; now every topic is dry, and each is asked once more"
    if everywhere:
        return f"{text}; every topic is exhausted"
    gains = [f"{after[t] - before[t]} to {topics[t].path}" for t in after if after[t] > before[t]]
    return f"{text}; of its quota {', '.join(gains)}" if gains else text
