"""The grammar of the embedded model: strict reading, open slots, and commands that are really run."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.embedded.check import main, refused_phrasings, run_intent, values_for
from tools.embedded.commands import Unsafe, normal, parse, refuse_code, refuse_outside
from tools.embedded.intents import (
    GrammarError,
    Intent,
    alternatives,
    alternatives_of,
    instruction_of,
    load_grammar,
    load_topic,
)
from tools.embedded.scratch import make_scratch
from tools.embedded.slots import CLOSED, KINDS, Slot, bind, draw, fill, is_held_out, slots_of

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="Git is not installed")

GOOD = """
topic = "Branches"
also_called = ["Working with branches"]

[[intent]]
name = "create-branch"
level = "beginner"
phrasings = [
  "[Create|Make] a branch called {branch:new} at {commit}.",
  "I need {branch:new} to start from {commit}. How?",
  "Let a fresh line of work, {branch:new}, grow out of {commit}.",
  "What makes the name {branch:new} point at {commit}?",
  "Branch off {commit}; call it {branch:new}.",
  "My idea deserves {branch:new}, based upon the old state {commit} and not upon what I have now.",
  "{branch:new} does not exist. Put it on {commit} for me without moving me.",
  "New label {branch:new} for development from {commit} [please|if you can].",
]
commands = ["git branch {branch:new} {commit}"]
other = [["git branch --no-track {branch:new} {commit}"]]
explains = ["The second name is the start.", "You stay where you are."]
"""


def written(folder: Path, text: str, name: str = "branches.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def fault_of(folder: Path, before: str, after: str) -> str:
    assert before in GOOD
    with pytest.raises(GrammarError) as error:
        load_topic(written(folder, GOOD.replace(before, after)))
    return str(error.value)


def test_a_file_in_the_form_is_read(tmp_path: Path) -> None:
    topic = load_topic(written(tmp_path, GOOD))
    assert topic.names == ("Branches", "Working with branches")
    assert topic.intents[0].slots == (Slot("branch", "new"), Slot("commit"))
    assert len(topic.intents[0].answers) == 2


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('level = "beginner"', 'level = "guru"', "guru"),
        ('level = "beginner"', 'level = "beginner"\ncolour = "red"', "colour"),
        ('name = "create-branch"', 'name = "Create Branch"', "lower case"),
        (
            "Branch off {commit}; call it {branch:new}.",
            "Branch off, and call it {branch:new}.",
            "lacks {commit}",
        ),
        ("Branch off {commit};", "Branch off {commit} in {place};", "{place}"),
        ("The second name is the start.", "It starts at {tag}.", "{tag}"),
        (
            'explains = ["The second name is the start.", "You stay where you are."]',
            "explains = []",
            "explains",
        ),
        ("exist. Put it", "exist; `put` it", "markup"),
        ('commands = ["git branch {branch:new} {commit}"]', "commands = []", "commands"),
        ('also_called = ["Working with branches"]', "", "also_called"),
        ("[[intent]]", "[[intent]]\ncheck = false", "why"),
        ('  "Branch off {commit}; call it {branch:new}.",\n', "", "at least 8"),
    ],
)
def test_what_is_not_in_the_form_is_named_with_file_and_intent(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    fault = fault_of(tmp_path, before, after)
    assert said in fault
    assert fault.startswith("branches.toml")


def test_text_that_is_not_toml_is_named_with_its_file(tmp_path: Path) -> None:
    with pytest.raises(GrammarError, match=r"broken\.toml"):
        load_topic(written(tmp_path, "topic = ", "broken.toml"))


def test_one_intent_in_two_files_is_a_fault(tmp_path: Path) -> None:
    paths = [written(tmp_path, GOOD, "a.toml"), written(tmp_path, GOOD.replace("Branches", "More"), "b.toml")]
    with pytest.raises(GrammarError, match=r"b\.toml: the intent create-branch is in a\.toml too"):
        load_grammar(paths)


def test_alternatives_are_chosen_and_empty_ones_leave_no_gap() -> None:
    phrasing = "[Show|List] it [now|]."
    assert set(alternatives_of(phrasing)) == {"Show it now.", "Show it.", "List it now.", "List it."}
    assert alternatives(phrasing) == "Show it now."


def test_a_name_at_the_beginning_keeps_its_case() -> None:
    values = {Slot("branch"): "feature/login"}
    assert instruction_of("{branch} is gone, help", values) == "feature/login is gone, help"
    assert instruction_of("where is {branch}?", values) == "Where is feature/login?"


def test_the_braces_of_git_are_no_slots() -> None:
    assert slots_of("git show HEAD@{1} v1^{commit} stash@{{number}}") == (Slot("number"),)
    assert fill("git stash drop stash@{{number}}", {Slot("number"): "3"}) == "git stash drop stash@{3}"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_values_are_drawn_from_open_sets_and_are_safe_in_a_command(kind: str) -> None:
    rng = random.Random(kind)
    values = {draw(kind, rng) for _ in range(400)}
    assert kind in CLOSED or len(values) > 200
    for value in values:
        assert value == value.strip()
        assert not set(value) & set("\"'`$\\<>|;&*?[]{}\n")
        assert not value.startswith("-")
        assert not value.endswith(("/", ".", ".lock"))


@given(st.sampled_from(sorted(set(KINDS) - CLOSED)), st.integers(), st.booleans())
def test_held_out_values_never_occur_in_training(kind: str, seed: int, held_out: bool) -> None:
    value = draw(kind, random.Random(seed), held_out=held_out)
    assert is_held_out(value) == held_out


@given(st.integers())
def test_values_of_one_intent_differ_and_lines_rise(seed: int) -> None:
    slots = [Slot("branch", "a"), Slot("branch", "b"), Slot("line", "from"), Slot("line", "to"), Slot("date", "a"),
             Slot("date", "b")]  # fmt: skip
    values = bind(slots, random.Random(seed))
    assert len(set(values.values())) == len(values)
    assert int(values[Slot("line", "from")]) < int(values[Slot("line", "to")])
    assert values[Slot("date", "a")] < values[Slot("date", "b")]


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf /",
        "git clone x ../../y",
        "git -C /etc status",
        "git diff --output=/etc/x",
        "git log | sh",
        "git log; ls",
        "git log $(id)",
        "git log `id`",
        "git log > /etc/x",
        "curl x",
        "GIT_EDITOR=vi git commit",
        "git log 'open",
    ],
)
def test_what_reaches_outside_is_not_run(command: str, tmp_path: Path) -> None:
    with pytest.raises(Unsafe):
        refuse_outside(parse(command), tmp_path, tmp_path / "work")


@pytest.mark.parametrize(
    "command",
    [
        "git bisect run ./x",
        "git submodule foreach ls",
        "git rebase -x ls main",
        "git -c core.pager=ls log",
        "git config alias.x '!ls'",
        "git fetch --upload-pack=ls origin",
    ],
)
def test_what_a_model_wrote_does_not_run_other_programs(command: str) -> None:
    with pytest.raises(Unsafe):
        refuse_code(parse(command))


def test_marks_of_the_shell_in_quotes_are_text() -> None:
    assert parse('git log --format="%h | %s"').arguments == ("git", "log", "--format=%h | %s")
    line = parse("git diff > changes.patch")
    assert line.arguments == ("git", "diff")
    assert line.write_to == "changes.patch"


def test_quotes_and_spaces_do_not_change_what_a_command_means() -> None:
    assert normal("git  commit -m 'Fix it'") == normal('git commit -m "Fix it"')


@needs_git
def test_a_scratch_repository_holds_what_the_slots_name(tmp_path: Path) -> None:
    kinds = ("branch", "tag", "remote", "url", "file", "folder", "commit", "word", "person", "email")
    values = bind([Slot(kind) for kind in kinds] + [Slot("branch", "new")], random.Random(4))
    scratch = make_scratch(tmp_path / "s", values)
    real = {kind: scratch.values[Slot(kind)] for kind in kinds}
    for command in (
        f"git log -1 {real['branch']}",
        f"git show {real['tag']}",
        f"git fetch {real['remote']}",
        f"git ls-remote {real['url']}",
        f"git ls-files --error-unmatch {real['file']} {real['folder']}",
        f"git merge-base --is-ancestor {real['commit']} main",
        f"git grep {real['word']}",
        "git diff --exit-code HEAD",
    ):
        assert scratch.run(command).status == 0, command
    assert scratch.run(f'git log --author="{real["person"]}" --format=%ae').stdout.split() == [real["email"]]
    assert real["word"] in scratch.run(f"git log --grep {real['word']}").stdout
    assert len(scratch.run(f"git log --format=%h -- {real['file']}").stdout.split()) == 3
    assert scratch.run(f"git rev-parse --verify -q {values[Slot('branch', 'new')]}").status == 1


@needs_git
def test_a_usage_error_is_told_from_a_command_that_fails(tmp_path: Path) -> None:
    scratch = make_scratch(tmp_path / "s", {})
    for wrong in (
        "git brunch",
        "git log --frobnicate",
        "git branch -Z",
        "git stash frobnicate",
        "git diff --no-such",
    ):
        assert scratch.run(wrong).usage_error, wrong
    for fails in ("git switch nowhere", "git merge --abort", "git branch -d gone"):
        ran = scratch.run(fails)
        assert ran.status
        assert not ran.usage_error, fails


@needs_git
def test_the_checker_finds_an_answer_that_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = written(tmp_path, GOOD)
    assert main([str(good)]) == 0
    bad = written(tmp_path, GOOD.replace("git branch --no-track", "git branch --no-trak"), "bad.toml")
    assert main([str(bad)]) == 1
    assert "no-trak" in capsys.readouterr().out


def test_the_checker_names_phrasings_that_are_too_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD.replace(
        "Branch off {commit}; call it {branch:new}.",
        "{branch:new} does not exist: put it on {commit} for me without moving me.",
    )
    main([str(written(tmp_path, text)), "--no-run"])
    said = capsys.readouterr().out
    assert "ALIKE" in said
    assert "7 of 8" in said


def shipped_intents() -> tuple[Intent, ...]:
    return load_grammar().intents


def test_the_grammar_has_at_least_twelve_topics() -> None:
    assert len(load_grammar().topics) >= 12


@needs_git
def test_answers_of_the_grammar_run() -> None:
    for intent in random.Random(8).sample(shipped_intents(), 12):
        assert run_intent(intent, seed=5) == []


@needs_git
@pytest.mark.faults
@pytest.mark.parametrize("seed", range(3))
def test_every_answer_of_the_grammar_runs_whatever_the_names(seed: int) -> None:
    faults = {intent.name: run_intent(intent, seed) for intent in shipped_intents()}
    assert {name: said for name, said in faults.items() if said} == {}


def test_at_least_1500_instructions_survive_the_near_duplicate_rule() -> None:
    count, refused = refused_phrasings(shipped_intents())
    assert count - len(refused) >= 1500


def test_values_that_cannot_exist_together_are_not_drawn(tmp_path: Path) -> None:
    intent = load_topic(written(tmp_path, GOOD)).intents[0]
    assert set(values_for(intent, random.Random(1))) == set(intent.slots)
