"""What each verb of the command line does. Heavy parts are imported by the verbs that need them."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import TrainingError
from .events import CANCELLED, Control, Event, Printer, event

if TYPE_CHECKING:
    from .inference import Options, Speaker


def run(chosen: argparse.Namespace, printer: Printer, control: Control) -> int:
    """Run the chosen verb; the exit code. Raises TrainingError."""
    verb = globals()[f"_{chosen.verb.replace('-', '_')}"]
    code: int = verb(chosen, printer, control)
    return code


def _print_all(events: Iterable[Event], printer: Printer) -> int:
    code = 0
    for item in events:
        printer.write(item)
        if item["event"] == "done" and item.get("state") == "cancelled":
            code = CANCELLED
    return code


def _train(chosen: argparse.Namespace, printer: Printer, control: Control) -> int:
    from . import train

    if chosen.world_rank == 0 and chosen.folder.is_dir():
        printer.keep(chosen.folder / "events.jsonl")
    return _print_all(train.run(chosen.folder, chosen.resume, control, printer.write), printer)


def _options(chosen: argparse.Namespace) -> Options:
    from .generate import Sampling
    from .inference import Options

    checks = {"--max-new-tokens": chosen.max_new_tokens >= 1, "--batch": chosen.batch >= 1}
    checks |= {
        "--temperature": 0 <= chosen.temperature <= 100,
        "--top-p": chosen.top_p is None or 0 < chosen.top_p <= 1,
    }
    checks |= {"--top-k": chosen.top_k is None or chosen.top_k >= 1}
    for name, fine in checks.items():
        if not fine:
            raise TrainingError("config", f"{name} is out of range")
    sampling = Sampling(chosen.max_new_tokens, chosen.temperature, chosen.top_k, chosen.top_p, chosen.seed)
    return Options(
        device=chosen.device,
        precision=chosen.precision,
        threads=chosen.threads,
        models_dir=chosen.models_dir,
        offline=chosen.offline,
        style=chosen.prompt_style,
        header=chosen.header,
        rows=chosen.batch,
        sampling=sampling,
    )


def _heed(control: Control) -> None:
    """Between two pieces of work: stop if told to. Raises generate.Cancelled."""
    from .generate import Cancelled

    if control.cancel.is_set():
        raise Cancelled


def _speaker(chosen: argparse.Namespace, printer: Printer, control: Control | None = None) -> Speaker:
    """The model; with `control` its download, too, can be cancelled (raises generate.Cancelled)."""
    from . import inference

    def fetching(name: str, done: int, total: int) -> None:
        printer.write(event("progress", verb="fetch", file=name, done=done, total=total, unit="bytes"))
        if control is not None:
            _heed(control)

    speaker = inference.load(chosen.model, _options(chosen), progress=fetching)
    printer.write(
        event(
            "started",
            verb=chosen.verb,
            model=chosen.model,
            device=speaker.device.label,
            precision=speaker.device.precision,
            prompt_style=speaker.style.name,
            base_is_random=speaker.is_random,
            parameters=speaker.model.shape.parameters,
        )
    )
    return speaker


def _done(chosen: argparse.Namespace, printer: Printer, **fields: Any) -> int:
    printer.write(event("done", verb=chosen.verb, state="finished", **fields))
    return 0


def _cancelled(chosen: argparse.Namespace, printer: Printer) -> int:
    printer.write(event("done", verb=chosen.verb, state="cancelled"))
    return CANCELLED


def _evaluate(chosen: argparse.Namespace, printer: Printer, control: Control) -> int:
    from . import evaluate
    from .generate import Cancelled

    try:
        options = _options(chosen)
        events = evaluate.run(
            chosen.folder, chosen.model, chosen.name, chosen.choices, options, control, printer.write
        )
        return _print_all(events, printer)
    except Cancelled:
        return _cancelled(chosen, printer)


def _generate(chosen: argparse.Namespace, printer: Printer, control: Control) -> int:
    from . import atomic, data, inference
    from .generate import Answer, Cancelled

    pairs = data.read_prompts(chosen.prompts)
    speaker = _speaker(chosen, printer)
    done = 0

    def report(index: int, answer: Answer) -> None:
        nonlocal done
        done += 1
        fields = {
            "text": speaker.text(answer),
            "tokens": len(answer.tokens),
            "finish_reason": answer.finish_reason,
        }
        printer.write(event("response", id=pairs[index].id, **fields))
        printer.write(event("progress", done=done, total=len(pairs), unit="responses"))

    try:
        answers = inference.answer_all(speaker, pairs, _options(chosen), report, control.cancel.is_set)
    except Cancelled:
        return _cancelled(chosen, printer)
    lines = [
        json.dumps(
            {
                "id": pair.id,
                "instruction": pair.instruction,
                "input": pair.input,
                "output": pair.output,
                "model_response": speaker.text(answer),
                "tokens": len(answer.tokens),
                "finish_reason": answer.finish_reason,
            }
        )
        for pair, answer in zip(pairs, answers, strict=True)
    ]
    atomic.text(chosen.to, "\n".join([*lines, ""]))
    return _done(chosen, printer, path=str(chosen.to), n=len(pairs))


def _perplexity(chosen: argparse.Namespace, printer: Printer, control: Control) -> int:
    from .generate import Cancelled

    try:
        return _done(chosen, printer, **_measured(chosen, printer, control))
    except Cancelled:
        return _cancelled(chosen, printer)


def _measured(chosen: argparse.Namespace, printer: Printer, control: Control) -> dict[str, Any]:
    from . import data, evaluation_loss, metrics

    speaker = _speaker(chosen, printer, control)

    def report(unit: str, total: int, before: int, done: int) -> None:
        printer.write(event("progress", done=before + done, total=total, unit=unit))
        _heed(control)

    _heed(control)
    if chosen.text:
        if chosen.stride < 1:
            raise TrainingError("config", "--stride is out of range")
        try:
            text = chosen.file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TrainingError("data", f"{chosen.file.name}: cannot be read: {error}") from error
        loss, count = metrics.perplexity_of_text(
            speaker.model,
            speaker.vocabulary.encode(text),
            chosen.stride,
            lambda done, total: report("windows", total, 0, done),
        )
        return {"perplexity": _exp(loss), "nll": loss, "tokens": count}
    found: dict[str, Any] = {}
    pairs = data.read_pairs(chosen.file)
    for number, (name, masked) in enumerate((("response", True), ("text", False))):
        examples = data.examples(
            pairs, speaker.vocabulary, speaker.style, speaker.model.shape.context, masked
        )
        sums = evaluation_loss.sums(
            speaker.model,
            examples,
            partial(report, "examples", 2 * len(pairs), number * len(pairs)),
        )
        count = sum(labels for _, labels in sums)
        loss = sum(total for total, _ in sums) / count if count else math.nan
        found |= {name: _exp(loss), f"nll_{name}": loss, f"tokens_{name}": count}
    return found


def _exp(loss: float) -> float:
    return math.exp(min(loss, 700.0)) if math.isfinite(loss) else math.nan


def _choices(chosen: argparse.Namespace, printer: Printer, control: Control) -> int:
    from . import metrics
    from .generate import Cancelled

    questions = metrics.read_questions(chosen.file)

    def report(done: int) -> None:
        printer.write(event("progress", done=done, total=len(questions), unit="questions"))
        _heed(control)

    try:
        speaker = _speaker(chosen, printer, control)
        _heed(control)
        found = metrics.choose(speaker.model, speaker.vocabulary, questions, report)
    except Cancelled:
        return _cancelled(chosen, printer)
    return _done(chosen, printer, **metrics.accuracy(questions, found))


def _chat(chosen: argparse.Namespace, printer: Printer, control: Control) -> int:
    from . import chat

    speaker = _speaker(chosen, printer)
    chat.serve(speaker, _options(chosen), sys.stdin, control, printer.write)
    return _cancelled(chosen, printer) if control.cancel.is_set() else _done(chosen, printer)


def _export(chosen: argparse.Namespace, printer: Printer, control: Control) -> int:
    from . import export
    from .generate import Cancelled

    if chosen.format not in export.FORMATS:
        raise TrainingError(
            "config", f"no format {chosen.format!r}", f"Formats are: {', '.join(export.FORMATS)}."
        )

    def report(done: int, total: int) -> None:
        printer.write(event("progress", done=done, total=total, unit="tensors"))
        _heed(control)

    try:
        speaker = _speaker(chosen, printer, control)
        _heed(control)
        # An exported model goes to other people, whom a path of this machine does not concern.
        base = Path(speaker.name).name if Path(speaker.name).is_absolute() else speaker.name
        notes = {"prompt_style": speaker.style.name, "base": base}
        files = export.write(speaker, chosen.to, chosen.format, chosen.name, notes, report)
    except Cancelled:
        return _cancelled(chosen, printer)
    return _done(chosen, printer, files=[str(path) for path in files], format=chosen.format)


def _show_batch(chosen: argparse.Namespace, printer: Printer, _control: Control) -> int:
    from . import setup, show

    job = setup.prepare(chosen.folder, train=False)
    batch = show.first_batch(job)
    if chosen.json:
        return _done(chosen, printer, batch=batch)
    printer.plain(show.as_text(batch, job) + "\n")
    return 0


def _estimate(chosen: argparse.Namespace, printer: Printer, _control: Control) -> int:
    from . import setup, train

    job = setup.prepare(chosen.folder, train=False)
    item = train.started(job, None)
    for name in ("v", "event", "time", "verb"):
        item.pop(name)
    return _done(chosen, printer, **item)


def _devices(chosen: argparse.Namespace, printer: Printer, _control: Control) -> int:
    from . import devices

    return _done(chosen, printer, devices=devices.describe())


def _inspect(chosen: argparse.Namespace, printer: Printer, _control: Control) -> int:
    speaker = _speaker(chosen, printer)
    return _done(
        chosen,
        printer,
        shape=speaker.model.shape.as_json(),
        parameters=speaker.model.shape.parameters,
        vocabulary={"name": speaker.vocabulary.name, "tokens": len(speaker.vocabulary)},
        prompt_style=speaker.style.name,
        base_is_random=speaker.is_random,
    )


def _fetch(chosen: argparse.Namespace, printer: Printer, _control: Control) -> int:
    from . import bases

    def report(name: str, done: int, total: int) -> None:
        printer.write(event("progress", verb="fetch", file=name, done=done, total=total, unit="bytes"))

    path = bases.locate(chosen.name, chosen.models_dir, False, report)
    return _done(chosen, printer, path=str(path))


def _interval(chosen: argparse.Namespace, printer: Printer, _control: Control) -> int:
    try:
        values = json.loads(sys.stdin.read())
        many = values.get("many")
        found = {name: _compared(name, numbers) for name, numbers in (many or {"stdin": values}).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError("config", f'stdin: not {{"a": [numbers], "b": [numbers]}}: {error}') from error
    return _done(chosen, printer, **({"many": found} if many is not None else found["stdin"]))


def _compared(name: str, values: dict[str, Any]) -> dict[str, Any]:
    from . import statistics

    first = [float(number) for number in values["a"]]
    second = [float(number) for number in values["b"]] if values.get("b") is not None else None
    fields: dict[str, Any] = {"a": statistics.interval(first).as_json()}
    if second is not None:
        if len(second) != len(first):
            raise TrainingError("config", f"{name}: {len(first)} numbers in a, {len(second)} in b")
        fields["b"] = statistics.interval(second).as_json()
        fields["paired"] = statistics.paired(first, second).as_json()
    return fields


def _report(chosen: argparse.Namespace, printer: Printer, _control: Control) -> int:
    from . import report

    return _done(chosen, printer, files=[str(path) for path in report.write(Path(chosen.folder))])
