"""Pushing to the Hugging Face Hub from the Export place: what, where to, who may read it; keys looked for first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pairsmith.backends.text import one_line
from pairsmith.pairs.errors import PairsmithError
from pairsmith.pairs.export_settings import ExportSettings, check_licence

from ..widgets.meters import size
from ..working import begin
from .ask import AskYes, Choice, FormScreen, Text, Values
from .progress import Check, ProgressScreen, Tell

if TYPE_CHECKING:
    from pairsmith.pairs.hub_access import HubAccess
    from pairsmith.pairs.pushing import Pushed, Staged
    from pairsmith.pairs.secret_scan import Scan

    from ..app import PairsmithApp

Show = Callable[[Sequence[str]], None]
"""Shows what came of it."""
_MOST_RUNS = 20
_SHOWN = 6


async def push_form(app: PairsmithApp, chosen: ExportSettings, show: Show) -> FormScreen:
    """Repository, dataset or model, private or public. `chosen`: which pairs."""
    from pairsmith.pairs.store.runs import list_runs

    workspace = app.session.workspace
    assert workspace is not None
    runs = await workspace.aread(lambda conn: list_runs(conn, "train"))
    done = [run for run in runs if run.state == "done"][:_MOST_RUNS]

    async def do(values: Values) -> str | None:
        from pairsmith.pairs.hub_access import find_access
        from pairsmith.pairs.hub_names import check_repo

        repo = check_repo(values["repo"].strip())
        surroundings = await app.session.surroundings()
        access = await asyncio.to_thread(find_access, surroundings.env, local_only=workspace.local_only)
        pairs = replace(chosen, split=values["split"] == "three", licence=values["licence"].strip())
        check_licence(pairs.licence)
        begin(app, _push, app, repo, values["what"], values["seen"] == "public", pairs, access, show)
        return None

    fields: list[Text | Choice] = [
        Text("repo", "repository", "", "OWNER/NAME on the Hub; made where there is none"),
        Choice(
            "what",
            "what",
            [
                ("dataset", "the pairs that are chosen here"),
                *((str(run.id), f"the model of training run {run.id}") for run in done),
            ],
        ),
        Choice(
            "split",
            "splits",
            (("train", "train alone"), ("three", "train, validation and test, as the workspace splits them")),
            "three" if chosen.split else "train",
        ),
        Choice("seen", "readable by", (("private", "nobody but you"), ("public", "everybody"))),
        Text("licence", "licence", chosen.licence, "for the card, such as cc-by-4.0; empty: not stated"),
    ]
    return FormScreen("Push to the Hugging Face Hub", fields, do, hint="enter prepares it   esc leaves")


async def _push(
    app: PairsmithApp,
    repo: str,
    what: str,
    public: bool,
    chosen: ExportSettings,
    access: HubAccess,
    show: Show,
) -> None:
    """Stage, look for keys, ask, upload. Call it in a worker."""
    from pairsmith.pairs.pushing import staging
    from pairsmith.pairs.secret_scan import Scan, own_keys

    settings = (await app.session.surroundings()).settings
    scan = Scan(await asyncio.to_thread(own_keys, settings, access.token))
    with ExitStack() as stack:
        try:
            folder = await asyncio.to_thread(stack.enter_context, staging(settings.home))
        except (PairsmithError, OSError) as error:
            app.notify(str(error), severity="error")
            return
        staged = await _staged(app, repo, what, chosen, folder, scan)
        if staged is None or not await _agreed(app, staged, scan, public):
            return
        ready = await _with_token(app, access)
        if ready is None:
            return
        done = await _sent(app, staged, ready, private=not public)
    if done is not None:
        seen = "public" if public else "private"
        if done.changed:
            show([f"✓ {staged.said} to {done.url} ({seen}, {size(done.sent)} sent)"])
        else:
            show([f"✓ {done.url} ({seen}) holds {staged.said} already"])


async def _staged(
    app: PairsmithApp, repo: str, what: str, chosen: ExportSettings, folder: Path, scan: Scan
) -> Staged | None:
    from pairsmith.pairs.pushing import stage_dataset, stage_model

    workspace = app.session.workspace
    assert workspace is not None
    home = (await app.session.surroundings()).settings.home

    def work(tell: Tell, check: Check) -> Staged:
        if what == "dataset":
            return stage_dataset(workspace, folder, repo, chosen, scan, progress=tell, check=check)
        return stage_model(
            workspace, folder, repo, what, home, scan, licence=chosen.licence, tell=tell, check=check
        )

    preparing: ProgressScreen[Staged] = ProgressScreen(f"Preparing {one_line(repo, 60)}", work)
    return await app.push_screen_wait(preparing)


async def _agreed(app: PairsmithApp, staged: Staged, scan: Scan, public: bool) -> bool:
    """Whether it may go: past what looks like keys, and past the second question where everybody may read it."""
    if scan.total:
        shown = [str(finding) for finding in scan.findings[:_SHOWN]]
        if scan.total > _SHOWN:
            shown.append(f"and {scan.total - _SHOWN:,} more")
        shown.append("Leave it, and edit or reject them in Review; and take back the keys that are real.")
        heading = f"{scan.total:,} {'secret' if scan.total == 1 else 'secrets'} would be uploaded"
        if not await app.push_screen_wait(
            AskYes(heading, shown, yes="upload them all the same", no="leave it")
        ):
            return False
    if not public:
        return True
    lines = [
        f"Everybody will be able to read {staged.said} at {staged.repo},",
        "and to keep a copy of it for ever.",
    ]
    asking = AskYes("Let everybody read it?", lines, yes="publish it", no="leave it")
    return await app.push_screen_wait(asking)


async def _with_token(app: PairsmithApp, access: HubAccess) -> HubAccess | None:
    if access.token is not None:
        return access
    from pairsmith.pairs.hub_access import typed_token, with_token

    found: list[HubAccess] = []

    async def do(values: Values) -> str | None:
        found.append(with_token(access, typed_token(values["token"])))
        return None

    intro = f"A token that may write, from {access.tokens_page}. It is used this once and kept nowhere."
    form = FormScreen("A token for the Hub", [Text("token", "token", secret=True)], do, intro=intro)
    return found[0] if await app.push_screen_wait(form) and found else None


async def _sent(app: PairsmithApp, staged: Staged, access: HubAccess, *, private: bool) -> Pushed | None:
    from pairsmith.pairs.pushing import push

    def work(tell: Tell, check: Check) -> Pushed:
        return push(
            staged,
            access,
            private=private,
            tell=lambda _what, done, total: tell(done, total),
            check=check,
        )

    sending: ProgressScreen[Pushed] = ProgressScreen(f"Pushing {one_line(staged.repo, 60)}", work, "bytes")
    return await app.push_screen_wait(sending)
