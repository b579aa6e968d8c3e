"""The exact quota, against a real HTTP server with a NIM's manners."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from pairsmith.pairs.errors import PairsmithError, UsageError
from pairsmith.pairs.events import Ended, Notice, PairKept
from pairsmith.pairs.generating import GenerateJob, GenerateOptions
from pairsmith.pairs.generation_plan import GenerateSettings
from pairsmith.pairs.limits import Limits
from pairsmith.pairs.normalise import normal_form
from pairsmith.pairs.rouge import rouge_l
from pairsmith.pairs.store.meta import set_meta
from pairsmith.pairs.store.runs import run_topics
from pairsmith.pairs.store.topics import list_topics, prune_topic
from pairsmith.pairs.tokens import word_tokens

from .brains import DefectiveLists, asked_for, fresh_instruction, prompt_of, repeating
from .generation import GENERATOR, REWARD, end_of, instructions, make_workspace, run_job, settings_for
from .servers.nim import Answer, NimServer

TOPICS = ("Branching", "Merging", "Committing", "Remote repositories", "Resolving conflicts")


def assert_unique_and_unlike(texts: list[str]) -> None:
    assert len({normal_form(text) for text in texts}) == len(texts)
    tokens = [word_tokens(text) for text in texts]
    for number, one in enumerate(tokens):
        for other in tokens[:number]:
            assert rouge_l(one, other) <= 0.7


async def exact_quota(folder: Path, seed: int, *, judged: bool) -> None:
    """One random quota against lists with every kind of defect."""
    pairs = random.Random(seed).randint(1, 60)
    brain = DefectiveLists(seed=seed, passing=0.6 if judged else 1.0)
    folder.mkdir()
    async with NimServer(brain=brain) as server:
        with make_workspace(folder, judge=REWARD if judged else None) as workspace:
            wanted = GenerateSettings(pairs, where="helpfulness >= 3" if judged else None)
            ended, ledger = end_of(await run_job(workspace, server, wanted))
            kept = instructions(workspace, verdict="undecided")
            assert ended.state == "done", (seed, ended.reason)
            assert (ledger.asked, ledger.kept, ledger.missing) == (pairs, pairs, 0)
            assert ledger.balance() == []
            assert ledger.in_progress == 0
            assert ledger.calls.made == server.completions
            assert len(kept) == pairs
            assert_unique_and_unlike(kept)
            if judged:
                assert all(brain.scores(text)["helpfulness"] >= 3 for text in kept)
                assert len(instructions(workspace, verdict="rejected")) == ledger.losses.get(
                    "judged below", 0
                )


@pytest.mark.parametrize("seed", range(6))
async def test_n_asked_is_n_got_whatever_the_lists_are_like(seed: int, tmp_path: Path) -> None:
    await exact_quota(tmp_path / "w", seed, judged=seed % 2 == 1)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(100, 150))
async def test_n_asked_is_n_got_fifty_times(seed: int, tmp_path: Path) -> None:
    await exact_quota(tmp_path / "w", seed, judged=seed % 2 == 1)


async def test_a_server_that_repeats_itself_ends_the_run_with_every_candidate_accounted_for(
    tmp_path: Path,
) -> None:
    rng = random.Random(1)
    items = [fresh_instruction(rng) for _ in range(12)]
    async with NimServer(brain=repeating(items)) as server:
        with make_workspace(tmp_path) as workspace:
            events = await run_job(workspace, server, GenerateSettings(40))
            ended, ledger = end_of(events)
            assert (ended.state, ledger.kept, ledger.missing) == ("unfinished", 12, 28)
            assert "exhausted" in ended.reason
            assert ledger.balance() == []
            assert set(ledger.losses) == {"exact duplicate"}
            assert ledger.calls.made == server.completions
            assert any(isinstance(event, Notice) and event.kind == "exhausted" for event in events)


async def test_what_a_dry_topic_cannot_give_moves_to_another_and_is_said(tmp_path: Path) -> None:
    rng = random.Random(2)
    few = [fresh_instruction(rng) for _ in range(5)]

    def brain(body: dict) -> str:  # type: ignore[type-arg]
        prompt = prompt_of(body)
        count = asked_for(prompt)
        if count is None:
            return f"Answer to {prompt}"
        return "\n".join(few if "Dry topic" in prompt else [fresh_instruction(rng) for _ in range(count)])

    async with NimServer(brain=brain) as server:
        with make_workspace(tmp_path, topics=("Dry topic", "Rich topic")) as workspace:
            events = await run_job(workspace, server, GenerateSettings(40))
            ended, ledger = end_of(events)
            assert (ended.state, ledger.kept) == ("done", 40)
            said = [event.text for event in events if isinstance(event, Notice) and event.kind == "exhausted"]
            assert len(said) == 1
            assert said[0].startswith("Dry topic ran dry")
            assert "15 to Rich topic" in said[0]


async def test_what_a_dry_topic_loses_at_last_moves_to_another_too(tmp_path: Path) -> None:
    rng = random.Random(2)
    few = [fresh_instruction(rng) for _ in range(5)]
    lists: list[int] = []

    async def brain(body: dict) -> str:  # type: ignore[type-arg]
        prompt = prompt_of(body)
        count = asked_for(prompt)
        if count is not None and "Dry topic" in prompt:
            lists.append(count)
            return "\n".join(few)
        if count is not None:
            return "\n".join(fresh_instruction(rng) for _ in range(count))
        if few[0] not in prompt:
            return f"Answer to {prompt}"
        for _ in range(200):  # in the works until the topic has run dry
            await asyncio.sleep(0.05)
            if len(lists) == 8:
                break
        await asyncio.sleep(0.3)
        return "I'm sorry, but I can't assist with that."

    async with NimServer(brain=brain) as server:
        with make_workspace(tmp_path, topics=("Dry topic", "Rich topic")) as workspace:
            events = await run_job(workspace, server, GenerateSettings(40))
            ended, ledger = end_of(events)
            assert (ended.state, ledger.kept, ledger.balance()) == ("done", 40, [])
            said = [event.text for event in events if isinstance(event, Notice) and event.kind == "exhausted"]
            assert "15 to Rich topic" in said[0]
            assert said[-1].endswith("came to nothing since; of its quota 1 to Rich topic")
            topics = workspace.read(lambda conn: run_topics(conn, ended.run_id))
            assert [(topic.quota, topic.kept) for topic in topics] == [(4, 4), (36, 36)]


@pytest.mark.parametrize("seed", range(4))
async def test_a_limit_in_calls_is_kept_exactly_and_the_ledger_adds_up(seed: int, tmp_path: Path) -> None:
    limit = random.Random(seed).randint(1, 40)
    async with NimServer(brain=DefectiveLists(seed=seed)) as server:
        with make_workspace(tmp_path) as workspace:
            options = GenerateOptions(limits=Limits(calls=limit))
            ended, ledger = end_of(await run_job(workspace, server, GenerateSettings(60), options))
            assert ended.state == "unfinished"
            assert f"{limit} calls" in ended.reason
            assert ledger.calls.made == server.completions == limit
            assert ledger.balance() == []


async def test_a_topic_that_was_taken_out_meanwhile_gets_nothing_of_a_dry_ones_rest(tmp_path: Path) -> None:
    rng = random.Random(3)
    few = [fresh_instruction(rng) for _ in range(5)]

    def brain(body: dict) -> str:  # type: ignore[type-arg]
        prompt = prompt_of(body)
        count = asked_for(prompt)
        if count is None:
            return f"Answer to {prompt}"
        return "\n".join(few if "Dry topic" in prompt else [fresh_instruction(rng) for _ in range(count)])

    async with NimServer(brain=brain) as server:
        with make_workspace(tmp_path, topics=("Dry topic", "Old topic", "Rich topic")) as workspace:
            first = GenerateOptions(limits=Limits(calls=3))
            assert (
                end_of(await run_job(workspace, server, GenerateSettings(60), first))[0].state == "unfinished"
            )
            old = workspace.read(list_topics)[1]
            workspace.write(lambda conn: prune_topic(conn, old.id))
            ended, ledger = end_of(await run_job(workspace, server, GenerateSettings(60)))
            assert (ended.state, ledger.kept) == ("done", 60)
            rows = workspace.read(lambda conn: run_topics(conn, ended.run_id))
            assert [row.quota for row in rows if row.topic_id == old.id] == [0]


async def test_a_limit_in_tokens_is_never_exceeded(tmp_path: Path) -> None:
    async with NimServer(brain=DefectiveLists(seed=5)) as server:
        with make_workspace(tmp_path) as workspace:
            options = GenerateOptions(limits=Limits(tokens=6000))
            ended, ledger = end_of(await run_job(workspace, server, GenerateSettings(60), options))
            assert ended.state == "unfinished"
            assert 0 < ledger.calls.tokens_in + ledger.calls.tokens_out <= 6000


async def test_a_limit_in_money_needs_a_price_and_keeps_to_it(tmp_path: Path) -> None:
    priced = ("[rules]", f'[prices]\n"{GENERATOR}" = [5.0, 20.0]\n[rules]')
    async with NimServer(brain=DefectiveLists(seed=5)) as server:
        with make_workspace(tmp_path, edit=priced) as workspace:
            options = GenerateOptions(limits=Limits(cost=0.1))
            ended, ledger = end_of(await run_job(workspace, server, GenerateSettings(200), options))
            assert ended.state == "unfinished"
            assert "$0.1" in ended.reason
            assert 0 < ledger.calls.cost <= 0.1


async def test_an_unfinished_run_goes_on_and_a_finished_one_is_followed_by_another(tmp_path: Path) -> None:
    async with NimServer(brain=DefectiveLists(seed=6)) as server:
        with make_workspace(tmp_path) as workspace:
            options = GenerateOptions(limits=Limits(calls=12))
            first, _ = end_of(await run_job(workspace, server, GenerateSettings(30), options))
            second, ledger = end_of(await run_job(workspace, server, GenerateSettings(30)))
            assert (first.state, second.state, ledger.kept) == ("unfinished", "done", 30)
            assert first.run_id == second.run_id
            third, ledger = end_of(await run_job(workspace, server, GenerateSettings(30)))
            assert third.run_id != second.run_id
            assert len(instructions(workspace)) == 60
            assert_unique_and_unlike(instructions(workspace))


async def test_instructions_left_over_are_used_before_new_ones_are_paid_for(tmp_path: Path) -> None:
    rng = random.Random(7)

    def brain(body: dict) -> str:  # type: ignore[type-arg]
        count = asked_for(prompt_of(body))
        if count is None:
            return f"Answer to {prompt_of(body)}"
        return "\n".join(fresh_instruction(rng) for _ in range(count + 10))

    async with NimServer(brain=brain) as server:
        with make_workspace(tmp_path, topics=("One",)) as workspace:
            _, ledger = end_of(await run_job(workspace, server, GenerateSettings(10)))
            assert ledger.losses == {"surplus": 10}
            before = server.completions
            _, ledger = end_of(await run_job(workspace, server, GenerateSettings(8)))
            assert server.completions - before == 8
            assert (ledger.kept, ledger.balance()) == (8, [])


async def test_every_loss_of_a_response_has_its_name(tmp_path: Path) -> None:
    rng = random.Random(8)
    fates = iter(["cut", "refused", "empty", "filtered"])
    fate_of: dict[str, str] = {}

    def brain(body: dict) -> str | Answer:  # type: ignore[type-arg]
        count = asked_for(prompt_of(body))
        if count is not None:
            return "\n".join(["No."] + [fresh_instruction(rng) for _ in range(count)])
        fate = fate_of.get(prompt_of(body)) or fate_of.setdefault(prompt_of(body), next(fates, "fine"))
        if fate == "cut":
            return Answer("This goes on and", "length")
        if fate == "filtered":
            return Answer("", "content_filter")
        return {"refused": "I'm sorry, but I can't help with that.", "empty": ""}.get(fate, "An answer.")

    async with NimServer(brain=brain) as server:
        with make_workspace(tmp_path, topics=("One",)) as workspace:
            ended, ledger = end_of(await run_job(workspace, server, GenerateSettings(6)))
            assert (ended.state, ledger.kept, ledger.balance()) == ("done", 6, [])
            losses = dict(ledger.losses)
            losses.pop("surplus", None)
            assert losses.pop("filtered: too short") >= 1
            assert losses.pop("cut off") == 1
            assert losses.pop("refused") == 2
            assert losses.pop("no answer") == 1
            assert losses == {}
            assert ledger.calls.made == server.completions


async def test_without_where_a_failed_judge_leaves_the_pair_kept_and_not_scored(tmp_path: Path) -> None:
    brain = DefectiveLists(seed=9, chance=0)

    def judging(body: dict) -> str:  # type: ignore[type-arg]
        return "no idea" if "reward" in body["model"] else brain(body)

    async with NimServer(brain=judging) as server:
        with make_workspace(tmp_path, judge=REWARD, topics=("One",)) as workspace:
            ended, ledger = end_of(await run_job(workspace, server, GenerateSettings(3)))
            assert (ended.state, ledger.kept) == ("done", 3)
            states = workspace.read(
                lambda conn: conn.execute("SELECT state, reason FROM judgement").fetchall()
            )
            assert [state for state, _ in states] == ["failed"] * 3
            assert workspace.read(lambda conn: conn.execute("SELECT count(*) FROM score").fetchone())[0] == 0


async def test_with_where_a_pair_whose_judge_failed_is_stored_rejected_and_lost(tmp_path: Path) -> None:
    brain = DefectiveLists(seed=9, chance=0)
    failed: set[str] = set()

    def judging(body: dict) -> str:  # type: ignore[type-arg]
        prompt = prompt_of(body)
        if "reward" in body["model"] and (len(failed) < 2 or prompt in failed):
            failed.add(prompt)
            return "no idea"
        return brain(body)

    async with NimServer(brain=judging) as server:
        with make_workspace(tmp_path, judge=REWARD, topics=("One",)) as workspace:
            wanted = GenerateSettings(4, where="helpfulness >= 3")
            ended, ledger = end_of(await run_job(workspace, server, wanted))
            assert (ended.state, ledger.kept, ledger.losses["judge failed"]) == ("done", 4, 2)
            assert sorted(instructions(workspace, verdict="rejected")) == sorted(failed)
            assert ledger.balance() == []


async def test_the_reference_job_gets_its_five_hundred(tmp_path: Path) -> None:
    """5 subtopics × 100, in the reference's format: 26 exact and many near-duplicates, then a supply of fresh ones."""
    rng = random.Random(10)
    brain = DefectiveLists(seed=10, passing=322 / 335)
    first: dict[str, bool] = {}

    def reference(body: dict) -> str:  # type: ignore[type-arg]
        prompt = prompt_of(body)
        count = asked_for(prompt)
        if count is None:
            return brain(body)
        topic = next(name for name in TOPICS if name in prompt)
        if topic in first:
            return "\n".join(fresh_instruction(rng) for _ in range(count))
        first[topic] = True
        lines = [fresh_instruction(rng) for _ in range(67)]
        lines[20:26] = lines[0:6] if topic == TOPICS[0] else [*lines[0:5], lines[20]]
        for place in range(30, 42):
            words = lines[place - 25].split()
            lines[place] = " ".join([*words[:3], "really", *words[3:]])
        return "\n\n".join(lines)

    async with NimServer(brain=reference) as server:
        with make_workspace(tmp_path, recipe="nim-reference", judge=REWARD) as workspace:
            ended, ledger = end_of(await run_job(workspace, server, GenerateSettings(500)))
            assert (ended.state, ledger.kept, ledger.missing) == ("done", 500, 0)
            assert ledger.losses["exact duplicate"] == 26
            assert ledger.losses["near duplicate"] == 60
            assert ledger.balance() == []
            assert ledger.calls.made == server.completions
            texts = instructions(workspace)
            assert len(texts) == 500
            assert_unique_and_unlike(texts)
            quotas = Counter(
                row[0]
                for row in workspace.read(lambda conn: conn.execute("SELECT topic_id FROM pair").fetchall())
            )
            assert sorted(quotas.values()) == [100] * 5


