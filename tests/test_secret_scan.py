"""Looking for keys in what would be uploaded: known shapes, the user's own values, and what only looks like one."""

from __future__ import annotations

import random
import string
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pairsmith.backends.keys import Secret
from pairsmith.backends.registry import Settings
from pairsmith.pairs.export_formats import ExportPair
from pairsmith.pairs.secret_scan import Scan, SecretsFound, own_keys

_DRAW = random.Random(5)


def letters(count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    return "".join(_DRAW.choice(alphabet) for _ in range(count))


SECRETS = [
    f"nvapi-{letters(64)}",
    f"hf_{letters(34)}",
    f"sk-{letters(48)}",
    f"sk-proj-{letters(40)}-{letters(40)}_{letters(20)}",
    f"sk-ant-api03-{letters(90)}",
    f"ghp_{letters(36)}",
    f"github_pat_{letters(22)}_{letters(59)}",
    f"glpat-{letters(20)}",
    f"AKIA{letters(16, string.ascii_uppercase + string.digits)}",
    f'aws_secret_access_key = "{letters(40)}"',
    f"AIza{letters(35)}",
    f"xoxb-{letters(12, string.digits)}-{letters(24)}",
    "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blb",
    "-----BEGIN PRIVATE KEY-----\nMIIE",
]
HARMLESS = [
    "Use scikit-learn's sk-learn package; the class sk-estimator-doc-link is CSS",
    "Set HF_TOKEN=hf_... in the environment",
    "export NVIDIA_API_KEY=nvapi-...",
    "AKIAIOSFODNN7EXAMPLE is AWS's own example",
    "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "-----BEGIN PUBLIC KEY-----",
    "git log --oneline 8f14e45fceea167a5a36dedd4bea2543 is a hash",
    "ask-me-anything-about-this-long-long-question",
]


@pytest.mark.parametrize("secret", SECRETS, ids=lambda text: text[:12])
def test_every_known_shape_is_found_in_the_middle_of_a_text(secret: str) -> None:
    assert list(Scan({}).kinds(f"use ({secret}), please"))


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_a_key_is_let_through(text: str) -> None:
    assert list(Scan({}).kinds(text)) == []


def test_a_finding_names_pair_and_field_and_never_the_key() -> None:
    scan = Scan({"MY_API_KEY": Secret("canary-canary-1")})
    key = f"hf_{letters(34)}"
    scan.pair(
        ExportPair(
            uid="u",
            instruction="fine",
            input=f"token {key}",
            output="the value is canary-canary-1.",
            topic=("topic",),
            verdict="accepted",
            decided_by="human",
            rule="",
            model="",
            scores={},
            pair_id=7,
            provenance={"file": f"{key}.jsonl"},
        )
    )
    with pytest.raises(SecretsFound) as refused:
        scan.refuse("w.pairsmith")
    assert [(one.pair_id, one.where) for one in refused.value.findings] == [
        (7, "pair 7 input"),
        (7, "pair 7 output"),
        (7, "pair 7 provenance"),
    ]
    said = str(refused.value) + repr(refused.value.findings) + repr(scan)
    assert key not in said
    assert "canary-canary-1" not in said
    assert "3 secrets" in said


def test_a_key_across_two_pieces_of_a_large_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"\0" * ((1 << 20) - 5) + b"canary-canary-1" + b"\0" * 100)
    scan = Scan({"MY_API_KEY": Secret("canary-canary-1")})
    scan.file(path, "weights.bin", shapes=False)
    assert scan.total == 1


@given(st.text(min_size=8, max_size=40), st.text(max_size=60), st.text(max_size=60))
def test_any_value_of_a_key_is_found_wherever_it_stands(value: str, before: str, after: str) -> None:
    scan = Scan({"K": Secret(value)})
    assert "the value of your K" in list(scan.kinds(before + value + after))


def test_the_users_keys_are_found_in_variables_the_keyring_and_the_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = ModuleType("keyring")
    module.get_password = lambda service, name: "nvapi-from-the-keyring" if "nvidia" in service else None  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "keyring", module)
    env = {
        "NVIDIA_API_KEY": "nvapi-env-canary",
        "OPENAI_API_KEY": "ollama",
        "GITHUB_TOKEN": "gh-canary-canary",
        "PATH": "/usr/bin:/usr/local/bin",
        "SESSION_TOKEN": "short",
        "LOCAL_API_KEY": "no-key-required",
    }
    found = own_keys(Settings(env=env), Secret("hf_canary_token"))
    assert {name: secret.reveal() for name, secret in found.items()} == {
        "NVIDIA_API_KEY": "nvapi-env-canary",
        "NVIDIA_API_KEY (keyring)": "nvapi-from-the-keyring",
        "GITHUB_TOKEN": "gh-canary-canary",
        "Hugging Face token": "hf_canary_token",
    }
