"""Bringing a model from a Hub on loopback: whole, gone on with after a kill, checked, and only where there is room."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.hub_access import HubAccess
from pairsmith.pairs.hub_process import HubFailed
from pairsmith.pairs.model_download import bring_model, hub_for_models, is_here
from pairsmith.pairs.recommended_models import RECOMMENDED, HubModel

from .servers.hub import TOKEN, Fault, Hub, Repo

DATA = random.Random(1).randbytes(1_500_000)
MODEL = replace(RECOMMENDED[0], repo="Owner/Some-GGUF", file="some-q4_k_m.gguf", bytes=len(DATA))


def serve(hub: Hub, data: bytes = DATA, model: HubModel = MODEL) -> HubAccess:
    """The model on this Hub."""
    repo = hub.repos["model", model.repo] = Repo("model", model.repo, private=False)
    repo.commit({model.file: data, "README.md": b"hello"})
    return HubAccess(hub.url)


def parts(home: Path) -> list[Path]:
    """What has arrived of files that are not whole."""
    return list((home / "hub").rglob("*.part"))


def test_a_model_is_brought_whole_and_found_by_its_name(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    with Hub() as hub:
        path = bring_model(
            MODEL, serve(hub), tmp_path, tell=lambda _, done, total: told.append((done, total))
        )
    assert path == tmp_path / "models" / MODEL.file
    assert path.read_bytes() == DATA
    assert is_here(MODEL, tmp_path)
    assert not parts(tmp_path)
    assert (len(DATA), len(DATA)) in told
    from pairsmith.backends.llama_cpp.catalogue import resolve

    assert resolve(MODEL.id, tmp_path, {"HOME": str(tmp_path)}) == path.resolve()


def test_what_is_here_already_is_not_asked_for(tmp_path: Path) -> None:
    with Hub() as hub:
        access = serve(hub)
        bring_model(MODEL, access, tmp_path)
        asked = len(hub.seen)
        bring_model(MODEL, access, tmp_path)
        assert len(hub.seen) == asked


def test_a_connection_that_breaks_in_the_middle_is_gone_on_with(tmp_path: Path) -> None:
    with Hub() as hub:
        access = serve(hub)
        hub.faults.append(Fault(r"GET /store/", "broken", times=2))
        assert bring_model(MODEL, access, tmp_path).read_bytes() == DATA
        ranges = [one.headers.get("range") for one in hub.seen if one.path.startswith("/store/")]
    assert any(ranges[1:])


CHILD = """
import sys
from pathlib import Path
from dataclasses import replace
from pairsmith.pairs.hub_access import HubAccess
from pairsmith.pairs.model_download import bring_model
from pairsmith.pairs.recommended_models import RECOMMENDED
model = replace(RECOMMENDED[0], repo=sys.argv[3], file=sys.argv[4])
bring_model(model, HubAccess(sys.argv[1]), Path(sys.argv[2]), tell=lambda what, done, total: print(done, flush=True))
"""


def test_after_kill_9_only_the_rest_is_fetched(tmp_path: Path) -> None:
    with Hub() as hub:
        access = serve(hub)
        hub.faults.append(Fault(r"GET /store/", "half"))
        command = [sys.executable, "-c", CHILD, hub.url, str(tmp_path), MODEL.repo, MODEL.file]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while not any(part.stat().st_size > 100_000 for part in parts(tmp_path)) and time.monotonic() < end:
            time.sleep(0.01)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        (part,) = parts(tmp_path)
        assert not is_here(MODEL, tmp_path)
        arrived = part.stat().st_size
        assert 100_000 < arrived < len(DATA)
        hub.faults.clear()
        assert bring_model(MODEL, access, tmp_path).read_bytes() == DATA
        last = [one for one in hub.seen if one.path.startswith("/store/")][-1]
    start = int(last.headers["range"].removeprefix("bytes=").rstrip("-"))
    assert start >= arrived


def test_half_a_copy_to_another_disk_is_not_found_as_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies_in_the_middle(source: str, target: Path) -> None:
        target.write_bytes(Path(source).read_bytes()[:1000])
        raise OSError(28, "No space left on device")

    with Hub() as hub:
        access = serve(hub)
        with monkeypatch.context() as patched:
            patched.setattr(shutil, "move", dies_in_the_middle)
            with pytest.raises(PairsmithError):
                bring_model(MODEL, access, tmp_path)
        assert not is_here(MODEL, tmp_path)
        asked = sum(one.path.startswith("/store/") for one in hub.seen)
        assert bring_model(MODEL, access, tmp_path).read_bytes() == DATA
        assert sum(one.path.startswith("/store/") for one in hub.seen) == asked
    assert [path.name for path in (tmp_path / "models").iterdir()] == [MODEL.file]


def test_a_spoilt_file_is_refused_and_nothing_of_it_is_kept(tmp_path: Path) -> None:
    with Hub() as hub:
        access = serve(hub)
        hub.faults.append(Fault(r"GET /store/", "spoil"))
        with pytest.raises(HubFailed, match="checksum"):
            bring_model(MODEL, access, tmp_path)
        assert not is_here(MODEL, tmp_path)
        assert not parts(tmp_path)
        assert bring_model(MODEL, access, tmp_path).read_bytes() == DATA


def test_the_disks_room_is_looked_at_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pairsmith.pairs import hub_model
    from pairsmith.pairs.hub_talk import Refused

    part = tmp_path / "x.part"
    part.write_bytes(b"x" * 1000)
    hub_model._check_room(part, 2000)
    with pytest.raises(Refused) as refused:
        hub_model._check_room(part, 1 << 60)
    assert refused.value.kind == "no_room"
    assert part.stat().st_size == 1000


def test_giving_up_keeps_what_has_arrived(tmp_path: Path) -> None:
    class GaveUp(Exception):
        pass

    seen = [0]

    def tell(_what: str, done: int, _total: int) -> None:
        seen[0] = done

    def check() -> None:
        if seen[0] > 100_000:
            raise GaveUp

    with Hub() as hub:
        access = serve(hub)
        hub.faults.append(Fault(r"GET /store/", "half"))
        with pytest.raises(GaveUp):
            bring_model(MODEL, access, tmp_path, tell=tell, check=check)
        assert parts(tmp_path)
        assert not is_here(MODEL, tmp_path)


def test_the_token_goes_to_the_hub_alone_and_opens_what_is_private(tmp_path: Path) -> None:
    with Hub() as hub:
        serve(hub, model=replace(MODEL, repo="me/own"))
        hub.repos["model", "me/own"].private = True
        env = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "no-login")}
        bring_model(replace(MODEL, repo="me/own"), hub_for_models(env, local_only=False), tmp_path)
        for one in hub.seen:
            assert one.path.startswith("/store/") != (one.headers.get("authorization") == f"Bearer {TOKEN}")
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes()


def test_a_second_process_does_not_write_into_the_same_part(tmp_path: Path) -> None:
    import fcntl

    folder = tmp_path / "hub" / "models" / "Owner--Some-GGUF"
    folder.mkdir(parents=True)
    with Hub() as hub, (folder / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(HubFailed, match="another Pairsmith"):
            bring_model(MODEL, serve(hub), tmp_path)


@pytest.mark.parametrize(("what", "said"), [("repo", "Repository not found"), ("file", "has no file")])
def test_what_the_hub_does_not_have_is_said(tmp_path: Path, what: str, said: str) -> None:
    with Hub() as hub:
        access = serve(hub)
        wrong = replace(MODEL, **{what: "Owner/Other" if what == "repo" else "other.gguf"})
        with pytest.raises(HubFailed, match=said) as failed:
            bring_model(wrong, access, tmp_path)
    assert "\n" not in str(failed.value)


def test_no_hub_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(HubFailed) as failed:
        bring_model(MODEL, HubAccess("http://127.0.0.1:9"), tmp_path, timeout_s=20)
    assert "\n" not in str(failed.value)


def test_the_list_names_single_gguf_files_with_their_licences() -> None:
    for model in RECOMMENDED:
        assert model.file.endswith(".gguf")
        assert "-of-" not in model.file
        assert model.repo.count("/") == 1
        assert model.licence
        assert 100_000_000 < model.bytes < model.memory < 8_000_000_000
    assert len({model.id for model in RECOMMENDED}) == len(RECOMMENDED)