async def test_a_kept_pair_is_told_once_with_its_topic(tmp_path: Path) -> None:
    async with NimServer(brain=DefectiveLists(seed=11)) as server:
        with make_workspace(tmp_path) as workspace:
            events = await run_job(workspace, server, GenerateSettings(9))
            kept = [event for event in events if isinstance(event, PairKept)]
            assert len({event.pair_id for event in kept}) == len(kept) == 9


async def test_a_stop_keeps_what_is_paid_for_and_the_next_start_goes_on(tmp_path: Path) -> None:
    async with NimServer(brain=DefectiveLists(seed=12)) as server:
        with make_workspace(tmp_path) as workspace:
            job = GenerateJob(workspace, GenerateSettings(25), settings_for(server))
            async for event in job.events():
                if isinstance(event, PairKept):
                    job.control.stop()
            assert isinstance(event, Ended)
            assert event.state == "paused"
            assert event.ledger is not None
            assert event.ledger.calls.made == server.completions
            assert event.ledger.calls.in_flight == 0
            ended, ledger = end_of(await run_job(workspace, server, GenerateSettings(25)))
            assert (ended.run_id, ended.state, ledger.kept) == (event.run_id, "done", 25)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"generator": "nim:meta/nothing"}, "meta/nothing"),
        ({"generator": "magic:x"}, "magic"),
    ],
)
async def test_what_cannot_work_ends_the_run_at_once_with_the_reason(
    change: dict[str, str], word: str, tmp_path: Path
) -> None:
    async with NimServer(brain=DefectiveLists()) as server:
        with make_workspace(tmp_path, **change) as workspace:  # type: ignore[arg-type]
            ended, ledger = end_of(await run_job(workspace, server, GenerateSettings(5)))
            assert ended.state == "unfinished"
            assert word in ended.reason
            assert ledger.calls.made == server.completions <= 1


