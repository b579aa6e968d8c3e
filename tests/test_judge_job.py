"""The judge job: every pair once, a failure is a state of its own, a retired judge names the way out."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.errors import UsageError
from pairsmith.pairs.events import Ended, Event, Judged
from pairsmith.pairs.judge_job import JudgeJob, JudgeOptions
from pairsmith.pairs.ledger import read_calls
from pairsmith.pairs.limits import Limits
from pairsmith.pairs.store.pair_rows import NewPair, add_pair
from pairsmith.pairs.store.workspace import Workspace

from .brains import fresh_instruction, json_scores, prompt_of, reward_text
from .generation import GENERATOR, REWARD, make_workspace, settings_for
from .servers.nim import Answer, NimServer, Rules

FIVE = {
    "helpfulness": 4.15625,
    "correctness": 4.125,
    "coherence": 4.09375,
    "complexity": 0.55,
    "verbosity": 0.53,
}


def fill(workspace: Workspace, count: int) -> list[str]:
    rng = random.Random(1)
    texts = [fresh_instruction(rng) for _ in range(count)]
    workspace.write(
        lambda conn: [add_pair(conn, NewPair(t, f"Answer to {t}", origin="imported")) for t in texts]
    )
    return texts


async def judge(workspace: Workspace, server: NimServer, options: JudgeOptions | None = None) -> list[Event]:
    job = JudgeJob(workspace, settings_for(server), options)
    return [event async for event in job.events()]


def end_of(events: list[Event]) -> Ended:
    ended = events[-1]
    assert isinstance(ended, Ended)
    return ended


def scores(workspace: Workspace) -> list[tuple[Any, ...]]:
    return workspace.read(
        lambda conn: conn.execute(
            "SELECT version_id, judge, kind, attribute, value FROM judgement"
            " JOIN score ON judgement_id = id ORDER BY 1, 4"
        ).fetchall()
    )


async def test_reward_scores_are_stored_as_they_came(tmp_path: Path) -> None:
    async with NimServer(brain=lambda body: reward_text(FIVE)) as server:
        with make_workspace(tmp_path, judge=REWARD) as workspace:
            fill(workspace, 3)
            ended = end_of(await judge(workspace, server))
            assert (ended.state, ended.counts) == ("done", {"scored": 3})
            assert (1, REWARD, "reward", "helpfulness", 4.15625) in scores(workspace)
            assert len(scores(workspace)) == 15


async def test_what_is_scored_is_not_paid_for_again(tmp_path: Path) -> None:
    async with NimServer(brain=lambda body: reward_text(FIVE)) as server:
        with make_workspace(tmp_path, judge=REWARD) as workspace:
            fill(workspace, 5)
            first = end_of(await judge(workspace, server, JudgeOptions(limits=Limits(calls=2))))
            assert (first.state, first.counts) == ("unfinished", {"scored": 2})
            second = end_of(await judge(workspace, server))
            assert (second.state, second.counts) == ("done", {"scored": 3})
            end_of(await judge(workspace, server))
            assert server.completions == 5


async def test_a_limit_in_pairs_takes_the_oldest(tmp_path: Path) -> None:
    async with NimServer(brain=lambda body: reward_text(FIVE)) as server:
        with make_workspace(tmp_path, judge=REWARD) as workspace:
            fill(workspace, 5)
            events = await judge(workspace, server, JudgeOptions(limit=2))
            assert sorted(event.pair_id for event in events if isinstance(event, Judged)) == [1, 2]


async def test_an_expression_chooses_what_is_judged(tmp_path: Path) -> None:
    async with NimServer(brain=lambda body: reward_text(FIVE)) as server:
        with make_workspace(tmp_path, judge=REWARD) as workspace:
            fill(workspace, 4)
            end_of(await judge(workspace, server, JudgeOptions(limit=2)))
            ended = end_of(await judge(workspace, server, JudgeOptions(where="helpfulness >= 4")))
            assert ended.counts == {}
            ended = end_of(await judge(workspace, server, JudgeOptions(where="verdict == 'undecided'")))
            assert ended.counts == {"scored": 2}


async def test_a_failed_judge_is_counted_and_tried_again_next_time(tmp_path: Path) -> None:
    broken: set[str] = set()

    def brain(body: Mapping[str, Any]) -> str:
        prompt = prompt_of(body)
        return "helpfulness:nan" if prompt in broken else reward_text(FIVE)

    async with NimServer(brain=brain) as server:
        with make_workspace(tmp_path, judge=REWARD) as workspace:
            broken.add(fill(workspace, 3)[1])
            ended = end_of(await judge(workspace, server))
            assert (ended.state, ended.counts) == ("done", {"scored": 2, "failed": 1})
            failed = workspace.read(
                lambda conn: conn.execute(
                    "SELECT version_id, reason FROM judgement WHERE state = 'failed'"
                ).fetchall()
            )
            assert len(failed) == 1
            assert failed[0][1]
            broken.clear()
            assert end_of(await judge(workspace, server)).counts == {"scored": 1}
            calls = workspace.read(lambda conn: [read_calls(conn, run) for run in (1, 2)])
            assert sum(one.made for one in calls) == server.completions


async def test_the_json_judge_asks_again_where_it_cannot_read_the_answer(tmp_path: Path) -> None:
    answers = iter(["Well, it is fine.", json_scores(dict.fromkeys(FIVE, 3), "clear")])
    async with NimServer(brain=lambda body: next(answers)) as server:
        with make_workspace(tmp_path, judge=GENERATOR) as workspace:
            fill(workspace, 1)
            ended = end_of(await judge(workspace, server, JudgeOptions(kind="json")))
            assert ended.counts == {"scored": 1}
            rationale = workspace.read(
                lambda conn: conn.execute("SELECT rationale FROM judgement").fetchone()
            )[0]
            assert rationale == "clear"
            calls = workspace.read(lambda conn: read_calls(conn, ended.run_id))
            assert (calls.made, calls.useful, dict(calls.failed)) == (2, 1, {"unreadable score": 1})


def digit_logprobs(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    import math

    top = [
        {"token": "3", "logprob": math.log(0.5), "bytes": [51]},
        {"token": " 4", "logprob": math.log(0.25)},
    ]
    return [{"token": "3", "logprob": math.log(0.5), "bytes": [51], "top_logprobs": top}]


async def test_expected_scores_come_from_the_digits_probabilities(tmp_path: Path) -> None:
    async with NimServer(
        brain=lambda body: Answer("3", "length", logprobs=digit_logprobs(body)), rules=Rules(logprobs=True)
    ) as server:
        with make_workspace(tmp_path, judge=GENERATOR) as workspace:
            fill(workspace, 2)
            ended = end_of(await judge(workspace, server, JudgeOptions(kind="expected")))
            assert ended.counts == {"scored": 2}, ended
            values = {row[4] for row in scores(workspace)}
            assert len(values) == 1
            assert values.pop() == pytest.approx((3 * 0.5 + 4 * 0.25) / 0.75)


async def test_a_limit_that_allows_no_call_at_all_ends_the_run(tmp_path: Path) -> None:
    async with NimServer(brain=lambda body: "ok") as server:
        with make_workspace(tmp_path, judge=GENERATOR) as workspace:
            fill(workspace, 1)
            ended = end_of(await judge(workspace, server, JudgeOptions(limits=Limits(tokens=5))))
            assert (ended.state, ended.reason) == ("unfinished", "the limit of 5 tokens is reached")
            assert server.completions == 0


async def test_a_retired_reward_model_names_the_rubric_judge(tmp_path: Path) -> None:
    model = REWARD.partition(":")[2]
    async with NimServer(rules=Rules(retired=(model,))) as server:
        with make_workspace(tmp_path, judge=REWARD) as workspace:
            fill(workspace, 2)
            ended = end_of(await judge(workspace, server))
            assert ended.state == "unfinished"
            assert "end of life" in ended.reason
            assert "--kind expected" in ended.reason
            assert scores(workspace) == []


async def test_a_limit_of_no_pairs_is_wrong_usage(tmp_path: Path) -> None:
    async with NimServer() as server:
        with (
            make_workspace(tmp_path, judge=REWARD) as workspace,
            pytest.raises(UsageError, match="at least 1"),
        ):
            await judge(workspace, server, JudgeOptions(limit=0))


async def test_judging_without_a_judge_is_wrong_usage(tmp_path: Path) -> None:
    async with NimServer() as server:
        with make_workspace(tmp_path) as workspace, pytest.raises(UsageError, match="judge"):
            await judge(workspace, server)
