"""What every test stands on: none of them sees the user's keys, settings, models or keyring."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

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
