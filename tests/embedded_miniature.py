"""A miniature of the embedded model, and commands of ours that can reach nothing but this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pairsmith.backends.llama_cpp.catalogue import EMBEDDED_ELSEWHERE
from tools.embedded import train
from tools.embedded.making import MINIATURE, Corpus
from tools.embedded.steps import Share

from . import embedded_corpus as corpus
from .command_line import COMMAND, Ran

SHARES = {"response": Share(500, 0.5), "list": Share(400, 0.25), "judge": Share(400, 0.25)}
CORPUS = Corpus(corpus.drawn, corpus.drawn, SHARES)
SHIPPED = Path(__file__).resolve().parents[1] / "assets" / "embedded.gguf"
GUARD = """
import os, socket
def near(address):
    return str(address[0]).startswith(("127.", "::1", "localhost"))
def told(what):
    with open(os.environ["GUARD_LOG"], "a") as file:
        file.write(f"{what!r}\\n")
    raise OSError("no network in this test")
def guarded(real):
    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and not near(address):
            told(address)
        return real(self, address)
    return connect
socket.socket.connect = guarded(socket.socket.connect)
socket.socket.connect_ex = guarded(socket.socket.connect_ex)
look_up = socket.getaddrinfo
def getaddrinfo(host, *rest, **more):
    if host is not None and not near((host if isinstance(host, str) else host.decode(),)):
        told(host)
    return look_up(host, *rest, **more)
socket.getaddrinfo = getaddrinfo
"""
"""`sitecustomize.py`: a Python process that finds it connects to this machine alone, and notes what else it would."""


def trained(folder: Path, steps: int = 80) -> train.Trainer:
    """Trained in seconds."""
    torch.set_num_threads(1)
    return train.run(folder, MINIATURE, CORPUS, steps=steps)


class Alone:
    """Runs commands with a guard on every child's sockets, and without any network where the system allows that."""

    def __init__(self, folder: Path, gguf: Path) -> None:
        guard = folder / "guard"
        guard.mkdir()
        (guard / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
        self.log = folder / "reached"
        self.log.touch()
        self.env = {
            **os.environ,
            EMBEDDED_ELSEWHERE: str(gguf),
            "PAIRSMITH_HOME": str(folder / "home"),
            "PYTHONPATH": str(guard),
            "GUARD_LOG": str(self.log),
            "OLLAMA_HOST": "http://127.0.0.1:9",
        }
        self.prefix = ["unshare", "-rn"] if _may_unshare() else []

    def run(self, *words: object) -> Ran:
        """Run the installed command and wait for it."""
        command = [*self.prefix, str(COMMAND), *map(str, words)]
        done = subprocess.run(
            command,
            capture_output=True,
            encoding="utf-8",
            env=self.env,
            stdin=subprocess.DEVNULL,
            timeout=300,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def must(self, *words: object) -> Ran:
        """As `run`; it must succeed."""
        ran = self.run(*words)
        assert ran.code == 0, (words, ran.code, ran.out[-2000:], ran.err[-2000:])
        return ran

    def kill_when(self, ready: Callable[[], bool], *words: object) -> None:
        """Start a command and SIGKILL it as soon as `ready` says so; it must not have ended before."""
        command = [*self.prefix, str(COMMAND), *map(str, words)]
        none = subprocess.DEVNULL
        process = subprocess.Popen(command, env=self.env, stdin=none, stdout=none, stderr=none)
        until = time.monotonic() + 300
        while process.poll() is None and not ready():
            assert time.monotonic() < until
            time.sleep(0.05)
        process.kill()
        assert process.wait() == -signal.SIGKILL

    @property
    def reached(self) -> list[str]:
        """What was reached for beyond this machine."""
        return self.log.read_text(encoding="utf-8").splitlines()


def _may_unshare() -> bool:
    found = shutil.which("unshare")
    return found is not None and subprocess.run([found, "-rn", "true"], capture_output=True).returncode == 0
