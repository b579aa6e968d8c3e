"""A Hub that fails in the middle of a push, and a push that is killed: one commit or none, and the next is whole."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import pytest

from .command_line import COMMAND
from .command_line import environment as whole_environment
from .pushes import environment, filled_before, no_token_in, push
from .servers.hub import TOKEN, Fault, Hub

CONFLICT = '{"error": "Cannot create repo: another conflicting operation is in progress"}'
OURS = {".gitattributes", "README.md", "data/train-00000-of-00001.parquet", "manifest.json"}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return filled_before(tmp_path)


def whole_or_nothing(hub: Hub) -> bool:
    """Whether the dataset is there as a whole; fails where only a part of it is."""
    repo = hub.repos.get(("dataset", "me/git"))
    if repo is None:
        return False
    for commit in repo.commits:
        assert set(commit.files) in ({".gitattributes"}, OURS)
    assert len(repo.commits) <= 2
    return set(repo.head.files) == OURS


@pytest.mark.parametrize(
    "fault",
    [
        Fault("POST .*/preupload/", 503),
        Fault("POST .*/objects/batch", 500, times=2),
        Fault("PUT /store/", 500),
        Fault("PUT /store/", "cut_body"),
        Fault("POST .*/objects/batch", 429, headers={"Retry-After": "1"}),
        Fault("POST .*/commit/", "lost"),
    ],
    ids=str,
)
def test_a_passing_fault_is_survived(workspace: Path, hub: Hub, fault: Fault) -> None:
    hub.faults.append(fault)
    done = push(workspace, hub)
    assert done.code == 0, done
    assert whole_or_nothing(hub)


LASTING = [
    (Fault("GET /api/whoami", 500, times=99), ("cannot answer now (500)", "Try again")),
    (Fault("POST .*/commit/", 412, times=99), ("changed by somebody else", "412", "Push again")),
    (Fault("POST .*/commit/", "hang", times=99), ("did not answer within 2 s", "--timeout")),
    (Fault("POST .*/objects/batch", 429, times=99, headers={"Retry-After": "3600"}), ("2 s", "Waiting 3601")),
    (Fault("POST .*/repos/create", 409, times=999, body=CONFLICT), ("2 s",)),
    (Fault("POST .*/commit/", 500, times=99), ("500", "Try again")),
    (Fault("POST .*/commit/", "cut", times=99), ("no connection", "try again")),
    (Fault("PUT /store/", 400, times=99, body="BadDigest"), ("400", "BadDigest")),
    (Fault("POST .*/commit/", 429, times=99, headers={"Retry-After": "3600"}), ("slow down (429)", "later")),
    (Fault("GET /api/whoami", "slow", times=99), ("did not answer within 2 s",)),
    (Fault("GET /api/whoami", 200, times=99, body="[" * 3000), ("failed",)),
]


def ends_clearly(workspace: Path, hub: Hub, fault: Fault, words: tuple[str, ...]) -> None:
    hub.faults.append(fault)
    patience = "2" if any("2 s" in word for word in words) else "60"
    push(workspace, hub, "--timeout", patience).assert_one_line_error(1, *words)
    assert not whole_or_nothing(hub)
    hub.faults.clear()
    assert push(workspace, hub).code == 0
    assert whole_or_nothing(hub)


@pytest.mark.parametrize(("fault", "words"), LASTING[:5], ids=str)
def test_a_lasting_fault_ends_in_a_clear_error_and_the_next_push_is_whole(
    workspace: Path, hub: Hub, fault: Fault, words: tuple[str, ...]
) -> None:
    ends_clearly(workspace, hub, fault, words)


@pytest.mark.faults
@pytest.mark.parametrize(("fault", "words"), LASTING[5:], ids=str)
def test_so_does_every_other_lasting_fault(
    workspace: Path, hub: Hub, fault: Fault, words: tuple[str, ...]
) -> None:
    ends_clearly(workspace, hub, fault, words)


def test_what_arrived_before_the_fault_is_not_sent_again(workspace: Path, hub: Hub) -> None:
    hub.faults.append(Fault("POST .*/commit/", 400, times=1))
    assert push(workspace, hub).code == 1
    sent = hub.count("PUT /store")
    assert sent >= 1
    assert push(workspace, hub).code == 0
    assert hub.count("PUT /store") == sent


def test_a_server_that_says_the_token_back_shows_it_nowhere(
    workspace: Path, hub: Hub, tmp_path: Path
) -> None:
    body = f'{{"error": "bad token {TOKEN} and Bearer {TOKEN}"}}'
    for where in ("GET /api/whoami", "POST .*/commit/"):
        hub.faults.append(Fault(where, 400, body=body))
        done = push(workspace, hub)
        assert done.code == 1
        assert "***" in done.err
        no_token_in(tmp_path, done.err, done.out)


def test_no_server_is_a_clear_error(workspace: Path, hub: Hub) -> None:
    done = push(workspace, hub, "--timeout", "40", env={"HF_ENDPOINT": "http://127.0.0.1:9"})
    done.assert_one_line_error(1, "no connection to http://127.0.0.1:9")


def kill_in_the_middle(workspace: Path, hub: Hub, seconds: float) -> None:
    """Kill a push so long after its first request; one that was quicker is simply done."""
    words = [str(COMMAND), "push", str(workspace), "me/git"]
    env = whole_environment(environment(hub, workspace.parent / "home"))
    process = subprocess.Popen(
        words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    before = len(hub.seen)
    while len(hub.seen) == before and process.poll() is None:
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()
    process.wait()


def kills(workspace: Path, hub: Hub, count: int) -> None:
    draw = random.Random(9)
    for _ in range(count):
        hub.repos.clear()
        hub.store.clear()
        kill_in_the_middle(workspace, hub, draw.uniform(0, 0.8))
        time.sleep(0.2)  # a request that is on its way still arrives
        whole_or_nothing(hub)
        done = push(workspace, hub)
        assert done.code == 0, done
        assert whole_or_nothing(hub)
    assert list((workspace.parent / "home" / "hub").iterdir()) == []


def killed_at(workspace: Path, hub: Hub, where: str) -> None:
    hub.faults.append(Fault(where, "hang"))
    env = whole_environment(environment(hub, workspace.parent / "home"))
    words = [str(COMMAND), "push", str(workspace), "me/git"]
    process = subprocess.Popen(
        words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while hub.count(where) == 0 and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not whole_or_nothing(hub)
    assert push(workspace, hub).code == 0
    assert whole_or_nothing(hub)


@pytest.mark.parametrize("where", ["PUT /store/", "POST .*/commit/"])
def test_killed_while_it_sends_it_leaves_no_half_and_the_next_push_is_whole(
    workspace: Path, hub: Hub, where: str
) -> None:
    killed_at(workspace, hub, where)


@pytest.mark.faults
@pytest.mark.parametrize(
    "where", ["GET /api/whoami", "POST .*/repos/create", "POST .*/preupload/", "POST .*/batch"]
)
def test_killed_at_any_other_call_too(workspace: Path, hub: Hub, where: str) -> None:
    killed_at(workspace, hub, where)


@pytest.mark.faults
def test_forty_random_kills(workspace: Path, hub: Hub) -> None:
    kills(workspace, hub, 40)
