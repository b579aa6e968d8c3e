"""Self-Instruct against a real HTTP server: quota, ledger, every filter by name, examples, instances, refining."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pairsmith.pairs.errors import UsageError
from pairsmith.pairs.estimate import Basis, estimate
from pairsmith.pairs.events import Event, PairKept, Progress
from pairsmith.pairs.generating import GenerateJob, GenerateOptions
from pairsmith.pairs.generation_plan import GenerateSettings
from pairsmith.pairs.limits import Limits
from pairsmith.pairs.recipes import load_recipe
from pairsmith.pairs.store.seed_tasks import SeedTask, list_seed_tasks
from pairsmith.pairs.store.workspace import Workspace, open_workspace

from .brains import DefectiveLists, asked_for, fresh_instruction, prompt_of, reward_text
from .generation import REWARD, end_of, instructions, make_workspace, run_job, settings_for
from .pools import PoolModel, numbered, seeds
from .servers.nim import Answer, NimServer
from .test_generating import assert_unique_and_unlike


def settings(pairs: int, **fields: Any) -> GenerateSettings:
    return GenerateSettings(pairs, "self-instruct", **fields)


def with_seeds(*given: str, **fields: Any) -> GenerateOptions:
    return GenerateOptions(seed_tasks=seeds(*given), **fields)


def losses_by_text(workspace: Workspace) -> dict[str, list[str]]:
    """Loss -> the instructions that were lost for it."""
    found: dict[str, list[str]] = {}
    for text, loss in workspace.read(
        lambda conn: conn.execute(
            "SELECT instruction, loss FROM candidate WHERE state = 'lost' ORDER BY id"
        ).fetchall()
    ):
        found.setdefault(loss, []).append(text)
    return found


def pool_workspace(folder: Path, **fields: Any) -> Workspace:
    return make_workspace(folder, **{"recipe": "self-instruct", **fields})


async def exact_pool(folder: Path, seed: int) -> None:
    """One random quota against lists with every kind of defect."""
    pairs = random.Random(seed).randint(1, 50)
    folder.mkdir()
    async with NimServer(brain=PoolModel(seed=seed)) as server:
        with pool_workspace(folder) as workspace:
            ended, ledger = end_of(await run_job(workspace, server, settings(pairs), with_seeds()))
            assert ended.state == "done", (seed, ended.reason)
            assert (ledger.asked, ledger.kept, ledger.missing) == (pairs, pairs, 0)
            assert (ledger.balance(), ledger.in_progress) == ([], 0)
            assert ledger.calls.made == server.completions
            texts = instructions(workspace)
            assert len(texts) == pairs
            assert_unique_and_unlike(texts + [seed.instruction for seed in seeds()])


@pytest.mark.parametrize("seed", range(3))
async def test_n_asked_is_n_got_whatever_the_lists_are_like(seed: int, tmp_path: Path) -> None:
    await exact_pool(tmp_path / "w", seed)


@pytest.mark.faults
@pytest.mark.parametrize("seed", range(100, 130))
async def test_n_asked_is_n_got_thirty_times(seed: int, tmp_path: Path) -> None:
    await exact_pool(tmp_path / "w", seed)


SEED = "Explain how a lighthouse guides ships through a stormy night."
GOOD = (
    "Suggest three gifts for a friend who loves gardening.",
    "Why do leaves change their colour in autumn?",
    "Sort these five cities by their distance from the equator: Oslo, Quito, Cairo, Lima, Rome.",
    "Convert 85 degrees Fahrenheit into Celsius and explain the steps.",
    "Describe the profile of an ideal customer for a bakery.",
    "Is the tone of a complaint letter polite or rude?",
    "What makes C++ hard to learn for beginners?",
    "What makes C# hard to learn for beginners?",
)
VIOLATIONS = {
    "filtered: too short": ("Tell a joke.",),
    "filtered: too long": (
        "Write an essay about " + " ".join(f"subject{n}" for n in range(160)) + ".",
    ),
    "filtered: keyword": (
        "Describe the Image of a sunset over the sea.",
        "Plot the growth of a company over ten years.",
        "Go to the nearest shop and compare prices.",
        "Compose MUSIC for a short wedding ceremony.",
        "Label every axis of a flowchart about tea making.",
    ),
    "filtered: banned start": ("Write a program that adds two whole numbers.",),
    "filtered: starts with punctuation": ("?What is the meaning of life for a cat",),
    "filtered: starts with a non-English character": ("Überlege dir drei Namen für einen Hund.",),
    "filtered: wrong language": ("1 写一个关于猫和狗的故事并解释它们为什么不喜欢对方",),
    "exact duplicate": (
        "suggest three gifts for a  friend who loves gardening.",
        "Explain how a lighthouse guides ships through a stormy night.",
    ),
    "near duplicate": (
        "Suggest three good gifts for a friend who loves gardening.",
        "Explain how a lighthouse guides ships safely through a stormy night.",
    ),
}  # fmt: skip


async def test_each_duplicate_and_each_violation_is_caught_and_named_and_nothing_else_is(
    tmp_path: Path,
) -> None:
    items = [*GOOD, *(text for texts in VIOLATIONS.values() for text in texts)]
    recorded = iter([numbered(items)])
    model = PoolModel(lists=lambda count: next(recorded, "I cannot think of any more."))
    async with NimServer(brain=model) as server:
        with pool_workspace(tmp_path) as workspace:
            ended, ledger = end_of(
                await run_job(workspace, server, settings(len(GOOD) + 5), with_seeds(SEED))
            )
            assert (ended.state, ledger.kept) == ("unfinished", len(GOOD))
            assert sorted(instructions(workspace)) == sorted(GOOD)
            found = losses_by_text(workspace)
            assert {loss: sorted(texts) for loss, texts in found.items()} == {
                loss: sorted(" ".join(text.split()) for text in texts) for loss, texts in VIOLATIONS.items()
            }
            assert ledger.balance() == []


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (("min_words = 4", "min_words = 0"), "Tell a joke."),
        (("max_words = 150", "max_words = 0"), VIOLATIONS["filtered: too long"][0]),
        (('"image", ', ""), VIOLATIONS["filtered: keyword"][0]),
        (('["Write a program"]', "[]"), VIOLATIONS["filtered: banned start"][0]),
        (("punctuation_start = true", "punctuation_start = false"), "?What is the meaning of life for a cat"),
        (
            ("non_english_start = true", "non_english_start = false"),
            "Überlege dir drei Namen für einen Hund.",
        ),
        (('script = "latin"', 'script = ""'), VIOLATIONS["filtered: wrong language"][0]),
    ],
)
async def test_every_filter_can_be_switched_off_in_the_recipe(
    edit: tuple[str, str], text: str, tmp_path: Path
) -> None:
    model = PoolModel(lists=lambda count: numbered([text, GOOD[0]]))
    async with NimServer(brain=model) as server:
        with pool_workspace(tmp_path, edit=edit) as workspace:
            _, ledger = end_of(await run_job(workspace, server, settings(2), with_seeds()))
            assert (sorted(instructions(workspace)), ledger.losses) == (sorted([text, GOOD[0]]), {})


@pytest.mark.parametrize(("missing_input", "kept"), [("true", 1), ("false", 2)])
async def test_a_missing_input_can_be_let_pass(missing_input: str, kept: int, tmp_path: Path) -> None:
    task = "Summarize the following article in one sentence."
    model = PoolModel(lists=lambda count: numbered([task, GOOD[0]]))
    async with NimServer(brain=model) as server:
        edit = ("missing_input = true", f"missing_input = {missing_input}")
        with pool_workspace(tmp_path, edit=edit) as workspace:
            options = with_seeds(limits=Limits(calls=20))
            _, ledger = end_of(await run_job(workspace, server, settings(2), options))
            assert ledger.kept == kept
            assert (ledger.losses.get("filtered: missing input", 0) > 0) == (kept == 1)


@pytest.mark.parametrize("parity", [False, True])
async def test_in_parity_mode_the_words_alone_decide_and_else_symbols_count_too(
    parity: bool, tmp_path: Path
) -> None:
    tasks = [GOOD[6], GOOD[7], "解释什么是分支", "描述如何合并提交"]
    model = PoolModel(lists=lambda count: numbered(tasks))
    text = load_recipe("self-instruct-chinese").text
    text = text.replace('script = "han"', "").replace("parity = false", f"parity = {str(parity).lower()}")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text, encoding="utf-8")
    async with NimServer(brain=chinese(model)) as server:
        with pool_workspace(tmp_path, recipe=str(recipe)) as workspace:
            await run_job(workspace, server, settings(4), with_seeds(limits=Limits(calls=30)))
            assert set(instructions(workspace)) == set(tasks if not parity else [tasks[0], *tasks[2:]])


def chinese(model: PoolModel) -> Any:
    """The same model behind the Chinese prompts."""

    def brain(body: dict[str, Any]) -> str | Answer:
        prompt = prompt_of(body)
        if "请再想出" in prompt:
            assert model.lists is not None
            return model.lists(4)
        return "否" if "这是分类任务吗" in prompt else "输入：无\n输出：好的。"

    return brain


async def test_only_what_the_judge_lets_pass_counts(tmp_path: Path) -> None:
    model = PoolModel(seed=4)
    scores = DefectiveLists(passing=0.6)

    def brain(body: dict[str, Any]) -> str | Answer:
        if "reward" in body["model"]:
            return reward_text(scores.scores(prompt_of(body)))
        return model(body)

    async with NimServer(brain=brain) as server:
        with pool_workspace(tmp_path, judge=REWARD) as workspace:
            wanted = settings(12, where="helpfulness >= 3")
            ended, ledger = end_of(await run_job(workspace, server, wanted, with_seeds()))
            assert (ended.state, ledger.kept, ledger.balance()) == ("done", 12, [])
            assert len(instructions(workspace, verdict="rejected")) == ledger.losses["judged below"] > 0


async def test_the_filters_hold_in_a_workspace_whose_recipe_is_for_the_topic_tree(tmp_path: Path) -> None:
    model = PoolModel(lists=lambda count: numbered(["Draw a picture of a small house.", *GOOD[:2]]))
    async with NimServer(brain=model) as server:
        with make_workspace(tmp_path) as workspace:
            _, ledger = end_of(await run_job(workspace, server, settings(2), with_seeds()))
            assert ledger.losses == {"filtered: keyword": 1}


async def test_files_and_maps_are_welcome_in_the_recipe_for_programming(tmp_path: Path) -> None:
    tasks = ("Write a program that reads a file into a map.", "Show how to delete a file from a repository.")
    model = PoolModel(lists=lambda count: numbered(tasks))
    async with NimServer(brain=model) as server:
        with pool_workspace(tmp_path, recipe="self-instruct-code") as workspace:
            _, ledger = end_of(await run_job(workspace, server, settings(2), with_seeds()))
            assert (ledger.kept, ledger.losses) == (2, {})
            assert model.asked("classification") == []


def shown_tasks(prompt: str) -> list[str]:
    return re.findall(r"^- (.+)$", prompt.split("Come up with")[0], re.MULTILINE)


@pytest.mark.parametrize(
    ("choice", "human", "machine"), [("paper", 6, 2), ("alpaca", 3, 0), ("4+1", 4, 1), ("mixed", None, 3)]
)
async def test_a_prompt_shows_so_many_seeds_and_so_many_of_the_models_own(
    choice: str, human: int | None, machine: int, tmp_path: Path
) -> None:
    model = PoolModel(chance=0)
    async with NimServer(brain=model) as server:
        with pool_workspace(tmp_path) as workspace:
            given = {seed.instruction for seed in seeds()}
            await run_job(workspace, server, settings(40, examples=choice, seed=1), with_seeds())
            first, *later = [shown_tasks(prompt) for prompt in model.asked("list")]
            total = 3 if human is None else human + machine
            assert len(first) == total
            assert set(first) <= given
            assert len(later) >= 3
            for shown in later:
                assert len(set(shown)) == total
                own = [task for task in shown if task not in given]
                assert human is None or len(own) == machine
                assert set(own) <= set(instructions(workspace))
            assert choice == "alpaca" or any(set(shown) - given for shown in later)


async def test_a_classification_gets_its_label_before_its_input(tmp_path: Path) -> None:
    task = "Tell whether a film review is positive or negative."
    model = PoolModel(
        lists=lambda count: numbered([task, GOOD[0]]),
        classifies=lambda text: "Yes." if text == task else " no",
    )
    async with NimServer(brain=model) as server:
        with pool_workspace(tmp_path) as workspace:
            await run_job(workspace, server, settings(2), with_seeds())
            assert len(model.asked("label")) == len(model.asked("instance")) == 1
            rows = workspace.read(
                lambda conn: conn.execute(
                    "SELECT instruction, input, output FROM version ORDER BY output"
                ).fetchall()
            )
            assert (task, "A text about it.", "yes") in rows


INSTANCES = {
    "filtered: empty output": "Input: a text\nOutput:",
    "filtered: input equals output": "Input: same text\nOutput: Same  text",
    "filtered: ends with a colon": "Input: a text\nOutput: Here it is:",
    "filtered: same input, different outputs": (
        "Example 1\nInput: a text\nOutput: one\n\nExample 2\nInput: A text\nOutput: two"
    ),
    "filtered: echoes the instruction": "Input: none\nOutput: Suggest three gifts for a friend who loves gardening",
    "refused": "I'm sorry, but I can't help with that.",
    "no answer": "",
}


@pytest.mark.parametrize("loss", INSTANCES)
async def test_a_task_without_a_sound_instance_is_lost_under_the_filters_name(
    loss: str, tmp_path: Path
) -> None:
    model = PoolModel(
        lists=lambda count: numbered(GOOD[:3]),
        instance=lambda task: INSTANCES[loss] if task == GOOD[0] else "Input: none\nOutput: Fine.",
    )
    async with NimServer(brain=model) as server:
        with pool_workspace(tmp_path) as workspace:
            _, ledger = end_of(await run_job(workspace, server, settings(2), with_seeds()))
            assert losses_by_text(workspace).get(loss, []) == [GOOD[0]] or ledger.losses == {"surplus": 1}
            _, ledger = end_of(
                await run_job(workspace, server, settings(3), GenerateOptions(limits=Limits(calls=40)))
            )
            assert GOOD[0] in losses_by_text(workspace)[loss]
            assert ledger.balance() == []


async def test_the_first_surviving_instance_becomes_the_pair_and_what_fell_is_noted(tmp_path: Path) -> None:
    answer = "Example 1\nInput: one\nOutput:\nExample 2\nInput: two\nOutput: zwei\nExample 3\nInput: two\nOutput: zwei"
    model = PoolModel(lists=lambda count: numbered(GOOD[:2]), instance=lambda task: answer)
    async with NimServer(brain=model) as server:
        with pool_workspace(tmp_path) as workspace:
            _, ledger = end_of(await run_job(workspace, server, settings(2), with_seeds()))
            assert (ledger.kept, ledger.losses) == (2, {})
            rows = workspace.read(lambda conn: conn.execute("SELECT input, output FROM version").fetchall())
            assert rows == [("two", "zwei")] * 2
            detail = workspace.read(lambda conn: conn.execute("SELECT detail FROM candidate").fetchone())[0]
            assert "empty output: 1" in detail
            assert "repeated instance: 1" in detail


async def test_an_instance_that_was_cut_off_is_lost_by_that_name(tmp_path: Path) -> None:
    cut = iter([True])
    model = PoolModel(
        lists=lambda count: numbered(GOOD[:4]),
        instance=lambda task: (
            Answer("Input: none\nOutput: It goes on", "length") if next(cut, False) else "Output: Fine."
        ),
    )
    async with NimServer(brain=model) as server:
        with pool_workspace(tmp_path) as workspace:
            _, ledger = end_of(await run_job(workspace, server, settings(3), with_seeds()))
            assert (ledger.kept, ledger.losses["cut off"]) == (3, 1)


BREACHES = {
    "too long": "Summarize " + " ".join(f"thing{n}" for n in range(170)),
    "banned start": "Write a program that lists the first ten primes.",
    "starts with punctuation": "- - name seven rivers that flow through Asia",
    "starts with a non-English character": "“Carpe diem”: explain what it means to students.",
    "wrong language": "2 请写一首关于春天的诗并解释其中的比喻",
}
MENDED = {
    "too long": "Summarize the history of the printing press.",
    "banned start": "List the first ten prime numbers in order.",
    "starts with punctuation": "Name seven rivers that flow through Asia.",
    "starts with a non-English character": "Explain what carpe diem means to students.",
    "wrong language": "Compose a spring poem and explain its metaphors.",
}


async def test_refine_rewrites_once_what_can_be_mended_and_filters_it_again(tmp_path: Path) -> None:
    fate = {BREACHES[rule]: MENDED[rule] for rule in BREACHES}
    hopeless = "Write a program that prints the names of months."
    stubborn = "Write a program that counts the vowels of a word."
    fate |= {hopeless: SEED, stubborn: stubborn}
    items = [*GOOD[:2], *fate, "Tell a joke.", "Draw a picture of a horse."]
    model = PoolModel(
        lists=lambda count: numbered(items),
        rewrites=lambda task: next(new for old, new in fate.items() if old.startswith(task[:40])),
    )
    async with NimServer(brain=model) as server:
        with pool_workspace(tmp_path) as workspace:
            options = with_seeds(SEED)
            _, ledger = end_of(await run_job(workspace, server, settings(9, refine=True), options))
            assert set(instructions(workspace)) == {*GOOD[:2], *MENDED.values()}
            assert (ledger.refined_kept, ledger.refined_refused) == (5, 2)
            assert ledger.as_json()["refined"] == {"kept": 5, "refused": 2}
            assert ledger.balance() == []
            assert ledger.calls.made == server.completions
            found = losses_by_text(workspace)
            assert found["filtered: too short"][0] == "Tell a joke."
            assert found["filtered: keyword"][0] == "Draw a picture of a horse."
            assert hopeless in found["exact duplicate"]
            assert found["filtered: banned start"][0] == stubborn
            assert len(model.asked("rewrite")) == 7


async def test_without_refine_nothing_is_rewritten(tmp_path: Path) -> None:
    model = PoolModel(lists=lambda count: numbered([*GOOD[:2], *BREACHES.values()]))
    async with NimServer(brain=model) as server:
        with pool_workspace(tmp_path) as workspace:
            _, ledger = end_of(await run_job(workspace, server, settings(2), with_seeds()))
            assert {loss: count for loss, count in ledger.losses.items() if count} == {
                f"filtered: {rule}": 1 for rule in BREACHES
            }
            assert (ledger.refined_kept, ledger.refined_refused, model.asked("rewrite")) == (0, 0, [])


async def test_a_task_that_speaks_of_a_text_which_is_not_there_is_mended(tmp_path: Path) -> None:
    task = "Summarize the following article in one sentence."
    model = PoolModel(
        lists=lambda count: numbered([task, GOOD[0]]),
        rewrites=lambda old: "Summarize the story of Hamlet in one sentence.",
    )
    async with NimServer(brain=model) as server:
        with pool_workspace(tmp_path) as workspace:
            _, ledger = end_of(await run_job(workspace, server, settings(2, refine=True), with_seeds()))
            assert "Summarize the story of Hamlet in one sentence." in instructions(workspace)
            assert (ledger.kept, ledger.refined_kept, ledger.losses) == (2, 1, {})
            assert ledger.calls.failed == {"filtered: missing input": 1}


async def test_without_seed_tasks_nothing_begins(tmp_path: Path) -> None:
    async with NimServer(brain=PoolModel()) as server:
        with pool_workspace(tmp_path) as workspace:
            with pytest.raises(UsageError, match="--seed-tasks"):
                await run_job(workspace, server, settings(3))
            assert workspace.read(lambda conn: conn.execute("SELECT count(*) FROM run").fetchone())[0] == 0
            assert server.completions == 0


async def test_seed_tasks_are_for_self_instruct_only(tmp_path: Path) -> None:
    async with NimServer() as server:
        with pool_workspace(tmp_path) as workspace, pytest.raises(UsageError, match="self-instruct"):
            await run_job(workspace, server, GenerateSettings(3), with_seeds())


async def test_the_workspace_keeps_the_seeds_and_an_unfinished_run_goes_on_without_the_file(
    tmp_path: Path,
) -> None:
    async with NimServer(brain=PoolModel(seed=3)) as server:
        with pool_workspace(tmp_path) as workspace:
            options = with_seeds(limits=Limits(calls=15))
            first, _ = end_of(await run_job(workspace, server, settings(20), options))
            second, ledger = end_of(await run_job(workspace, server, settings(20)))
            assert (first.state, second.state, ledger.kept) == ("unfinished", "done", 20)
            assert first.run_id == second.run_id
            assert len(workspace.read(list_seed_tasks)) == 10
            third, _ = end_of(await run_job(workspace, server, settings(5), with_seeds()))
            assert third.state == "done"
            assert len(workspace.read(list_seed_tasks)) == 10
            assert_unique_and_unlike(instructions(workspace))


async def test_a_stop_between_classification_and_instance_pays_for_neither_twice(tmp_path: Path) -> None:
    model = PoolModel(chance=0)
    async with NimServer(brain=model) as server:
        with pool_workspace(tmp_path) as workspace:
            job = GenerateJob(workspace, settings(12), settings_for(server), with_seeds())
            async for event in job.events():
                if isinstance(event, PairKept):
                    job.control.stop()
            ended, ledger = end_of(await run_job(workspace, server, settings(12)))
            assert (ended.state, ledger.kept) == ("done", 12)
            asked = Counter(model.asked("classification"))
            assert max(asked.values()) == 1
            assert max(Counter(model.asked("instance")).values()) == 1


async def test_the_pool_stands_under_a_topic_of_its_own_that_the_topic_tree_leaves_alone(
    tmp_path: Path,
) -> None:
    async with NimServer(brain=PoolModel(chance=0)) as server:
        with make_workspace(tmp_path, topics=("Branching",)) as workspace:
            await run_job(workspace, server, settings(2), with_seeds())
            rows = workspace.read(
                lambda conn: conn.execute(
                    "SELECT DISTINCT topic.name FROM pair JOIN topic ON topic.id = pair.topic_id"
                ).fetchall()
            )
            assert rows == [("Tasks",)]
    async with NimServer(brain=lambda body: numbered([fresh_instruction(random.Random(7)), *GOOD])) as server:
        with open_workspace(tmp_path / "git.pairsmith") as workspace:
            events = await run_job(workspace, server, GenerateSettings(2))
            kept = [event for event in events if isinstance(event, PairKept)]
            assert {event.topic for event in kept} == {"Branching"}


def meters_of(events: list[Event]) -> list[Progress]:
    return [event for event in events if isinstance(event, Progress) and event.diversity is not None]


async def test_progress_carries_yield_and_diversity_and_prompts_steer_away_from_what_is_overused(
    tmp_path: Path,
) -> None:
    rng = random.Random(5)
    model = PoolModel(
        lists=lambda count: numbered([f"Write a {fresh_instruction(rng).lower()}" for _ in range(count)])
    )
    async with NimServer(brain=model) as server:
        with pool_workspace(tmp_path) as workspace:
            events = await run_job(workspace, server, settings(40), with_seeds())
            last = meters_of(events)[-1]
            assert last.ledger.share_kept == 1.0
            assert last.diversity is not None
            assert last.diversity.instructions == 40
            assert last.diversity.verbs[0].verb == "write"
            assert 0 < (last.diversity.nearest or 0) < 0.7
            assert (last.diversity.distinct_2 or 0) > 0.8
            assert "Use other verbs" not in model.asked("list")[0]
            assert '- "write"' in model.asked("list")[-1]


async def test_the_topic_tree_steers_too_and_the_reference_recipe_does_not(tmp_path: Path) -> None:
    for recipe, steers in (("english", True), ("nim-reference", False)):
        rng = random.Random(5)
        prompts: list[str] = []

        def brain(body: dict[str, Any], rng: random.Random = rng, prompts: list[str] = prompts) -> str:
            prompt = prompt_of(body)
            count = asked_for(prompt)
            if count is None:
                return f"Answer: {prompt}"
            prompts.append(prompt)
            return numbered([f"Write a {fresh_instruction(rng).lower()}" for _ in range(min(count, 20))])

        folder = tmp_path / recipe
        folder.mkdir()
        async with NimServer(brain=brain) as server:
            with make_workspace(folder, recipe=recipe, topics=("One",)) as workspace:
                _, ledger = end_of(await run_job(workspace, server, GenerateSettings(50)))
                assert ledger.kept == 50
                assert ('- "write"' in prompts[-1]) == steers


async def test_steering_can_be_switched_off(tmp_path: Path) -> None:
    rng = random.Random(5)
    model = PoolModel(
        lists=lambda count: numbered([f"Write a {fresh_instruction(rng).lower()}" for _ in range(count)])
    )
    async with NimServer(brain=model) as server:
        with pool_workspace(tmp_path, edit=("steer = true", "steer = false")) as workspace:
            await run_job(workspace, server, settings(40), with_seeds())
            assert not any("Use other verbs" in prompt for prompt in model.asked("list"))


async def test_a_list_that_the_token_limit_cut_off_loses_its_last_task_or_all(tmp_path: Path) -> None:
    for number, (edit, kept) in enumerate(
        [
            (("discard_cut = false", "discard_cut = false"), 3),
            (("discard_cut = false", "discard_cut = true"), 0),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        model = PoolModel()
        listing = Answer(numbered(GOOD[:4]), "length")

        def brain(body: dict[str, Any], model: PoolModel = model, listing: Answer = listing) -> str | Answer:
            said = model(body)
            return listing if model.prompts[-1][0] == "list" else said

        async with NimServer(brain=brain) as server:
            with pool_workspace(folder, edit=edit) as workspace:
                _, ledger = end_of(await run_job(workspace, server, settings(8), with_seeds()))
                assert ledger.kept == kept
                assert ledger.balance() == []


def test_seed_tasks_of_the_paper_are_taken_for_what_they_are() -> None:
    label = next(seed for seed in seeds() if seed.is_classification)
    assert isinstance(label, SeedTask)
    assert label.instances[0].output == "yes"


def test_an_estimate_counts_the_classifications_and_no_topics() -> None:
    found = estimate(100, [], load_recipe("self-instruct"), False, Basis({}))
    assert found.topic_calls == 0
    assert found.classifications == found.responses
    assert found.calls == found.lists + 2 * found.responses
    assert estimate(100, [], load_recipe("self-instruct-code"), False, Basis({})).classifications == 0
