"""The child process: its output, its exit codes, its end with its parent, and kill -9 at any time."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import pairsmith.training
from pairsmith.training import __main__, atomic, evaluation_loss, verbs
from pairsmith.training.events import Control, Printer
from tests.small_models import run_folder

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
LONG = {"epochs": 400, "sample_tokens": 0, "validate_every": 0}


def _command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "pairsmith.training", *map(str, arguments)]


def _run(*arguments: object, stdin: str = "", **keywords: Any) -> tuple[int, list[dict[str, Any]]]:
    done = subprocess.run(
        _command(*arguments),
        input=stdin,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=120,
        **keywords,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


FORKS = """
import json, os, sys
import torch
from pairsmith.training import __main__ as door
for words in json.loads(sys.argv[1]):
    child = os.fork()
    if child == 0:
        os._exit(door.main(words))
    print(json.dumps({"exit": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}), flush=True)
"""
"""A process for each command as well, but what all of them import is imported once."""


def _run_each(*commands: Sequence[object], stdin: str = "") -> Iterator[tuple[int, list[dict[str, Any]]]]:
    words = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", FORKS, words],
        input=stdin,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=300,
        check=True,
    )
    events: list[dict[str, Any]] = []
    for line in done.stdout.splitlines():
        item = json.loads(line)
        if "exit" in item:
            yield item["exit"], events
            events = []
        else:
            events.append(item)


def _start(*arguments: object, **keywords: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        _command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=ENVIRONMENT,
        **keywords,
    )


def _wait_for(child: subprocess.Popen[str], name: str, step: int = 0) -> dict[str, Any]:
    assert child.stdout is not None
    for line in child.stdout:
        item: dict[str, Any] = json.loads(line)
        if item["event"] == name and item.get("step", 0) >= step:
            return item
    raise AssertionError(f"no event {name!r} came")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A run's folder, and what the child said. Nobody changes it."""
    folder = run_folder(tmp_path_factory.mktemp("trained") / "run", epochs=1)
    code, events = _run("train", folder)
    assert code == 0
    return folder, events


def test_stdout_is_versioned_json_and_the_same_as_the_kept_events(
    trained: tuple[Path, list[dict[str, Any]]],
) -> None:
    folder, events = trained
    assert events[0]["event"] == "started"
    assert events[-1]["event"] == "done"
    assert {item["v"] for item in events} == {1}
    kept = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert kept == events
    assert (folder / "model" / "model.safetensors").exists()


def test_it_runs_from_a_bare_source_tree(tmp_path: Path) -> None:
    source = Path(pairsmith.training.__file__).parent
    shutil.copytree(source, tmp_path / "training", ignore=shutil.ignore_patterns("__pycache__"))
    folder = run_folder(tmp_path / "run", epochs=1)
    # nothing but the four packages that the room may need at module level
    blocker = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in ('pairsmith', 'sacrebleu', 'rouge_score', 'huggingface_hub', 'httpx'):\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Block())\n"
        "import runpy\n"
        f"sys.argv = ['training', 'train', {str(folder)!r}]\n"
        "runpy.run_module('training', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", blocker],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["state"] == "finished"


