"""Evaluation of a really trained tiny model: measured, judged over real HTTP, compared; failures counted by name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pairsmith.backends.registry import open_backend, parse_spec
from pairsmith.cli.evaluate import lines_of
from pairsmith.pairs.blind import compared, contestants, read_sheet
from pairsmith.pairs.chat import Answer, BackendPartner, ChatOptions, ChildPartner
from pairsmith.pairs.control import Control
from pairsmith.pairs.errors import PairsmithError, UsageError
from pairsmith.pairs.evaluate_job import EvaluateJob, EvaluateOptions
from pairsmith.pairs.events import Event, Notice
from pairsmith.pairs.ledger import read_calls
from pairsmith.pairs.limits import Limits
from pairsmith.pairs.model_export import export_model
from pairsmith.pairs.store.held_out import answer_judgements_of, answers_of
from pairsmith.pairs.store.ratings import add_rating
from pairsmith.pairs.store.runs import Run, get_run, list_runs
from pairsmith.pairs.store.workspace import Workspace
from pairsmith.pairs.training_events import Evaluating
from pairsmith.pairs.training_folder import read_items
from pairsmith.pairs.training_runs import find_run, run_folder_of, tuned_model_of

from .generation import settings_for
from .servers.nim import NimServer, reward_answer
from .servers.ollama import OllamaServer
from .small_models import COLOURS
from .trained import backends_of, colour_workspace, ended, learning, tiny, train

JUDGE = "nim:meta/llama-3.1-405b-instruct"
OTHER = "nim:meta/llama-3.3-70b-instruct"
TOKENS = 12


@dataclass(frozen=True)
class Trained:
    """Run 1 knows the task, run 2 has seen hardly anything."""

    workspace: Workspace
    home: Path

    @property
    def folder(self) -> Path:
        return run_folder_of(self.home, self.workspace, self.run(1))

    @property
    def items(self) -> list[dict[str, Any]]:
        return read_items(self.folder / "test.jsonl")

    def run(self, number: int) -> Run:
        return self.workspace.read(lambda conn: get_run(conn, number))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    place = tmp_path_factory.mktemp("trained")
    with colour_workspace(place, 400) as workspace:
        for settings in (learning(), tiny()):
            assert ended(asyncio.run(train(workspace, place / "home", settings))).state == "done"
        yield Trained(workspace, place / "home")


async def evaluate(
    trained: Trained, server: NimServer | None = None, control: Control | None = None, **options: Any
) -> tuple[Run, list[Event]]:
    settings = backends_of(trained.home)
    if server is not None:
        settings = settings_for(server, home=trained.home)
    job = EvaluateJob(
        trained.workspace,
        settings,
        EvaluateOptions(**{"run": "1", "max_new_tokens": TOKENS, "patience_s": 5.0, **options}),
        control,
    )
    events = [event async for event in job.events()]
    return trained.run(ended(events).run_id), events


def result_of(run: Run) -> Mapping[str, Any]:
    assert run.result is not None
    return run.result


def asked(body: Mapping[str, Any]) -> str:
    return str(body["messages"][-1]["content"])


def grading(trained: Trained, judge: Callable[[str], str]) -> Callable[[Mapping[str, Any]], str]:
    """A judge that answers by the id of the test item that it is asked about."""
    by_instruction = {item["instruction"]: str(item["id"]) for item in trained.items}

    def brain(body: Mapping[str, Any]) -> str:
        prompt = asked(body)
        assert prompt.startswith("Given the input `Below is an instruction")
        return judge(next(uid for text, uid in by_instruction.items() if f"\n{text}`" in prompt))

    return brain


async def test_the_tuned_model_answers_what_was_held_out_and_the_base_does_not(trained: Trained) -> None:
    run, events = await evaluate(trained)
    result = result_of(run)
    tuned, base = (result["subjects"][name]["metrics"]["exact_match"] for name in ("tuned", "base"))
    assert tuned["value"] >= 0.8
    assert base["value"] == 0.0
    assert tuned["low"] > base["high"]
    assert tuned["n"] == base["n"] == len(trained.items) == 40
    paired = result["paired"]["base"]
    assert paired["exact_match"]["difference"]["low"] > 0.5
    assert paired["nll"]["p"] < 0.001
    assert "judge" not in result
    answers = trained.workspace.read(lambda conn: answers_of(conn, run.id, "tuned"))
    assert len(answers) == 40
    assert all("rougeL" in answer.measures for answer in answers.values())
    responses = json.loads((trained.folder / "evaluation" / "tuned-responses.json").read_text())
    assert list(responses[0]) == ["instruction", "input", "output", "model_response"]
    assert {event.subject for event in events if isinstance(event, Evaluating)} <= {"tuned", "base"}
    assert "losses.svg" in (trained.folder / "report.md").read_text()
    assert (trained.folder / "losses.svg").read_text().startswith("<svg")


async def test_scores_of_a_judge_have_interval_and_paired_test(
    trained: Trained,
) -> None:
    def brain(body: Mapping[str, Any]) -> str:
        assert asked(body).endswith("Respond with the integer number only.")
        assert (body["temperature"], body["seed"]) == (0.0, 123)
        _, said = asked(body).split("and correct output `")
        reference, _, answer = said.partition("`, score the model response `")
        return "90" if answer.startswith(f"{reference}`") else "10"

    async with NimServer(brain) as server:
        run, _ = await evaluate(trained, server, judge=JUDGE)
    judge = result_of(run)["judge"]
    tuned, base = judge["subjects"]["tuned"], judge["subjects"]["base"]
    right = result_of(run)["subjects"]["tuned"]["metrics"]["exact_match"]["value"]
    assert tuned["mean"] == pytest.approx(90 * right + 10 * (1 - right))
    assert base["mean"] == 10
    assert tuned["low"] <= tuned["mean"] <= tuned["high"]
    assert (tuned["scored"], tuned["failed"], tuned["unreadable_answers"]) == (40, 0, 0)
    assert judge["paired"]["base"]["difference"]["mean"] == pytest.approx(tuned["mean"] - 10)
    assert judge["paired"]["base"]["p"] < 0.001
    assert (judge["judge"], judge["prompt"]) == (JUDGE, "integer")
    assert "Judged against the reference answers" in (trained.folder / "report.md").read_text()


async def test_planted_unreadable_answers_are_tried_again_counted_and_named(trained: Trained) -> None:
    never = {str(item["id"]) for item in trained.items[:3]}
    once = {str(item["id"]) for item in trained.items[3:8]}
    seen: set[str] = set()

    def judge(uid: str) -> str:
        if uid in never or (uid in once and uid not in seen):
            seen.add(uid)
            return "I cannot put a number on that."
        return "I'd score this model response as 40 out of 100."

    async with NimServer(grading(trained, judge)) as server:
        run, events = await evaluate(trained, server, judge=JUDGE, base=False, explain=True)
        calls = trained.workspace.read(lambda conn: read_calls(conn, run.id))
        assert server.completions == 37 + 5 + 3 * 3
    found = result_of(run)["judge"]["subjects"]["tuned"]
    assert (found["n"], found["scored"], found["failed"]) == (40, 37, 3)
    assert found["unreadable_answers"] == 5 + 3 * 3
    assert found["mean"] == 40
    assert {one["id"] for one in found["failures"]} == never
    assert all("no score in the answer" in one["reason"] for one in found["failures"])
    assert (calls.made, calls.useful, calls.failed) == (51, 37, {"unreadable score": 14})
    judged = trained.workspace.read(lambda conn: answer_judgements_of(conn, run.id, "tuned"))
    explained = [one.explanation for one in judged if one.value is not None]
    assert explained == ["I'd score this model response as 40 out of 100."] * 37
    assert [event.failed for event in events if isinstance(event, Evaluating)][-1] == 3
    report = (trained.folder / "report.md").read_text()
    assert "37 of 40 | 3 | 14" in report


async def test_two_models_are_compared_in_both_orders_and_place_alone_decides_nothing(
    trained: Trained,
) -> None:
    """The other model names the right colour for every second item, and the wrong one otherwise."""
    right = {str(item["instruction"]): str(item["output"]) for item in trained.items[::2]}

    def brain(body: Mapping[str, Any]) -> str:
        text = asked(body)
        if "Response A:" not in text:
            return right.get(text, "mauve")
        a, b = text.split("Response A:\n")[1].split("\n\nAnswer with")[0].split("\n\nResponse B:\n")
        good = text.split("A correct response:\n")[1].split("\n")[0]
        if (a == good) == (b == good):
            return "[[A]]"  # it always prefers the first of two that are alike
        return "[[A]]" if a == good else "[[B]]"

    async with NimServer(brain) as server:
        run, _ = await evaluate(trained, server, judge=JUDGE, against=OTHER, base=False)
    result = result_of(run)
    found = result["pairwise"]
    assert (found["subject"], found["against"]) == ("tuned", OTHER)
    assert found["n"] == 40
    assert found["wins"] + found["ties"] + found["losses"] == 40
    tuned_wrong = 40 - round(40 * result["subjects"]["tuned"]["metrics"]["exact_match"]["value"])
    assert found["wins"] >= 20 - tuned_wrong
    assert found["inconsistent"] == found["ties"] >= 20 - tuned_wrong
    assert found["win_rate"]["low"] <= found["win_rate"]["mean"] <= found["win_rate"]["high"]
    assert found["p"] < 0.05
    assert result["subjects"][OTHER] == {"n": 40, "answered": 40, "failed": 0, "failures": []}
    answers = trained.workspace.read(lambda conn: answers_of(conn, run.id, OTHER))
    assert {answer.text for answer in answers.values()} <= {*COLOURS, "mauve"}


async def test_another_run_is_measured_on_the_same_pairs(trained: Trained) -> None:
    async with NimServer(lambda body: "[[A]]" if "Response A:" in asked(body) else "banana") as server:
        run, events = await evaluate(trained, server, judge=JUDGE, against="2", base=False)
    result = result_of(run)
    assert result["subjects"]["run 2"]["metrics"]["exact_match"]["value"] < 0.5
    assert result["paired"]["run 2"]["nll"]["difference"]["mean"] < 0
    assert not [event for event in events if isinstance(event, Notice) and event.kind == "leak"]
    assert result["pairwise"]["ties"] == 40
    assert result["judge"]["subjects"]["tuned"]["failed"] == 40
    assert result["judge"]["subjects"]["tuned"]["mean"] is None


async def test_what_people_said_of_the_answers_stands_in_the_result_and_in_the_report(
    trained: Trained,
) -> None:
    """They rate while nothing runs; the next evaluation of the same answers has it."""
    await evaluate(trained)
    workspace = trained.workspace

    def rate(conn: Any) -> int:
        sheet = read_sheet(conn, "compare", contestants(conn, 1)[:2], "Ada", workspace.id)
        for item in sheet.items[:20]:
            choice = "left" if item.answers[0].name == "run 1" else "right"
            add_rating(conn, compared(sheet, item, choice))
        return len(sheet.items)

    assert workspace.write(rate) >= 38
    run, _ = await evaluate(trained, max_new_tokens=TOKENS, explain=True)
    # A rating belongs to two texts: where another run's answer is the base's, word for word, it counts for both.
    found = next(one for one in result_of(run)["human"]["compare"] if one["against"] == "base of run 1")
    assert (found["together"]["wins"], found["together"]["losses"]) == (20, 0)
    report = (trained.folder / "report.md").read_text()
    assert "## Rated by people, blind" in report
    assert "| Ada | 20 | 0 | 0 | 0 | 1 |" in report
    lines = "\n".join(lines_of(result_of(run)))
    assert "run 1 against base of run 1, rated blind by Ada:" in lines
    assert "20 wins, 0 ties, 0 losses, 0 skipped" in lines


async def test_a_limit_stops_it_and_the_same_options_go_on(trained: Trained) -> None:
    async with NimServer(lambda body: "61") as server:
        options = {"judge": JUDGE, "base": False, "max_new_tokens": TOKENS - 1}
        stopped, events = await evaluate(trained, server, limits=Limits(calls=25), **options)
        assert (stopped.state, ended(events).error) == ("unfinished", None)
        assert "25 calls" in stopped.reason
        done, _ = await evaluate(trained, server, **options)
        assert done.id == stopped.id
        assert done.state == "done"
        assert result_of(done)["judge"]["subjects"]["tuned"]["scored"] == 40
        assert server.completions == 40


async def test_a_stop_sends_the_judge_no_question_that_waits_for_its_turn(trained: Trained) -> None:
    control = Control()

    async def brain(body: Mapping[str, Any]) -> str:
        control.stop()
        await asyncio.sleep(0.3)  # meanwhile what is on its way arrives
        return "61"

    options = {"judge": JUDGE, "base": False, "max_new_tokens": TOKENS - 3}
    async with NimServer(brain) as server:
        run, _ = await evaluate(trained, server, control, **options)
        assert (run.state, run.reason) == ("paused", "stopped by the user")
        assert server.completions < 20
    async with NimServer(lambda body: "61") as server:
        done, _ = await evaluate(trained, server, **options)
        assert (done.id, done.state) == (run.id, "done")


async def test_a_judge_that_is_down_leaves_what_was_measured(trained: Trained) -> None:
    async with NimServer() as server:
        server.rules = type(server.rules)(retired=("meta/llama-3.1-405b-instruct",))
        run, events = await evaluate(trained, server, judge=JUDGE, base=False, explain=True)
    assert run.state == "unfinished"
    assert ended(events).error is not None
    assert result_of(run)["subjects"]["tuned"]["n"] == 40


async def test_a_judge_in_ollama_gets_the_reference_texts_settings(trained: Trained) -> None:
    async with OllamaServer(brain=lambda request: "85") as server:
        job = EvaluateJob(
            trained.workspace,
            backends_of(trained.home, ollama_host=server.url),
            EvaluateOptions(run="1", judge="ollama:llama3.2", base=False, max_new_tokens=TOKENS),
        )
        events = [event async for event in job.events()]
    run = trained.run(ended(events).run_id)
    assert result_of(run)["judge"]["subjects"]["tuned"]["mean"] == 85
    options = server.bodies[0]["options"]
    assert (options["seed"], options["temperature"], options["num_ctx"]) == (123, 0, 2048)
    assert len(server.bodies) == 40


async def test_a_reward_model_cannot_grade(trained: Trained) -> None:
    reward = "nim:nvidia/nemotron-4-340b-reward"
    async with NimServer(lambda body: reward_answer({"helpfulness": 3.0})) as server:
        run, events = await evaluate(trained, server, default_judge=reward, base=False)
        assert run.state == "done"
        assert any("reward model" in event.text for event in events if isinstance(event, Notice))
        run, events = await evaluate(trained, server, judge=reward, base=False)
        assert isinstance(ended(events).error, UsageError)


async def test_multiple_choice_questions_are_answered_by_likelihood(trained: Trained, tmp_path: Path) -> None:
    questions = tmp_path / "q.csv"
    questions.write_text(
        "What is red?,a colour,a dog,a tree,a car,A\nWhat is blue?,a dog,a colour,a tree,a car,B\n"
    )
    run, _ = await evaluate(trained, choices=questions, base=False)
    found = result_of(run)["subjects"]["tuned"]["choices"]
    assert found["n"] == 2
    assert 0 <= found["accuracy"] <= 1
    questions.write_text("no,questions\n")
    run, events = await evaluate(trained, choices=questions, base=False)
    assert run.state == "unfinished"
    assert "q.csv" in str(ended(events).error)


async def test_what_cannot_be_evaluated_is_refused(trained: Trained, tmp_path: Path) -> None:
    for options, words in (
        ({"run": "99"}, "no training run '99'"),
        ({"run": "nix"}, "no training run 'nix'"),
        ({"against": "1"}, "cannot be compared with itself"),
        ({"against": "llama-cpp:/nowhere.gguf"}, "does not exist"),
        ({"judge": "nim:x"}, "no key"),
    ):
        with pytest.raises(Exception, match=words):
            await evaluate(trained, **options)
    with colour_workspace(tmp_path, 5) as workspace:
        job = EvaluateJob(workspace, backends_of(tmp_path / "home"))
        with pytest.raises(PairsmithError, match="nothing was trained"):
            [event async for event in job.events()]


async def test_a_damaged_test_file_is_named_with_its_line(trained: Trained) -> None:
    path = run_folder_of(trained.home, trained.workspace, trained.run(2)) / "test.jsonl"
    whole = path.read_text()
    try:
        path.write_text(whole.replace("\n", "\nnot json\n", 1))
        with pytest.raises(PairsmithError, match=r"test\.jsonl, line 2"):
            await evaluate(trained, run="2")
        path.write_text(whole + json.dumps({"id": "stranger", "instruction": "x", "output": "y"}) + "\n")
        with pytest.raises(PairsmithError, match="1 test pairs of this run are not in this workspace"):
            await evaluate(trained, run="2")
    finally:
        path.write_text(whole)


async def test_a_local_only_workspace_asks_no_judge_outside(trained: Trained) -> None:
    settings = backends_of(trained.home, local_only=True, env={"NVIDIA_API_KEY": "nvapi-x"})
    job = EvaluateJob(trained.workspace, settings, EvaluateOptions(run="1", judge=JUDGE))
    with pytest.raises(Exception, match="local-only"):
        [event async for event in job.events()]


async def test_the_tuned_model_talks_in_its_style_and_as_a_gguf_of_llama_cpp(
    trained: Trained, tmp_path: Path
) -> None:
    model = tuned_model_of(trained.home, trained.workspace, trained.run(1))
    told: list[tuple[str, int, int]] = []
    (weights,) = await export_model(
        model, tmp_path / "colours.gguf", "gguf-f16", "colours", lambda *words: told.append(words)
    )
    assert told[-1][1] == told[-1][2] > 0
    ours = ChildPartner(str(model), ChatOptions(max_tokens=TOKENS), name="run 1")
    assert (await ours.start())["prompt_style"] == "phi3"
    backend = open_backend(parse_spec(f"llama-cpp:{weights}"), backends_of(trained.home))
    theirs = BackendPartner(backend, ChatOptions(temperature=0.0, max_tokens=TOKENS))
    try:
        right = 0
        for item in trained.items[:10]:
            said = [piece async for piece in ours.reply(item["instruction"])]
            whole = said[-1]
            assert isinstance(whole, Answer)
            assert "".join(piece for piece in said if isinstance(piece, str)).strip() == whole.text
            right += whole.text == item["output"]
            theirs = BackendPartner(backend, ChatOptions(temperature=0.0, max_tokens=TOKENS))
            answer = [piece async for piece in theirs.reply(item["instruction"])][-1]
            assert isinstance(answer, Answer)
            assert answer.text.strip() == whole.text
        assert right >= 7
    finally:
        await ours.close()
        await theirs.close()


async def test_an_answer_that_is_given_up_does_not_spoil_the_next(trained: Trained) -> None:
    model = tuned_model_of(trained.home, trained.workspace, trained.run(1))
    partner = ChildPartner(str(model), ChatOptions(max_tokens=TOKENS), name="run 1")
    try:
        reply = partner.reply(trained.items[0]["instruction"])
        await anext(reply)
        await reply.aclose()
        said = [piece async for piece in partner.reply(trained.items[1]["instruction"])]
        assert isinstance(said[-1], Answer)
        assert said[-1].text in COLOURS
    finally:
        await partner.close()


def test_runs_are_found_by_number_by_uid_or_the_newest(trained: Trained) -> None:
    first = trained.run(1)
    for name, number in (("1", 1), (first.uid[:8], 1), (first.uid, 1), (None, 2), (" 2 ", 2)):
        assert trained.workspace.read(lambda conn, name=name: find_run(conn, name)).id == number


async def test_a_base_that_cannot_be_had_is_said_and_the_rest_is_measured(trained: Trained) -> None:
    """The config names a base that is not on this machine any more."""
    from pairsmith.pairs.training_folder import read_config, replace_config

    folder = run_folder_of(trained.home, trained.workspace, trained.run(2))
    config = read_config(folder)
    gone = {key: value for key, value in config.items() if key not in ("version", "shape")}
    replace_config(folder, {**gone, "base": "/nowhere/model.gguf", "offline": True})
    try:
        run, events = await evaluate(trained, run="2")
        assert run.state == "done"
        assert list(result_of(run)["subjects"]) == ["tuned"]
        assert any("base model is not measured" in e.text for e in events if isinstance(e, Notice))
    finally:
        replace_config(folder, {key: value for key, value in config.items() if key != "version"})


async def test_who_is_gone_in_the_middle_pays_only_for_what_was_in_flight(trained: Trained) -> None:
    """The listener goes away (as a killed process does for the store); the same options go on with that run."""
    async with NimServer(lambda body: "61") as server:
        options = EvaluateOptions(run="1", judge=JUDGE, base=False, max_new_tokens=TOKENS - 2)
        job = EvaluateJob(trained.workspace, settings_for(server, home=trained.home), options)
        events = job.events()
        async for event in events:
            if isinstance(event, Evaluating) and event.what == "judging" and event.done == 10:
                break
        await events.aclose()  # type: ignore[attr-defined]
        left = trained.workspace.read(lambda conn: list_runs(conn, "evaluate"))[0]
        assert left.state == "running"
        done, _ = await evaluate(trained, server, judge=JUDGE, base=False, max_new_tokens=TOKENS - 2)
        assert (done.id, done.state) == (left.id, "done")
        assert result_of(done)["judge"]["subjects"]["tuned"]["scored"] == 40
        calls = trained.workspace.read(lambda conn: read_calls(conn, done.id))
    assert calls.useful == 40
    # What was booked and cut off may not have reached the server.
    assert server.completions <= calls.made == 40 + sum(calls.failed.values())