async def test_where_without_a_judge_is_wrong_usage(tmp_path: Path) -> None:
    async with NimServer() as server:
        with make_workspace(tmp_path) as workspace:
            with pytest.raises(UsageError, match="judge"):
                await run_job(workspace, server, GenerateSettings(5, where="helpfulness >= 3"))
            assert workspace.read(lambda conn: conn.execute("SELECT count(*) FROM run").fetchone())[0] == 0


async def test_where_with_a_name_that_the_judge_does_not_score_is_refused_before_anything_is_spent(
    tmp_path: Path,
) -> None:
    async with NimServer(brain=DefectiveLists()) as server:
        with make_workspace(tmp_path, judge=REWARD) as workspace:
            with pytest.raises(UsageError, match="helpfullness"):
                await run_job(workspace, server, GenerateSettings(5, where="helpfullness >= 3"))
            assert server.completions == 0


async def test_a_judge_switched_to_that_scores_other_things_ends_the_run_with_the_reason(
    tmp_path: Path,
) -> None:
    brain = DefectiveLists(seed=16, chance=0)
    scalar = "nim:nvidia/llama-3.1-nemotron-70b-reward"

    def judging(body: dict) -> str:  # type: ignore[type-arg]
        return "reward:-12.5" if "70b-reward" in body["model"] else brain(body)

    async with NimServer(brain=judging) as server:
        with make_workspace(tmp_path, judge=REWARD, topics=("One",)) as workspace:
            wanted = GenerateSettings(60, where="helpfulness >= 3")
            job = GenerateJob(workspace, wanted, settings_for(server))
            async for event in job.events():
                if isinstance(event, PairKept):
                    await workspace.awrite(lambda conn: set_meta(conn, "judge", scalar))
            assert isinstance(event, Ended)
            assert event.state == "unfinished"
            assert "'helpfulness', which the judge of now does not score" in event.reason
            assert event.ledger is not None
            assert event.ledger.balance() == []
            assert (event.ledger.calls.in_flight, event.ledger.calls.made) == (0, server.completions)
            await workspace.awrite(lambda conn: set_meta(conn, "judge", REWARD))
            ended, ledger = end_of(await run_job(workspace, server, wanted))
            assert (ended.run_id, ended.state, ledger.kept) == (event.run_id, "done", 60)