def test_python_dash_m_training_from_the_tree(tmp_path: Path) -> None:
    source = Path(pairsmith.training.__file__).parent
    done = subprocess.run(
        [sys.executable, "-m", "training", "devices"],
        cwd=source.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0
    assert json.loads(done.stdout)["devices"][0]["device"] == "cpu"


def test_wrong_settings_exit_2_with_one_error_event(tmp_path: Path) -> None:
    code, events = _run("train", run_folder(tmp_path / "run", epochs=-1))
    assert code == 2
    assert [item["event"] for item in events] == ["error"]
    assert "epochs" in events[0]["message"]


def test_a_missing_base_offline_exits_1_with_advice(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", base="gpt2-small", offline=True, models_dir=str(tmp_path / "none"))
    code, events = _run("train", folder)
    assert code == 1
    assert events[-1]["kind"] == "offline"
    assert "scratch:tiny" in events[-1]["advice"]


def test_hostile_names_cannot_reach_a_terminal(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", base="\x1b]52;evil\x07")
    _, events = _run("train", folder)
    assert "evil" in events[-1]["message"]
    assert "\x1b" not in events[-1]["message"]


@pytest.mark.parametrize("how", ["signal", "stdin"])
def test_cancel_ends_it_with_130(tmp_path: Path, how: str) -> None:
    folder = run_folder(tmp_path / "run", **LONG)
    child = _start("train", folder, "--parent-pipe", stdin=subprocess.PIPE)
    _wait_for(child, "step", 3)
    if how == "signal":
        child.send_signal(signal.SIGTERM)
    else:
        assert child.stdin is not None
        child.stdin.write('{"command": "cancel"}\n')
        child.stdin.flush()
    assert _wait_for(child, "done")["state"] == "cancelled"
    assert child.wait(20) == 130
    assert not (folder / "model").exists()


def test_pause_writes_a_checkpoint_that_resume_continues(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", **(LONG | {"max_steps": 150}))
    child = _start("train", folder, "--parent-pipe", stdin=subprocess.PIPE)
    _wait_for(child, "step", 3)
    assert child.stdin is not None
    child.stdin.write('nonsense\n{"command": "pause"}\n')
    child.stdin.flush()
    paused = _wait_for(child, "done")
    assert paused["state"] == "paused"
    assert child.wait(20) == 0
    code, events = _run("train", folder, "--resume")
    assert code == 0
    assert events[0]["resumed_from"] == paused["step"]
    assert events[-1]["step"] == 150


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", **LONG)
    middle = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen({_command('train', folder, '--parent-pipe')!r}, stdin=subprocess.PIPE,"
        " stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", middle], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    _wait_until(
        lambda: (folder / "events.jsonl").exists() and '"step"' in (folder / "events.jsonl").read_text()
    )
    parent.kill()
    parent.wait()
    _wait_until(lambda: not _runs(pid), 5)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return not Path("/proc").exists()
    return state not in "ZX"


def _wait_until(what: Any, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def _curve(path: Path) -> dict[int, float]:
    curve = {}
    for line in path.read_text().splitlines():
        try:
            item = json.loads(line)
        except ValueError:
            continue  # the line that the kill tore
        if item["event"] == "step":
            curve[item["step"]] = item["loss"]
    return curve


def _killed_and_resumed(tmp_path: Path, kills: int, seed: int) -> None:
    settings = {"epochs": 60, "checkpoint_every": 3, "sample_tokens": 0, "max_steps": 40 + 12 * kills}
    whole = run_folder(tmp_path / "whole", **settings)
    assert _run("train", whole)[0] == 0
    folder = run_folder(tmp_path / "killed", **settings)
    draw = random.Random(seed)
    last = done = 0
    for kill in range(kills):
        child = _start("train", folder, *(["--resume"] if kill else []))
        wanted = last + draw.randrange(1, 12)
        try:
            last = _wait_for(child, "step", wanted)["step"]
        except AssertionError:
            assert child.wait() == 0, "it had reached the end before an earlier kill reached it"
            break
        time.sleep(draw.random() * 0.02)
        child.kill()
        done += child.wait() == -signal.SIGKILL
        for path in (folder / "checkpoints").glob("step-*"):
            assert atomic.check_manifest(path) is not None, f"{path.name} is broken"
    assert done >= 1
    code, events = _run("train", folder, "--resume")
    assert code == 0
    assert events[-1]["state"] == "finished"
    assert _curve(folder / "events.jsonl") == _curve(whole / "events.jsonl")
    published = (folder / "model" / "model.safetensors").read_bytes()
    assert published == (whole / "model" / "model.safetensors").read_bytes()
    assert not [path for path in (folder / "checkpoints").iterdir() if ".tmp-" in path.name]


def test_killed_three_times_the_curve_is_that_of_an_uninterrupted_run(tmp_path: Path) -> None:
    _killed_and_resumed(tmp_path, 3, seed=1)


@pytest.mark.faults
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_ten_times_the_curve_is_that_of_an_uninterrupted_run(tmp_path: Path, seed: int) -> None:
    _killed_and_resumed(tmp_path, 10, seed)


def test_two_processes_have_the_curve_of_one(tmp_path: Path) -> None:
    alone = run_folder(tmp_path / "one", epochs=1, batch_size=8, device="cpu")
    together = run_folder(tmp_path / "two", epochs=1, batch_size=4, device="cpu")
    assert _run("train", alone)[0] == 0
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "pairsmith.training",
    ]
    done = subprocess.run(
        [*launcher, "train", str(together)], capture_output=True, text=True, env=ENVIRONMENT, timeout=180
    )
    assert done.returncode == 0, done.stderr
    mine, theirs = _curve(together / "events.jsonl"), _curve(alone / "events.jsonl")
    assert mine.keys() == theirs.keys()
    for step, loss in theirs.items():
        assert mine[step] == pytest.approx(loss, abs=1e-4)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_a_memory_limit_ends_in_an_oom_error_and_the_parent_lives(tmp_path: Path) -> None:
    import resource

    shape = {"layers": 12, "width": 1024, "heads": 16, "context": 128}
    folder = run_folder(tmp_path / "run", shape=shape, epochs=1, threads=1)
    limit = 1_600 << 20

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    code, events = _run("train", folder, preexec_fn=limited)
    assert code == 1
    assert events[-1]["event"] == "error"
    assert events[-1]["kind"] == "oom"


def test_memory_that_runs_out_after_the_load_is_not_called_the_load(
    trained: tuple[Path, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def starved(*_arguments: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")

    folder, _ = trained
    monkeypatch.setattr(evaluation_loss, "sums", starved)
    monkeypatch.setattr(__main__, "Printer", lambda _stream: Printer(sys.stdout))
    monkeypatch.setattr(Control, "listen", lambda _control: None)
    code = __main__.main(["perplexity", str(folder / "model"), "--file", str(folder / "test.jsonl")])
    error = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (code, error["kind"]) == (1, "oom")
    assert "in perplexity, after the model was loaded" in error["message"]


@pytest.mark.parametrize(
    "words",
    [
        "perplexity MODEL --file FOLDER/test.jsonl",
        "perplexity MODEL --file FOLDER/test.jsonl --text --stride 64",
        "choices MODEL --file QUESTIONS",
        "export MODEL --to TO --format gguf-f32",
        "export MODEL --to TO --format safetensors",
        "export MODEL --to TO --format ollama",
        "evaluate FOLDER --name cancelled",
    ],
)
def test_measuring_and_exporting_can_be_cancelled_between_their_parts(
    trained: tuple[Path, list[dict[str, Any]]], tmp_path: Path, words: str
) -> None:
    folder, _ = trained
    questions = tmp_path / "questions.csv"
    questions.write_text("One and one?,1,2,3,4,B\n" * 3)
    names = {
        "MODEL": folder / "model",
        "FOLDER": folder,
        "QUESTIONS": questions,
        "TO": tmp_path / "to",
    }
    for name, path in names.items():
        words = words.replace(name, str(path))
    said: list[dict[str, Any]] = []
    control = Control()

    class Listening(Printer):
        def write(self, item: dict[str, Any]) -> None:
            said.append(item)
            if item["event"] == "progress" and (item["unit"] != "responses" or item["done"] == item["total"]):
                control.cancel.set()

    code = verbs.run(__main__.parser().parse_args(words.split()), Listening(io.StringIO()), control)
    assert code == 130
    assert said[-1]["state"] == "cancelled"
    assert not (tmp_path / "to").exists()
    assert not list(folder.glob("evaluation/cancelled*"))


def test_chat_answers_line_by_line(trained: tuple[Path, list[dict[str, Any]]]) -> None:
    folder, _ = trained
    requests = [
        '{"instruction": "Last of: red blue gold", "max_new_tokens": 5}',
        "nonsense",
        '{"command": "quit"}',
    ]
    code, events = _run("chat", folder / "model", stdin="\n".join(requests) + "\n")
    assert code == 0
    assert [item["event"] for item in events if item["event"] != "text"] == [
        "started",
        "answer",
        "error",
        "done",
    ]
    text = "".join(item["delta"] for item in events if item["event"] == "text")
    assert text.strip() == next(item["text"] for item in events if item["event"] == "answer")


def test_show_batch_shows_prompt_ids_targets_and_masks(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", mask_instructions=True)
    text = subprocess.run(
        _command("show-batch", folder), capture_output=True, text=True, env=ENVIRONMENT, check=True
    ).stdout
    assert "first batch: 8 examples" in text
    assert "### Instruction:" in text
    assert "inputs:" in text
    assert "targets: -100" in text
    code, events = _run("show-batch", folder, "--json")
    assert code == 0
    batch = events[-1]["batch"]
    row = batch["examples"][0]
    assert len(row["inputs"]) == len(row["targets"]) == len(row["mask"]) == batch["shape"][1]
    assert sum(row["mask"]) == row["labels"]


def test_generate_export_inspect_report_and_interval(
    tmp_path: Path, trained: tuple[Path, list[dict[str, Any]]]
) -> None:
    folder = shutil.copytree(trained[0], tmp_path / "run")
    model, written, exported = folder / "model", tmp_path / "o.jsonl", tmp_path / "m.gguf"
    ran = list(
        _run_each(
            ("evaluate", folder, "--max-new-tokens", 8),
            ("evaluate", folder, "--model", "base", "--max-new-tokens", 8),
            ("report", folder),
            ("generate", model, "--prompts", folder / "test.jsonl", "--to", written),
            ("export", model, "--to", exported, "--format", "gguf-q8_0"),
            ("inspect", exported),
            ("interval",),
            stdin='{"a": [1, 2, 3, 4], "b": [1, 1, 2, 2]}',
        )
    )
    assert [code for code, _ in ran] == [0] * 7
    said = [events for _, events in ran]
    assert sum(item["event"] == "response" for item in said[0]) == 8
    assert "Tuned against base" in (folder / "report.md").read_text()
    assert (folder / "losses.svg").read_text().startswith("<svg")
    assert len(written.read_text().splitlines()) == 8
    assert said[5][-1]["shape"]["layers"] == 2
    assert said[6][-1]["a"]["mean"] == 2.5
    assert 0 < said[6][-1]["paired"]["p"] <= 1
