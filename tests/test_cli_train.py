"""train, evaluate, chat and model as a user runs them: real children, exit codes, JSON, one-line errors."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from pairsmith.pairs.model_export import read_modelfile

from .command_line import Ran, call, ended, run, run_beside, start, write_rows
from .servers.nim import NimServer
from .servers.ollama import OllamaServer
from .trained import colour_texts

JUDGE = "nim:meta/llama-3.1-405b-instruct"
QUICK = ("--epochs", "1", "--lr", "0.003", "--threads", "1", "--sample-tokens", "5")


@dataclass(frozen=True)
class Place:
    workspace: Path
    home: Path
    first: Ran
    """What the training printed."""

    @property
    def env(self) -> dict[str, str]:
        return {"PAIRSMITH_HOME": str(self.home)}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A workspace of 60 imported pairs with one finished run of scratch:tiny."""
    folder = tmp_path_factory.mktemp("cli")
    workspace, home = folder / "w.pairsmith", folder / "home"
    rows = [{"instruction": asked, "input": "", "output": said} for asked, said in colour_texts(60)]
    env = {"PAIRSMITH_HOME": str(home)}
    assert run("new", workspace, "--domain", "colours", env=env).code == 0
    assert run("import", workspace, write_rows(folder / "rows.jsonl", rows), env=env).code == 0
    return Place(workspace, home, run("train", workspace, "--base", "scratch:tiny", *QUICK, env=env))


@pytest.fixture
def home(place: Place, monkeypatch: pytest.MonkeyPatch) -> Path:
    """For commands that run in this process."""
    monkeypatch.setenv("PAIRSMITH_HOME", str(place.home))
    return place.home


def test_training_shows_losses_speed_and_a_sample_and_says_what_is_next(place: Place) -> None:
    ran = place.first
    assert ran.code == 0, ran.err
    for words in (
        "60 pairs: 60 undecided (51 train, 3 validation, 6 test)",
        "scratch:tiny (RANDOM weights)",
        "on cpu",
        "step 0: training loss",
        "expected:",
        "answers:",
    ):
        assert words in ran.err, ran.err
    assert "run 1: scratch:tiny from random weights trained in 7 steps" in ran.out
    assert "tokens/s on cpu" in ran.out
    assert f"pairsmith chat {place.workspace} --run 1" in ran.out


def test_json_is_one_document_with_the_curve(place: Place) -> None:
    words = ("--base", "scratch:tiny", *QUICK, "--json", "--max-steps", "2", "--prompt-style", "phi3")
    ran = run("train", place.workspace, *words, env=place.env)
    assert ran.code == 0, ran.err
    assert ran.json["state"] == "done"
    assert [step for step, _ in ran.json["result"]["losses"]] == [1, 2]


def test_an_estimate_and_the_first_batch_start_nothing(
    place: Place, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = call(capsys, "model", place.workspace, "--json").json
    base = ("train", place.workspace, "--base", "scratch:tiny")
    said = call(capsys, *base, "--estimate", "--json").json
    assert (said["steps"], said["sides"]["train"], said["base_is_random"]) == (14, 51, True)
    assert said["memory_needed_mb"] > 0
    assert "MB free" in call(capsys, *base, "--estimate").out
    shown = call(capsys, *base, "--show-batch").out
    assert "### Instruction:" in shown
    assert "-100" in shown
    batch = call(capsys, *base, "--show-batch", "--json", "--mask-instructions").json
    row = batch["examples"][0]
    assert len(row["inputs"]) == len(row["targets"]) == len(row["mask"])
    assert row["mask"][0] == 0
    assert call(capsys, "model", place.workspace, "--json").json == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "--base"),
        (("--base", "gpt5"), 2, "no base model 'gpt5'"),
        (("--base", "scratch:huge"), 2, "Sizes: tiny"),
        (("--base", "embedded"), 2, "embedded model"),
        (("--base", "scratch:tiny", "--epochs", "0"), 2, "--epochs"),
        (("--base", "scratch:tiny", "--lr", "nan"), 2, "--lr"),
        (("--base", "scratch:tiny", "--device", "tpu"), 2, "auto, cpu, cuda"),
        (("--base", "scratch:tiny", "--prompt-style", "chatml"), 2, "phi3"),
        (("--base", "scratch:tiny", "--parity", "--batch-size", "4"), 2, "batches of 8"),
        (("--base", "scratch:tiny", "--verdict", "accepted"), 1, "no pair accepted"),
        (("--base", "scratch:tiny", "--where", "os.system('x')"), 2, "--where"),
        (("--base", "scratch:tiny", "--where", "topic == 'nix'"), 1, "no pair"),
        (("--resume",), 2, "no unfinished training run"),
        (("--resume", "--epochs", "3"), 2, "--resume alone"),
        (("--resume", "--base", "scratch:tiny", "--epochs", "77"), 2, "with these settings"),
        (("--show-batch", "--resume"), 2, "--base"),
    ],
)
def test_wrong_usage_is_one_line(
    place: Place,
    home: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    code: int,
    said: str,
) -> None:
    call(capsys, "train", place.workspace, *words).assert_one_line_error(code, said)


