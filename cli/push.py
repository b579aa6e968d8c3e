"""Upload the dataset, or with --model a tuned model, to the Hugging Face Hub: private unless you say --public and
confirm it, looked through for keys first, in one commit. A push that was cut is finished by the same command."""

from __future__ import annotations

import getpass
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from pairsmith.backends.text import one_line
from pairsmith.pairs.export_settings import ExportSettings
from pairsmith.pairs.hub_access import HubAccess, find_access, typed_token, with_token
from pairsmith.pairs.hub_names import check_repo
from pairsmith.pairs.hub_process import TIMEOUT_S
from pairsmith.pairs.pushing import Pushed, Staged, push, stage_dataset, stage_model, staging
from pairsmith.pairs.secret_scan import Scan, SecretsFound, own_keys
from pairsmith.pairs.store.workspace import Workspace

from .arguments import above_zero, add_choice, add_workspace
from .environment import Environment, present_judge, read_environment
from .opening import opened
from .output import Failed, counted, note, say
from .progress import Progress, progress
from .stopping import graceful

EXAMPLE = """
pairsmith push git.pairsmith me/git-instructions
pairsmith push git.pairsmith me/git-instructions --split --verdict accepted --licence cc-by-4.0 --preview
pairsmith push git.pairsmith me/git-helper --model newest
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The command's arguments."""
    add_workspace(parser)
    parser.add_argument("repo", metavar="OWNER/NAME", help="the repository; made where there is none")
    parser.add_argument(
        "--public", action="store_true", help="let everybody read it; asked a second time (default: private)"
    )
    parser.add_argument("--yes", action="store_true", help="with --public: this is the second yes")
    parser.add_argument(
        "--model",
        metavar="RUN",
        help="the tuned model of a training run (a number, or newest), not the dataset",
    )
    add_choice(parser)
    parser.add_argument(
        "--split", action="store_true", help="the workspace's train, validation and test, not train alone"
    )
    parser.add_argument(
        "--preview", action="store_true", help="only say what would be uploaded; ask no server"
    )
    parser.add_argument(
        "--allow-secrets", action="store_true", help="upload texts that look like keys all the same"
    )
    parser.add_argument(
        "--timeout",
        type=above_zero,
        default=TIMEOUT_S,
        metavar="SECONDS",
        help=f"how long the Hub may stay silent (default: {TIMEOUT_S:g})",
    )
    parser.add_argument("--env-file", metavar="PATH", help="read HF_TOKEN from this .env file")


def run(arguments: Namespace) -> int:
    """Push. Raises UsageError, SecretsFound, HubFailed; then no half repository is there."""
    check_repo(arguments.repo)
    if arguments.public and not (arguments.yes or arguments.preview or sys.stdin.isatty()):
        raise Failed(
            "--public needs a second yes, and nobody can be asked", 2, advice="Give --yes", kind="usage"
        )
    with opened(arguments, readonly=not arguments.split) as workspace:
        environment = read_environment(arguments, workspace)
        access = find_access(environment.env, local_only=workspace.local_only)
        with staging(environment.settings.home) as folder:
            scan = Scan(own_keys(environment.settings, access.token))
            with graceful() as stop, progress("prepare") as bar:
                staged = _stage(arguments, workspace, environment, folder, scan, bar, stop.check)
            if not (arguments.allow_secrets or arguments.preview):
                _refuse(arguments, scan)
            if arguments.preview:
                say(
                    arguments, lambda: _preview(arguments, staged, scan), _data(arguments, staged, scan, None)
                )
                return 0
            _confirm(arguments, staged)
            access = _with_token(access)
            with graceful() as stop, progress("push", unit="bytes") as bar:
                done = push(
                    staged,
                    access,
                    private=not arguments.public,
                    timeout_s=arguments.timeout,
                    tell=lambda what, sent, total: bar.update(sent, total or None, what),
                    note=lambda text: bar.say(f"the Hub: {text}"),
                    check=stop.check,
                )
    say(arguments, lambda: _lines(staged, done, scan), _data(arguments, staged, scan, done))
    return 0