async def test_a_judge_that_lets_nothing_pass_ends_the_run_with_a_diagnosis(tmp_path: Path) -> None:
    async with NimServer(brain=DefectiveLists(seed=14, chance=0, passing=0)) as server:
        with make_workspace(tmp_path, judge=REWARD, topics=("One",)) as workspace:
            wanted = GenerateSettings(50, where="helpfulness >= 3")
            ended, ledger = end_of(await run_job(workspace, server, wanted))
            assert (ended.state, ledger.kept, ledger.balance()) == ("unfinished", 0, [])
            assert "let none of the last 200 pairs pass" in ended.reason


async def test_a_model_that_never_answers_ends_the_run_with_a_diagnosis(tmp_path: Path) -> None:
    brain = DefectiveLists(seed=15, chance=0)

    def cut(body: dict) -> str | Answer:  # type: ignore[type-arg]
        return brain(body) if asked_for(prompt_of(body)) else Answer("It goes on", "length")

    async with NimServer(brain=cut) as server:
        with make_workspace(tmp_path, topics=("One",)) as workspace:
            ended, ledger = end_of(await run_job(workspace, server, GenerateSettings(80)))
            assert (ended.state, ledger.kept, ledger.balance()) == ("unfinished", 0, [])
            assert "'cut off'" in ended.reason


@pytest.mark.parametrize("pairs", [0, -1])
async def test_a_quota_of_nothing_is_wrong_usage(pairs: int, tmp_path: Path) -> None:
    async with NimServer() as server:
        with make_workspace(tmp_path) as workspace, pytest.raises(UsageError, match="at least 1"):
            await run_job(workspace, server, GenerateSettings(pairs))


async def test_two_jobs_on_one_workspace_are_refused(tmp_path: Path) -> None:
    async with NimServer(brain=DefectiveLists(seed=13)) as server:
        with make_workspace(tmp_path) as workspace:
            first = GenerateJob(workspace, GenerateSettings(5), settings_for(server))
            refused = 0
            async for event in first.events():
                if isinstance(event, PairKept):
                    with pytest.raises(PairsmithError, match="busy"):
                        await run_job(workspace, server, GenerateSettings(5))
                    refused += 1
            assert refused == 5