def test_what_the_child_refuses_is_one_line_and_a_failed_run(
    place: Place, home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ran = call(capsys, "train", place.workspace, "--base", "scratch:tiny", "--vocabulary", str(tmp_path))
    ran.assert_one_line_error(1, "vocab.json")
    ran = call(capsys, "train", place.workspace, "--base", "scratch:tiny", "--dropout", "9", "--json")
    ran.assert_one_line_error(2, "dropout")
    assert ran.json["error"]["exit"] == 2


async def told(process: asyncio.subprocess.Process, text: str) -> str:
    """What a command said on standard error until it said this."""
    assert process.stderr is not None
    said = ""
    while text not in said:
        line = (await process.stderr.readline()).decode()
        assert line, f"it ended without {text!r}: {said}"
        said += line
    return said


async def test_an_interrupt_saves_and_resume_goes_on(place: Place) -> None:
    words = ("--base", "scratch:tiny", "--epochs", "3000", "--lr", "0.003", "--threads", "1")
    process = await start("train", place.workspace, *words, env=place.env)
    await told(process, "step 0:")
    busy = await asyncio.to_thread(run, "train", place.workspace, "--base", "scratch:tiny", env=place.env)
    busy.assert_one_line_error(75, f"pid {process.pid}")
    process.send_signal(signal.SIGINT)
    ran = await ended(process)
    assert ran.code == 130, ran.err
    assert "--resume goes on" in ran.err
    process = await start("train", place.workspace, "--resume", "--threads", "1", env=place.env)
    lines = await told(process, "steps of")
    assert "going on with training run" in lines
    assert ", from step " in lines
    process.kill()
    await process.wait()


async def test_a_killed_command_takes_its_child_with_it(place: Place) -> None:
    words = ("--base", "scratch:tiny", "--epochs", "3000", "--threads", "1", "--seed", "5")
    process = await start("train", place.workspace, *words, env=place.env)
    await told(process, "step 0:")
    children = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _parent(int(entry.name)) == process.pid
    ]
    assert len(children) == 1
    process.kill()
    await process.wait()
    deadline = time.monotonic() + 10
    while _parent(children[0]) and time.monotonic() < deadline:
        await asyncio.sleep(0.1)
    assert not _parent(children[0])


