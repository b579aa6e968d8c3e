"""Plays pip for the installer's tests: keeps a log, makes small wheels, unpacks them. Run as a program.

The wheels are real zip files, but what their `llama_cpp` does is decided by the flags that they were "built"
with: PLAN (a JSON file beside the log) says for a flag found in CMAKE_ARGS or CXXFLAGS whether the build fails
("no build"), dies when used ("dies"), hangs on to wrong tokens ("wrong") or works ("works": the package that is
installed in the tests' own environment is used).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import zipfile
from pathlib import Path

DIES = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n"
WRONG = """\
import ctypes
llama_token = ctypes.c_int32
llama_log_callback = lambda f: f
llama_log_set = lambda *a: None
llama_backend_init = lambda: None
llama_model_default_params = llama_context_default_params = lambda: type("P", (), {})()
llama_model_load_from_file = llama_init_from_model = lambda *a: 1
llama_model_get_vocab = lambda m: 1
llama_vocab_n_tokens = lambda v: 4
llama_batch_get_one = lambda *a: None
llama_decode = lambda *a: 0
llama_get_logits_ith = lambda *a: [0.0, 1.0, 0.0, 0.0]
llama_free = llama_model_free = lambda x: None
"""
PACKAGES = {"dies": DIES, "wrong": WRONG, "works": None}


def outcome(plan: dict[str, str]) -> str:
    flags = os.environ.get("CMAKE_ARGS", "") + " " + os.environ.get("CXXFLAGS", "")
    return next((what for flag, what in plan.items() if flag and flag in flags), plan.get("", "works"))


def write_wheel(folder: Path, what: str) -> None:
    with zipfile.ZipFile(folder / "llama_cpp_python-0.3.36-py3-none-any.whl", "w") as wheel:
        source = PACKAGES[what]
        wheel.writestr("built.txt", what)
        if source is not None:
            wheel.writestr("llama_cpp/__init__.py", source)


def main() -> int:
    home, verb, *rest = Path(sys.argv[1]), *sys.argv[2:]
    with (home / "pip.log").open("a", encoding="utf-8") as log:
        log.write(json.dumps({"verb": verb, "args": rest, "env": dict(os.environ)}) + "\n")
    plan = json.loads((home / "plan.json").read_text(encoding="utf-8"))
    if verb == "download":
        if "prebuilt" not in plan:
            print("ERROR: No matching distribution found for llama-cpp-python==0.3.36")
            return 1
        write_wheel(Path(rest[rest.index("--dest") + 1]), plan["prebuilt"])
    elif verb == "wheel":
        what = outcome(plan)
        if what == "no build":
            print("error: this compiler does not know these instructions")
            return 1
        write_wheel(Path(rest[rest.index("--wheel-dir") + 1]), what)
    elif verb == "install":
        if plan.get("torch") == "no cpu build" and any(word.endswith("+cpu") for word in rest):
            print(f"ERROR: No matching distribution found for {next(w for w in rest if w.endswith('+cpu'))}")
            return 1
        for word in rest:
            if word.endswith(".whl"):
                site = home / "site"
                shutil.rmtree(site, ignore_errors=True)
                zipfile.ZipFile(word).extractall(site)
    return 0


if __name__ == "__main__":
    sys.exit(main())