def _stage(
    arguments: Namespace,
    workspace: Workspace,
    environment: Environment,
    folder: Any,
    scan: Scan,
    bar: Progress,
    check: Callable[[], None],
) -> Staged:
    if arguments.model is not None:
        name = None if arguments.model in ("newest", "") else arguments.model
        home = environment.settings.home
        licence = arguments.licence
        return stage_model(
            workspace, folder, arguments.repo, name, home, scan, licence=licence, tell=bar.update, check=check
        )
    settings = ExportSettings(
        verdict=arguments.verdict,
        where=arguments.where,
        judge=present_judge(workspace, environment),
        balance_topics=arguments.balance_topics,
        seed=arguments.seed,
        split=arguments.split,
        licence=arguments.licence,
    )
    return stage_dataset(workspace, folder, arguments.repo, settings, scan, progress=bar.update, check=check)


def _refuse(arguments: Namespace, scan: Scan) -> None:
    try:
        scan.refuse(str(arguments.workspace))
    except SecretsFound as found:
        for one in found.findings:
            note(f"secret: {one}")
        raise


def _confirm(arguments: Namespace, staged: Staged) -> None:
    if not arguments.public or arguments.yes:
        return
    note(f"everybody will be able to read {staged.said} at {arguments.repo}, and to keep a copy for ever")
    sys.stderr.write("type the name of the repository to publish it: ")
    sys.stderr.flush()
    if sys.stdin.readline().strip() != arguments.repo:
        raise Failed("not confirmed: nothing was uploaded", 1, advice="Without --public it is private")


def _with_token(access: HubAccess) -> HubAccess:
    """The token from the environment or the cached login, else typed where somebody can."""
    if access.token is not None:
        return access
    if not sys.stdin.isatty():
        raise Failed(
            "there is no token for the Hub",
            1,
            advice=f"Set HF_TOKEN (a token that may write: {access.tokens_page}), or run hf auth login",
            kind="unauthorized",
        )
    try:
        text = getpass.getpass(f"token for {access.endpoint} (not shown): ", stream=sys.stderr)
    except EOFError:
        text = ""
    return with_token(access, typed_token(text))


def _preview(arguments: Namespace, staged: Staged, scan: Scan) -> list[str]:
    seen = "everybody" if arguments.public else "nobody but you"
    lines = [
        f"would push {staged.said} to {arguments.repo}, readable by {seen} ({staged.size / 1e6:,.1f} MB):"
    ]
    lines += [f"  {one_line(file.name, 200)}  {file.size:,} bytes" for file in staged.files]
    if scan.total:
        lines.append(f"{counted(scan.total, 'secret')} in it:")
        lines += [f"  {finding}" for finding in scan.findings]
    return lines


def _lines(staged: Staged, done: Pushed, scan: Scan) -> list[str]:
    seen = "private" if done.private else "public"
    if done.changed:
        lines = [
            f"pushed {staged.said} to {one_line(done.url)} ({seen}, commit {one_line(done.commit[:12])})"
        ]
        lines.append(f"{done.sent / 1e6:,.1f} MB sent of {staged.size / 1e6:,.1f} MB")
    else:
        lines = [f"{one_line(done.url)} ({seen}) holds {staged.said} already: nothing was sent"]
    if scan.total:
        lines.append(f"{counted(scan.total, 'secret')} in it, allowed by --allow-secrets")
    if staged.repo_type == "dataset":
        lines.append(f'read it: datasets.load_dataset("{staged.repo}")')
    return lines


def _data(arguments: Namespace, staged: Staged, scan: Scan, done: Pushed | None) -> dict[str, Any]:
    report = staged.report
    return {
        "repo": staged.repo,
        "type": staged.repo_type,
        "private": not arguments.public,
        "preview": done is None,
        "files": [{"name": file.name, "bytes": file.size} for file in staged.files],
        "pairs": report.pairs if report else None,
        "verdicts": report.verdicts if report else None,
        "splits": dict(report.splits) if report else None,
        "secrets": [asdict(finding) for finding in scan.findings],
        **(asdict(done) if done is not None else {}),
    }