def _parent(pid: int) -> int:
    """Pid of a living process's parent, 0 for one that is gone."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        state, parent = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[:2]
        return 0 if state == "Z" else int(parent)
    return 0


async def test_evaluate_says_what_could_not_be_judged(place: Place) -> None:
    answers = iter(["I'd score it 40 out of 100.", "no idea", "no idea", "no idea"])
    async with NimServer(lambda body: next(answers, "100")) as server:
        env = {**place.env, **server.env}
        words = ("--run", "1", "--judge", JUDGE, "--max-new-tokens", "8", "--no-base")
        ran = await run_beside("evaluate", place.workspace, *words, "--json", env=env)
        assert ran.code == 0, ran.err
        judged = ran.json["judge"]["subjects"]["tuned"]
        assert judged["n"] == judged["scored"] + judged["failed"] == 6
        assert judged["unreadable_answers"] == 3
        ran = await run_beside("evaluate", place.workspace, *words[:2], *words[4:], env=env)
        assert "grades 0 to 100 (integer prompt)" in ran.out
        assert "unreadable answers" in ran.out
        assert "rougeL" in ran.out
        assert "report.md" in ran.out
    assert run("stats", place.workspace, "--json", env=place.env).json["judge"] == JUDGE


def test_evaluate_refuses_what_it_cannot_do(
    place: Place, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, said in (
        (("--run", "99"), "no training run '99'"),
        (("--choices", "nix.csv"), "no file nix.csv"),
        (("--judge", "nix"), "unknown backend"),
        (("--against", "1", "--run", "1"), "with itself"),
    ):
        call(capsys, "evaluate", place.workspace, *words).assert_one_line_error(2, said)


def test_chat_reads_lines_and_answers_in_the_trained_style(place: Place) -> None:
    ran = run("chat", place.workspace, "--run", "1", "--say", "red", "--say", "blue", "--max-tokens", "5",
              "--json", env=place.env)  # fmt: skip
    assert ran.code == 0, ran.err
    assert [turn["asked"] for turn in ran.json["turns"]] == ["red", "blue"]
    assert "alpaca style, on cpu" in ran.err
    run("chat", place.workspace, "--run", "1", "--base", env=place.env).assert_one_line_error(
        2, "random weights"
    )


async def test_chat_with_a_backend_streams_remembers_and_shows_no_escapes() -> None:
    seen = []

    def brain(body: dict[str, object]) -> str:
        messages = body["messages"]
        assert isinstance(messages, list)
        seen.append([message["content"] for message in messages])
        return f"answer\x1b[31m {len(seen)}"

    async with NimServer(brain) as server:
        ran = await run_beside("chat", JUDGE, "--say", "one", "--say", "two", env=server.env)
    assert ran.code == 0, ran.err
    assert ran.out == "answer␛[31m 1\nanswer␛[31m 2\n"
    assert seen == [["one"], ["one", "answer\x1b[31m 1", "two"]]


def test_chat_says_who_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    call(capsys, "chat", "olama:x", "--say", "x").assert_one_line_error(2, "ollama:x")
    call(capsys, "chat", tmp_path / "nix.pairsmith").assert_one_line_error(4, "no workspace")
    call(capsys, "chat", "llama-cpp:/nix.gguf", "--say", "x").assert_one_line_error(1, "does not exist")


def test_models_are_listed_and_written_in_every_format(
    place: Place, home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    listed = call(capsys, "model", place.workspace, "--json").json["runs"]
    assert {item["run"]: item["base"] for item in listed}[1] == "scratch:tiny"
    for name, format_ in (("a.gguf", "gguf-q8_0"), ("b.gguf", None), ("c", None), ("d/", "ollama")):
        (tmp_path / "d").mkdir(exist_ok=True)
        words = ("--format", format_) if format_ else ()
        ran = call(
            capsys, "model", place.workspace, "--run", "1", "--to", f"{tmp_path}/{name}", *words, "--json"
        )
        assert ran.code == 0, ran.err
    assert (tmp_path / "a.gguf").read_bytes()[:4] == (tmp_path / "b.gguf").read_bytes()[:4] == b"GGUF"
    assert (tmp_path / "a.gguf").stat().st_size < (tmp_path / "b.gguf").stat().st_size
    assert {"config.json", "model.safetensors", "vocab.json"} <= set(os.listdir(tmp_path / "c"))
    for folder in (tmp_path, place.home.parent):
        assert str(folder) not in (tmp_path / "c" / "pairsmith.json").read_text()
    modelfile = read_modelfile((tmp_path / "d" / "Modelfile").read_text())
    assert modelfile.template.startswith("{{ if .System }}")
    assert modelfile.parameters["temperature"] == 0


def test_a_model_overwrites_nothing_that_is_not_one(
    place: Place, home: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for to, words in (
        (tmp_path / "notes.txt", ("--format", "gguf-f16")),
        (tmp_path / "notes.txt", ("--format", "safetensors")),
        (place.workspace, ("--format", "gguf-f16")),
        (tmp_path / "no" / "such" / "place.gguf", ()),
    ):
        ran = call(capsys, "model", place.workspace, "--run", "1", "--to", to, *words)
        ran.assert_one_line_error(2)
    assert (tmp_path / "notes.txt").read_text() == "mine"


async def test_a_model_is_made_in_a_running_ollama(place: Place) -> None:
    async with OllamaServer() as server:
        env = {**place.env, "OLLAMA_HOST": server.url}
        words = ("--run", "1", "--to", "colours", "--format", "ollama", "--json")
        ran = await run_beside("model", place.workspace, *words, env=env)
        assert ran.code == 0, ran.err
        assert ran.json["use"] == "ollama:colours"
        body = server.created["colours:latest"]
    assert "### Instruction" in json.dumps(body["template"])
    assert body["parameters"]["stop"] == ["### Instruction:", "<|endoftext|>"]
    assert not list(place.home.glob("runs/*/*/.ollama*"))
    ran = await run_beside("model", place.workspace, *words, env={**env, "OLLAMA_HOST": "127.0.0.1:9"})
    ran.assert_one_line_error(1, "Ollama")
