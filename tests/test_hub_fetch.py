"""Fetching from a Hub on loopback goes on where it stopped, whatever the server makes of ranges; data sets, too."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from pairsmith.pairs import hub_fetch
from pairsmith.pairs.hub_access import HubAccess
from pairsmith.pairs.hub_names import HubSource
from pairsmith.pairs.hub_process import HubFailed
from pairsmith.pairs.hub_talk import Talk
from pairsmith.pairs.import_hub import download_dataset

from .servers.hub import Fault, Hub

DATA = random.Random(2).randbytes(1_200_000)
FIRST = random.Random(3).randbytes(300_000)
SOURCE = HubSource("org/big", None, None, None)
STORE = r"GET /store/"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        yield hub


@pytest.fixture
def talk() -> Iterator[Talk]:
    out = os.open(os.devnull, os.O_WRONLY)
    yield Talk(out, "")
    os.close(out)


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_fetch, "_wait_s", lambda error, tries: 0)


def fetch(hub: Hub, part: Path, talk: Talk, data: bytes = DATA) -> list[int]:
    """Fetch a large file into a part; how much was there, as it was told."""
    repo = hub.dataset("org/big", {"train.parquet": data}, private=False)
    sha256 = hashlib.sha256(data).hexdigest()
    entry = SimpleNamespace(path="train.parquet", size=len(data), lfs=SimpleNamespace(sha256=sha256))
    told: list[int] = []
    job = {"repo": "org/big", "endpoint": hub.url, "token": None}
    hub_fetch.fetch_file(job, "dataset", repo.head.oid, entry, part, talk, told.append)
    assert hub_fetch.is_whole(part, entry)
    return told


def ranges(hub: Hub) -> list[str | None]:
    """What was asked of the store, in order."""
    return [one.headers.get("range") for one in hub.seen if one.path.startswith("/store/")]


def test_only_what_is_missing_is_asked_for(hub: Hub, talk: Talk, tmp_path: Path) -> None:
    part = tmp_path / "x.part"
    part.write_bytes(DATA[:700_000])
    told = fetch(hub, part, talk)
    assert part.read_bytes() == DATA
    assert ranges(hub) == ["bytes=700000-"]
    assert min(told) > 700_000
    assert told[-1] == len(DATA)


@pytest.mark.parametrize(
    "fault",
    [Fault(STORE, "whole"), Fault(STORE, "elsewhere"), Fault(STORE, 416)],
    ids=["knows no ranges", "sends another range", "refuses the range"],
)
def test_a_server_that_does_not_go_on_is_asked_for_all(
    hub: Hub, talk: Talk, tmp_path: Path, fault: Fault
) -> None:
    hub.faults.append(fault)
    part = tmp_path / "x.part"
    part.write_bytes(DATA[:700_000])
    fetch(hub, part, talk)
    assert part.read_bytes() == DATA
    assert ranges(hub) in (["bytes=700000-"], ["bytes=700000-", None])


def test_what_breaks_again_and_again_is_gone_on_with_while_it_brings_something(
    hub: Hub, talk: Talk, tmp_path: Path
) -> None:
    hub.faults += [Fault(STORE, "broken", times=3), Fault(STORE, 503, times=2)]
    part = tmp_path / "x.part"
    fetch(hub, part, talk)
    starts = [int((asked or "bytes=0-")[6:-1]) for asked in ranges(hub)]
    assert starts == sorted(starts)
    assert starts[3] > 1_000_000


def test_what_brings_nothing_is_given_up_and_keeps_the_part(hub: Hub, talk: Talk, tmp_path: Path) -> None:
    hub.faults.append(Fault(STORE, "cut", times=99))
    part = tmp_path / "x.part"
    part.write_bytes(DATA[:1000])
    with pytest.raises(httpx.TransportError):
        fetch(hub, part, talk)
    assert len(ranges(hub)) == 0  # cut before it was noted
    assert hub.faults[0].times == 99 - 5
    assert part.read_bytes() == DATA[:1000]


def test_an_empty_file_is_one_without_asking(hub: Hub, talk: Talk, tmp_path: Path) -> None:
    fetch(hub, tmp_path / "x.part", talk, b"")
    assert (tmp_path / "x.part").read_bytes() == b""


@pytest.mark.parametrize(
    ("status", "said", "wait"),
    [(503, "", 1), (408, "", 1), (429, "7", 7), (429, "900", None), (404, "", None), (401, "", None)],
)
def test_only_what_may_pass_is_waited_for(
    status: int, said: str, wait: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    request = httpx.Request("GET", "http://127.0.0.1/")
    response = httpx.Response(status, headers={"Retry-After": said}, request=request)
    error = httpx.HTTPStatusError("x", request=request, response=response)
    assert hub_fetch._wait_s(error, 1) == wait


# ---- data sets, through the child process ----------------------------------------------------------------------


def two_files(hub: Hub) -> HubAccess:
    """A data set whose second file is the one that is cut."""
    hub.dataset("org/big", {"train-0.parquet": FIRST, "train-1.parquet": DATA}, private=False)
    return HubAccess(hub.url)


def contents(files: tuple[Path, ...]) -> list[bytes]:
    return [path.read_bytes() for path in files]


CHILD = """
import sys
from pathlib import Path
from pairsmith.pairs.hub_access import HubAccess
from pairsmith.pairs.hub_names import HubSource
from pairsmith.pairs.import_hub import download_dataset
download_dataset(HubSource("org/big", None, None, None), HubAccess(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_data_set_goes_on_in_the_middle_of_a_file_after_kill_9(hub: Hub, tmp_path: Path) -> None:
    access = two_files(hub)
    hub.faults.append(Fault(STORE, "half", after=1))
    child = subprocess.Popen([sys.executable, "-c", CHILD, hub.url, str(tmp_path)])
    end = time.monotonic() + 20
    while not any(part.stat().st_size > 100_000 for part in tmp_path.rglob("train-1*.part")):
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with (tmp_path / "hub" / "import" / "org--big" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until the child's child has heard of it, and ended
    (part,) = tmp_path.rglob("*.part")
    arrived = part.stat().st_size
    assert arrived < len(DATA)
    asked = len(ranges(hub))
    told: list[tuple[int, int]] = []
    done = download_dataset(SOURCE, access, tmp_path, tell=lambda _, done, total: told.append((done, total)))
    assert contents(done.files) == [FIRST, DATA]
    assert ranges(hub)[asked:] == [f"bytes={arrived}-"]
    assert told[-1] == (len(FIRST) + len(DATA),) * 2
    assert not list(tmp_path.rglob("*.part"))


def test_a_data_set_that_fell_silent_is_kept_as_its_message_says(hub: Hub, tmp_path: Path) -> None:
    access = two_files(hub)
    hub.faults.append(Fault(STORE, "half", after=1))
    with pytest.raises(HubFailed, match="did not answer") as failed:
        download_dataset(SOURCE, access, tmp_path, timeout_s=2)
    assert "what has arrived is kept" in str(failed.value.advice)
    assert contents(download_dataset(SOURCE, access, tmp_path).files) == [FIRST, DATA]
    assert ranges(hub)[-1] == f"bytes={len(DATA) // 2}-"


def test_a_data_set_that_was_changed_meanwhile_is_the_new_one(hub: Hub, tmp_path: Path) -> None:
    access = two_files(hub)
    hub.faults.append(Fault(STORE, "half", after=1))
    with pytest.raises(HubFailed):
        download_dataset(SOURCE, access, tmp_path, timeout_s=2)
    newer = bytes(reversed(DATA))
    hub.repos["dataset", "org/big"].commit({"train-0.parquet": FIRST, "train-1.parquet": newer})
    assert contents(download_dataset(SOURCE, access, tmp_path).files) == [FIRST, newer]
    assert ranges(hub)[-1] is None


def test_a_part_that_was_spoilt_is_found_by_the_hash_and_begins_anew(hub: Hub, tmp_path: Path) -> None:
    repo = hub.dataset("org/big", {"train.parquet": DATA}, private=False)
    part = tmp_path / "hub" / "import" / "org--big" / repo.head.oid / "train.parquet.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"x" * 500_000)
    with pytest.raises(HubFailed, match="checksum"):
        download_dataset(SOURCE, HubAccess(hub.url), tmp_path)
    assert not part.exists()
    assert contents(download_dataset(SOURCE, HubAccess(hub.url), tmp_path).files) == [DATA]


def test_a_second_process_does_not_write_into_the_same_part(hub: Hub, tmp_path: Path) -> None:
    folder = tmp_path / "hub" / "import" / "org--big"
    folder.mkdir(parents=True)
    with (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(HubFailed, match="another Pairsmith"):
            download_dataset(SOURCE, two_files(hub), tmp_path)
