"""No key gets out: planted in the environment, in the keyring and in a server's error bodies, it is in no byte of any
export, card, manifest, configuration or log, nor in the workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pairsmith.cli.main import main
from pairsmith.pairs.export_formats import FORMATS

from .brains import DefectiveLists
from .command_line import Ran, run, run_beside
from .servers.http_server import Outgoing
from .servers.nim import NimServer, Rules
from .test_export_files import everything

RING = "nvapi-RING" + "canary0123456789" * 2
ENVIRONMENT = "sk-ENVIRONMENT" + "canary0123456789" * 2
BODY = "nvapi-BODY" + "canary0123456789" * 2
KEYRING = f"""
from keyring.backend import KeyringBackend


class Ring(KeyringBackend):
    priority = 1

    def get_password(self, service, username):
        return {RING!r} if username == "NVIDIA_API_KEY" else None

    def set_password(self, service, username, password):
        raise RuntimeError
"""


class Gossip:
    """A model whose every third answer is an error that quotes every key there is."""

    def __init__(self) -> None:
        self._model = DefectiveLists(seed=1)
        self._asked = 0

    def __call__(self, body: dict[str, Any]) -> Any:
        self._asked += 1
        if self._asked % 3 == 0:
            said = f"Authorization failed: Bearer {RING} {ENVIRONMENT} {BODY}"
            status = (500, 429, 503)[self._asked // 3 % 3]
            return Outgoing(status, {"error": {"message": said, "type": said, "code": said}, "detail": said})
        return self._model(body)


async def test_a_key_is_in_no_byte_of_what_gets_out(tmp_path: Path) -> None:
    (tmp_path / "ring").mkdir()
    (tmp_path / "ring" / "canary_ring.py").write_text(KEYRING)
    workspace, out, home = tmp_path / "w.pairsmith", tmp_path / "out", tmp_path / "home"
    out.mkdir()
    assert main(["new", str(workspace), "--domain", "Git commands"]) == 0
    said: list[Ran] = []
    async with NimServer(Gossip(), Rules(key=RING)) as server:
        env = {
            "NVIDIA_API_KEY": "",
            "OPENAI_API_KEY": ENVIRONMENT,
            "HF_TOKEN": ENVIRONMENT,
            "PAIRSMITH_NIM_URL": server.base_url,
            "PAIRSMITH_HOME": str(home),
            "PAIRSMITH_TIME_SCALE": "50",
            "PYTHONPATH": str(tmp_path / "ring"),
            "PYTHON_KEYRING_BACKEND": "canary_ring.Ring",
        }
        made = await run_beside(
            "generate", workspace, "--pairs", 6, "--generator", "nim:meta/llama-3.1-405b-instruct", env=env
        )
        assert made.code == 0, made.err
        assert f"Bearer {RING}" in {r.headers.get("authorization") for r in server.requests}
        said += [made, await run_beside("stats", workspace, "--json", env=env)]
    for name, form in FORMATS.items():
        card = ["--card"] if name != "hf" else []
        trainers = ["--trainer", "all"] if name not in ("hf", "csv", "argilla", "dpo") else []
        path = out / f"{name}{form.suffix}"
        done = run("export", workspace, path, "--format", name, *card, *trainers, env=env)
        said.append(done)
        if name != "dpo":
            assert done.code == 0, done.err
            assert path.exists()
    written = {
        **everything(out),
        **(everything(home) if home.exists() else {}),
        "workspace": workspace.read_bytes(),
    }
    written["said"] = "".join(ran.out + ran.err for ran in said).encode()
    assert len(written) > 30
    for key in (RING, ENVIRONMENT, BODY):
        assert [name for name, data in written.items() if key.encode() in data] == []
