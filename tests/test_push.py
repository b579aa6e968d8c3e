"""`pairsmith push` against a Hub of ours: what lies there afterwards, who may read it, what is refused before."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pairsmith.pairs.hub_access import find_access
from pairsmith.pairs.pushing import stage_dataset
from pairsmith.pairs.store.verdicts import decide
from pairsmith.pairs.store.workspace import open_workspace

from .command_line import COMMAND, run
from .pushes import environment, filled, filled_before, no_token_in, push, texts
from .servers.hub import READ_TOKEN, TOKEN, Hub

TRAIN = "data/train-00000-of-00001.parquet"


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    return filled_before(tmp_path)


def test_a_pushed_dataset_is_private_and_loads_back_equal_with_datasets(
    workspace: Path, hub: Hub, tmp_path: Path
) -> None:
    done = push(workspace, hub)
    assert done.code == 0, done
    assert "24 pairs: 24 undecided" in done.out
    assert "private" in done.out
    repo = hub.repos["dataset", "me/git"]
    assert repo.private
    assert set(repo.head.files) == {".gitattributes", "README.md", TRAIN, "manifest.json"}
    assert len(repo.commits) == 2
    code = (
        "import datasets, json\n"
        "rows = datasets.load_dataset('me/git')\n"
        "print(json.dumps({name: [[r['instruction'], r['input'], r['output']] for r in split]"
        " for name, split in rows.items()}))"
    )
    env = {**os.environ, **environment(hub, tmp_path / "h"), "HF_HUB_DISABLE_XET": "1"}
    env |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HOME": str(tmp_path / "hf")}
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
    )
    assert loaded.returncode == 0, loaded.stderr
    assert json.loads(loaded.stdout) == {"train": [list(row) for row in texts(workspace)]}


def test_a_pushed_dataset_imports_back_equal_and_its_folder_verifies(
    workspace: Path, hub: Hub, tmp_path: Path
) -> None:
    push(workspace, hub)
    again = tmp_path / "again.pairsmith"
    run("new", again, "--domain", "again")
    env = environment(hub, tmp_path / "h")
    done = run("import", again, "hf:me/git", env=env)
    assert done.code == 0, done
    assert texts(again) == texts(workspace)
    folder = tmp_path / "clone"
    for name, file in hub.repos["dataset", "me/git"].head.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(file.data)
    assert run("verify", folder).code == 0
    data = bytearray((folder / TRAIN).read_bytes())
    data[100] ^= 1
    (folder / TRAIN).write_bytes(data)
    assert run("verify", folder).code == 1


def test_pushing_again_sends_nothing_and_makes_no_commit(workspace: Path, hub: Hub) -> None:
    push(workspace, hub)
    hub.seen.clear()
    done = push(workspace, hub, "--json")
    assert done.json["changed"] is False
    assert done.json["sent"] == 0
    assert hub.count("PUT /store") == 0
    assert hub.count("/commit/") == 0
    assert len(hub.repos["dataset", "me/git"].commits) == 2


def test_a_large_file_goes_in_parts(workspace: Path, hub: Hub) -> None:
    hub.part_size = 1000
    done = push(workspace, hub, "--json")
    assert done.code == 0, done
    data = hub.repos["dataset", "me/git"].data(TRAIN)
    assert len(data) > 3000
    assert done.json["sent"] == len(data)
    assert hub.count("PUT /store") > 3


def test_splits_come_and_go_with_their_files(workspace: Path, hub: Hub) -> None:
    done = push(workspace, hub, "--split", "--json")
    assert done.code == 0, done
    assert set(done.json["splits"]) == {"train", "validation", "test"}
    repo = hub.repos["dataset", "me/git"]
    assert {name for name in repo.head.files if name.startswith("data/")} == {
        f"data/{split}-00000-of-00001.parquet" for split in ("train", "validation", "test")
    }
    push(workspace, hub)
    assert [name for name in repo.head.files if name.startswith("data/")] == [TRAIN]
    assert len(repo.commits) == 3


def test_public_needs_two_yeses(workspace: Path, hub: Hub) -> None:
    push(workspace, hub, "--public").assert_one_line_error(2, "--yes")
    assert hub.seen == []
    assert push(workspace, hub, "--yes").code == 0
    assert hub.repos["dataset", "me/git"].private
    assert push(workspace, hub, "--public", "--yes", repo="me/open").code == 0
    assert not hub.repos["dataset", "me/open"].private


@pytest.mark.parametrize(("typed", "code"), [("me/git\n", 0), ("y\n", 1), ("\n", 1)])
def test_on_a_terminal_the_second_yes_is_the_name(workspace: Path, hub: Hub, typed: str, code: int) -> None:
    import pty

    parent, child = pty.openpty()
    env = {**os.environ, **environment(hub, workspace.parent / "home")}
    process = subprocess.Popen(
        [str(COMMAND), "push", str(workspace), "me/git", "--public"],
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
    )
    os.close(child)
    os.write(parent, typed.encode())
    _, errors = process.communicate(timeout=120)
    os.close(parent)
    assert process.returncode == code, errors
    assert b"type the name" in errors
    assert (("dataset", "me/git") in hub.repos) is (code == 0)


def test_a_public_repository_is_never_filled_unasked(workspace: Path, hub: Hub) -> None:
    hub.dataset("me/git", private=False)
    push(workspace, hub).assert_one_line_error(1, "me/git is public", "--public")
    assert hub.count("PUT|commit") == 0


def test_a_server_that_makes_it_public_all_the_same_gets_no_data(workspace: Path, hub: Hub) -> None:
    hub.everything_public = True
    push(workspace, hub).assert_one_line_error(1, "is public")
    assert hub.count("PUT|commit|preupload") == 0


def test_a_private_history_is_not_published(workspace: Path, hub: Hub) -> None:
    push(workspace, hub)
    push(workspace, hub, "--public", "--yes").assert_one_line_error(1, "history")
    assert hub.repos["dataset", "me/git"].private


def test_a_repository_of_other_things_is_left_alone(workspace: Path, hub: Hub) -> None:
    repo = hub.dataset("me/git", {"data/train.csv": b"a,b\n", "README.md": b"mine"})
    push(workspace, hub).assert_one_line_error(1, "did not put there", "another name")
    assert len(repo.commits) == 2
    assert hub.count("PUT|commit") == 0


@pytest.mark.parametrize(
    "manifest",
    [b"", b'{"name": "an application"}', b'{"manifest": "of others"}' * 9_999],
    ids=["empty", "small", "large"],
)
def test_so_is_one_that_has_a_manifest_of_another_program(manifest: bytes, workspace: Path, hub: Hub) -> None:
    repo = hub.dataset("me/git", {TRAIN: b"PAR1", "manifest.json": manifest, "README.md": b"mine"})
    push(workspace, hub).assert_one_line_error(1, "did not put there", "another name")
    assert len(repo.commits) == 2
    assert hub.count("PUT|commit") == 0


def test_secrets_are_named_by_pair_and_refused_before_any_socket(tmp_path: Path, hub: Hub) -> None:
    rows = [
        {"instruction": "Log in", "input": "", "output": "use nvapi-" + "Ab3" * 15},
        {"instruction": "Deploy with mine-is-canary-0001", "input": "", "output": "done"},
    ]
    workspace = filled(tmp_path, 3, rows)
    env = {"MY_SERVICE_API_KEY": "mine-is-canary-0001"}
    done = push(workspace, hub, env=env)
    done.assert_one_line_error(
        1, "pair 8 output (an NVIDIA API key)", "MY_SERVICE_API_KEY", "--allow-secrets", "review"
    )
    assert "pair 9 instruction" in done.err
    assert "nvapi-Ab3" not in done.err + done.out
    assert "mine-is-canary" not in done.err + done.out
    assert hub.seen == []
    seen = push(workspace, hub, "--preview", "--json", env=env).json
    assert [finding["pair_id"] for finding in seen["secrets"]] == [8, 9]
    assert hub.seen == []
    assert push(workspace, hub, "--allow-secrets", env=env).code == 0


def test_rejecting_the_pair_is_enough(tmp_path: Path, hub: Hub) -> None:
    key = "sk-" + "a1B2" * 10
    workspace = filled(tmp_path, 2, [{"instruction": "Q", "input": "", "output": key}])
    assert push(workspace, hub).code == 1
    assert hub.seen == []
    with open_workspace(workspace) as opened:
        opened.write(lambda conn: decide(conn, [7], "rejected"))
    done = push(workspace, hub)
    assert done.code == 0, done
    assert "6 pairs: 6 undecided" in done.out


def test_preview_asks_no_server_and_needs_no_token(workspace: Path, hub: Hub) -> None:
    done = push(workspace, hub, "--preview", env={"HF_TOKEN": ""})
    assert done.code == 0, done
    assert TRAIN in done.out
    assert hub.seen == []


def test_a_licence_stands_on_the_card_and_what_is_none_is_wrong_usage(workspace: Path, hub: Hub) -> None:
    assert push(workspace, hub, "--licence", "cc-by-4.0").code == 0
    card = hub.repos["dataset", "me/git"].head.files["README.md"].data.decode()
    assert 'license: "cc-by-4.0"\n' in card
    assert "`cc-by-4.0`" in card
    commits = len(hub.repos["dataset", "me/git"].commits)
    for what in ((), ("--model", "newest")):
        refused = push(workspace, hub, *what, "--licence", "mine:\nall")
        refused.assert_one_line_error(2, "no identifier of a licence", "cc-by-4.0")
    assert len(hub.repos["dataset", "me/git"].commits) == commits


def test_what_is_staged_twice_is_the_same_bytes(workspace: Path, tmp_path: Path) -> None:
    from pairsmith.pairs.exporting import ExportSettings
    from pairsmith.pairs.secret_scan import Scan

    seen = []
    with open_workspace(workspace, readonly=True) as opened:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            staged = stage_dataset(opened, tmp_path / name, "me/git", ExportSettings(), Scan({}))
            seen.append({file.name: file.path.read_bytes() for file in staged.files})
    assert seen[0] == seen[1]


def test_a_local_only_workspace_refuses_before_any_socket(tmp_path: Path, hub: Hub) -> None:
    path = tmp_path / "w.pairsmith"
    run("new", path, "--domain", "x", "--local-only")
    push(path, hub).assert_one_line_error(1, "local-only")
    env = environment(hub, tmp_path / "home")
    run("import", path, "hf:me/git", env=env).assert_one_line_error(1, "local-only")
    assert hub.seen == []


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("hf_ExpiredExpiredExpiredExpiredExp", ("401", "expired", "/settings/tokens")),
        (READ_TOKEN, ("may only read", "HF_TOKEN")),
        ("", ("no token", "HF_TOKEN")),
        ("hf with spaces", ("HF_TOKEN", "characters")),
    ],
)
def test_a_token_that_will_not_do_is_said_so_and_nothing_is_made(
    workspace: Path, hub: Hub, token: str, words: tuple[str, ...]
) -> None:
    done = push(workspace, hub, env={"HF_TOKEN": token})
    done.assert_one_line_error(1, *words)
    assert hub.repos == {}
    if token:
        assert token not in done.err + done.out


def test_somebody_elses_name_is_refused_by_the_hub(workspace: Path, hub: Hub) -> None:
    push(workspace, hub, repo="other/git").assert_one_line_error(1, "may not write to other/git", "403")
    assert hub.repos == {}


@pytest.mark.parametrize("name", ["git", "a/b/c", "../x/y", "me/", "me/a b", "me/..", "-x/y", "me/x.git"])
def test_odd_names_are_wrong_usage(workspace: Path, hub: Hub, name: str) -> None:
    done = run("push", workspace, "--", name, env=environment(hub, workspace.parent))
    done.assert_one_line_error(2, "OWNER/NAME")
    assert hub.seen == []


def test_the_cached_login_is_used_and_the_environment_comes_first(
    workspace: Path, hub: Hub, tmp_path: Path
) -> None:
    login = tmp_path / "login"
    login.mkdir()
    (login / "token").write_text(f"{TOKEN}\n")
    assert push(workspace, hub, env={"HF_TOKEN": "", "HF_HOME": str(login)}).code == 0
    (login / "token").write_text("hf_wrongwrongwrongwrongwrongwrong\n")
    assert push(workspace, hub, env={"HF_HOME": str(login)}).code == 0


def test_a_token_is_typed_without_echo_where_there_is_none(workspace: Path, hub: Hub) -> None:
    import pty

    parent, child = pty.openpty()
    env = {**os.environ, **environment(hub, workspace.parent / "home"), "HF_TOKEN": ""}
    process = subprocess.Popen(
        [str(COMMAND), "push", str(workspace), "me/git"],
        stdin=child,
        stdout=subprocess.PIPE,
        stderr=child,
        env=env,
        start_new_session=True,
    )
    os.close(child)
    shown = b""
    while b"token for" not in shown:
        shown += os.read(parent, 1000)
    os.write(parent, TOKEN.encode() + b"\n")
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    os.set_blocking(parent, False)
    with contextlib.suppress(OSError):
        shown += os.read(parent, 100_000)
    os.close(parent)
    assert TOKEN.encode() not in shown + out


def test_the_token_is_in_no_byte_but_the_requests_to_the_hub_itself(
    workspace: Path, hub: Hub, tmp_path: Path
) -> None:
    done = push(workspace, hub)
    failed = push(workspace, hub, env={"HF_TOKEN": TOKEN[:-1] + "x"})
    no_token_in(tmp_path, done.out, done.err, failed.out, failed.err)
    for one in hub.seen:
        if one.path.startswith("/store/"):
            assert "authorization" not in one.headers
        assert TOKEN not in one.path
    for repo in hub.repos.values():
        for file in repo.head.files.values():
            assert TOKEN.encode() not in file.data


def test_a_token_does_not_go_unencrypted_to_another_machine() -> None:
    from pairsmith.backends.errors import BadRequest

    with pytest.raises(BadRequest, match="not encrypted"):
        find_access({"HF_TOKEN": TOKEN, "HF_ENDPOINT": "http://hub.example"}, local_only=False)
    access = find_access({"HF_TOKEN": TOKEN}, local_only=False)
    assert TOKEN not in repr(access)


def test_offline_is_respected(workspace: Path, hub: Hub) -> None:
    push(workspace, hub, env={"HF_HUB_OFFLINE": "1"}).assert_one_line_error(2, "HF_HUB_OFFLINE")
    assert hub.seen == []


async def test_a_tuned_model_is_pushed_with_card_safetensors_and_gguf(tmp_path: Path, hub: Hub) -> None:
    from .trained import colour_workspace, tiny, train

    home = tmp_path / "home"
    with colour_workspace(tmp_path, 40) as opened:
        await train(opened, home, tiny())
    workspace = tmp_path / "w.pairsmith"
    words = ("--model", "newest", "--licence", "mit", "--json")
    done = await asyncio.to_thread(push, workspace, hub, *words, repo="me/colours")
    assert done.code == 0, done
    repo = hub.repos["model", "me/colours"]
    assert repo.private
    assert len(repo.commits) == 2
    files = repo.head.files
    assert {"README.md", "config.json", "model.safetensors", "colours.gguf", "pairsmith.json"} <= set(files)
    assert files["colours.gguf"].data[:4] == b"GGUF"
    card = files["README.md"].data.decode()
    assert card.startswith("---\n")
    assert "random weights" in card
    assert "training loss" in card
    assert 'license: "mit"\n' in card
    for file in files.values():
        assert str(tmp_path).encode() not in file.data
    clone = tmp_path / "clone"
    clone.mkdir()
    for name, file in files.items():
        (clone / name).write_bytes(file.data)
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(clone)
    assert model.config.n_layer == 2
    again = await asyncio.to_thread(push, workspace, hub, *words, repo="me/colours")
    assert again.json["changed"] is False
    no_token_in(tmp_path, done.out, done.err)
