"""What every test stands on: none of them sees the user's keys, settings, models or keyring."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from .servers.hub import Hub

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what runs in the background so, and children inherit it: a test that interrupts one would wait on.
    signal.signal(signal.SIGINT, signal.default_int_handler)

_PRIVATE = (
    "NVIDIA_API_KEY",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "OLLAMA_HOST",
    "HF_TOKEN",
    "PAIRSMITH_NIM_URL",
)

# At import, so that what test modules start while they are collected, and every child process, inherits it.
for _name in _PRIVATE:
    os.environ.pop(_name, None)
_home = tempfile.TemporaryDirectory(prefix="pairsmith-tests-", ignore_cleanup_errors=True)
os.environ["PAIRSMITH_HOME"] = _home.name
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"
os.environ["HF_HUB_OFFLINE"] = "1"
# Whether or not this copy ships with the demonstration model: a test that wants one says so (embedded_stand_in.py).
os.environ["PAIRSMITH_EMBEDDED_MODEL"] = str(Path(_home.name) / "no-embedded.gguf")

# The same examples in every run, and no verdict of a clock: `make faults` draws new ones.
settings.register_profile(
    "same", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("new", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("same")

# Files of many seconds, so that none of them is begun when the others are done (`make test` gives out whole files).
_FIRST = (
    *("test_tui_hostile", "test_tui_train", "test_tui_chat", "test_tui_evaluate", "test_training_child"),
    *(
        "test_train_job",
        "test_evaluate_job",
        "test_cli_train",
        "test_tui_tour",
        "test_tui_flow",
        "test_tui_places",
    ),
    *("test_push_faults", "test_push", "test_generating", "test_pacing_server", "test_tui_first_run"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first."""
    order = {name: place for place, name in enumerate(_FIRST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A Hub of ours on loopback."""
    with Hub() as serving:
        yield serving


@pytest.fixture
def own_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in a folder of its own: keys pressed at random make workspaces where one stands."""
    monkeypatch.chdir(tmp_path_factory.mktemp("here"))
