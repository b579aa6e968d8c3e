"""Ready-to-use configurations for other trainers, in a folder beside an export: the usual next steps after GPT-2 are
Gemma 2 2B and Llama 3.1 8B, by Axolotl, LLaMA-Factory, LitGPT or TRL.

All paths are relative to the folder that holds the export, in which the commands are run. The numbers are those that
people begin with for LoRA on a few thousand pairs; they are the user's to change.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pairsmith.backends.text import one_line

from .errors import PairsmithError, UsageError
from .export_formats import FORMATS, json_text
from .published import published

ALL = "all"


@dataclass(frozen=True, slots=True)
class _Model:
    """A model by its names: the plain one, the one that learned to chat, and how trainers call its chat template."""

    name: str
    base: str
    chat: str
    axolotl: str
    llama_factory: str
    litgpt: str
    end_of_turn: str
    pad: str


_MODELS = (
    _Model(
        "gemma-2-2b",
        "google/gemma-2-2b",
        "google/gemma-2-2b-it",
        "gemma",
        "gemma2",
        "google/gemma-2-2b",
        "<end_of_turn>",
        "<pad>",
    ),
    _Model(
        "llama-3.1-8b",
        "meta-llama/Llama-3.1-8B",
        "meta-llama/Llama-3.1-8B-Instruct",
        "llama3",
        "llama3",
        "meta-llama/Meta-Llama-3.1-8B",
        "<|eot_id|>",
        "<|finetune_right_pad_id|>",
    ),
)


@dataclass(frozen=True, slots=True)
class _Export:
    """What is trained on: the file's name, its format, and the folder of the configurations."""

    file: str
    format: str
    folder: str

    def output(self, trainer: str, model: _Model) -> str:
        """Where a trainer writes."""
        return f"{self.folder}/out-{trainer}-{model.name}"


@dataclass(frozen=True, slots=True)
class _Trainer:
    """`formats`: what it reads as it is exported; `suffixes`: it knows a file by its ending. `files`: name -> text."""

    formats: tuple[str, ...]
    suffixes: bool
    files: Callable[[_Export], Mapping[str, str]]
    command: str
    """With {config} for a configuration's path."""


def _axolotl(export: _Export) -> Mapping[str, str]:
    preferences = export.format == "dpo"
    own_prompt = export.format in _ALPACA
    files = {}
    for model in _MODELS:
        data: dict[str, Any] = {
            "path": export.file,
            "ds_type": "parquet" if export.format == "parquet" else "json",
        }
        if own_prompt:
            data["type"] = "alpaca"
        elif preferences:
            data |= {"type": "chat_template.default", "field_messages": "prompt", "split": "train"}
            data |= {"field_chosen": "chosen", "field_rejected": "rejected"}
        elif export.format == "sharegpt":
            data |= {"type": "chat_template", "field_messages": "conversations"}
            data["message_property_mappings"] = {"role": "from", "content": "value"}
        else:
            data |= {"type": "chat_template", "field_messages": "messages"}
        settings: dict[str, Any] = {"base_model": model.base if own_prompt else model.chat}
        if preferences:
            settings["rl"] = "dpo"
        settings["datasets"] = [data]
        if not own_prompt:
            settings |= {"chat_template": model.axolotl, "eot_tokens": [model.end_of_turn]}
        settings |= {"special_tokens": {"pad_token": model.pad}}
        settings |= {"val_set_size": 0.0 if preferences else 0.05, "train_on_inputs": False}
        settings |= {"adapter": "lora", "lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.05}
        settings |= {"lora_target_linear": True, "sequence_len": 2048, "micro_batch_size": 1}
        settings |= {"gradient_accumulation_steps": 16, "num_epochs": 3, "optimizer": "adamw_torch"}
        settings |= {"lr_scheduler": "cosine", "learning_rate": _rate(export), "warmup_ratio": 0.03}
        settings |= {"bf16": "auto", "gradient_checkpointing": True, "logging_steps": 10, "seed": 42}
        settings["output_dir"] = export.output("axolotl", model)
        files[f"axolotl-{model.name}.yaml"] = _yaml(settings)
    return files


def _llama_factory(export: _Export) -> Mapping[str, str]:
    about: dict[str, Any] = {"file_name": f"../{export.file}", "formatting": "alpaca"}
    if export.format in _ALPACA:
        about["columns"] = {"prompt": "instruction", "query": "input", "response": "output"}
    elif export.format == "sharegpt":
        about |= {"formatting": "sharegpt", "columns": {"messages": "conversations"}}
    else:
        about |= {"formatting": "sharegpt", "columns": {"messages": "messages"}}
        about["tags"] = {"role_tag": "role", "content_tag": "content"}
        about["tags"] |= {"user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}
    files = {"dataset_info.json": json.dumps({"pairsmith": about}, indent=2, ensure_ascii=False) + "\n"}
    for model in _MODELS:
        settings: dict[str, Any] = {"model_name_or_path": model.chat, "template": model.llama_factory}
        settings |= {"stage": "sft", "do_train": True, "dataset": "pairsmith", "dataset_dir": export.folder}
        settings |= {"cutoff_len": 2048, "val_size": 0.05, "eval_strategy": "epoch"}
        settings |= {"finetuning_type": "lora", "lora_target": "all", "lora_rank": 16, "lora_alpha": 32}
        settings |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 16}
        settings |= {"num_train_epochs": 3.0, "learning_rate": _rate(export), "lr_scheduler_type": "cosine"}
        settings |= {"warmup_ratio": 0.03, "bf16": True, "logging_steps": 10, "seed": 42}
        settings["output_dir"] = export.output("llama-factory", model)
        files[f"llama-factory-{model.name}.yaml"] = _yaml(settings)
    return files


def _litgpt(export: _Export) -> Mapping[str, str]:
    files = {}
    for model in _MODELS:
        data = {"json_path": export.file, "mask_prompt": True, "val_split_fraction": 0.05}
        data |= {"prompt_style": "alpaca", "seed": 42, "num_workers": 4}
        optimizer = {"lr": _rate(export), "weight_decay": 0.0, "betas": [0.9, 0.95]}
        settings: dict[str, Any] = {"checkpoint_dir": model.litgpt, "out_dir": export.output("litgpt", model)}
        settings |= {"precision": "bf16-true", "lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.05}
        settings |= {"lora_key": True, "lora_projection": True, "lora_mlp": True}
        settings["data"] = {"class_path": "litgpt.data.JSON", "init_args": data}
        settings["train"] = {"epochs": 3, "global_batch_size": 16, "micro_batch_size": 1}
        settings["train"] |= {"lr_warmup_steps": 10, "max_seq_length": 2048, "save_interval": 1000}
        settings["optimizer"] = {"class_path": "torch.optim.AdamW", "init_args": optimizer}
        settings["seed"] = 42
        files[f"litgpt-{model.name}.yaml"] = _yaml(settings)
    return files


def _trl(export: _Export) -> Mapping[str, str]:
    columns = {"messages": ["messages"], "prompt-completion": ["prompt", "completion"]}
    files = {}
    for model in _MODELS:
        data = {"path": "json", "data_files": export.file, "split": "train"}
        settings: dict[str, Any] = {"model_name_or_path": model.chat, "dtype": "bfloat16"}
        settings["datasets"] = [
            data | {"columns": columns.get(export.format, ["prompt", "chosen", "rejected"])}
        ]
        settings |= {"use_peft": True, "lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.05}
        settings |= {"lora_target_modules": ["all-linear"], "max_length": 2048}
        settings |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 16}
        settings |= {"gradient_checkpointing": True, "bf16": True, "num_train_epochs": 3.0}
        settings |= {
            "learning_rate": _rate(export),
            "lr_scheduler_type": "cosine",
            "logging_steps": 10,
            "seed": 42,
        }
        settings["output_dir"] = export.output("trl", model)
        files[f"trl-{model.name}.yaml"] = _yaml(settings)
    return files


_ALPACA = ("alpaca", "jsonl", "parquet")
_TRAINERS: Mapping[str, _Trainer] = {
    "axolotl": _Trainer((*_ALPACA, "messages", "sharegpt", "dpo"), False, _axolotl, "axolotl train {config}"),
    "llama-factory": _Trainer(
        (*_ALPACA, "messages", "sharegpt"), True, _llama_factory, "llamafactory-cli train {config}"
    ),
    "litgpt": _Trainer(("alpaca", "jsonl"), True, _litgpt, "litgpt finetune_lora --config {config}"),
    "trl": _Trainer(("messages", "prompt-completion", "dpo"), False, _trl, "trl {task} --config {config}"),
}
TRAINERS = (*_TRAINERS, ALL)
"""What can be asked for."""


def trainers_folder(path: Path) -> Path:
    """Where the configurations of an export lie."""
    return path.with_name(f"{path.name}.trainers")


def readers(format: str) -> tuple[str, ...]:  # noqa: A002 - what it is
    """The trainers that read a format as it is exported."""
    return tuple(name for name, trainer in _TRAINERS.items() if format in trainer.formats)


def check_trainers(path: Path, format: str, wanted: Sequence[str]) -> tuple[str, ...]:  # noqa: A002 - what it is
    """The trainers that are meant, before anything is written.

    Raises UsageError for one that cannot read the format, and where a configuration was changed by hand.
    """
    names = [name for name in _TRAINERS if name in wanted or ALL in wanted]
    for name in wanted:
        if name != ALL and format not in _TRAINERS[name].formats:
            raise UsageError(
                f"{name} does not read the format {format} as it is exported",
                f"It reads {', '.join(_TRAINERS[name].formats)}: give --format with one of them",
            )
    names = [name for name in names if name in readers(format)]
    if wanted and not names:
        raise UsageError(
            f"no trainer reads the format {format} as it is exported",
            "alpaca and messages are what most of them read: give --format with one of them",
        )
    suffix = FORMATS[format].suffix
    if any(_TRAINERS[name].suffixes for name in names) and path.suffix != suffix:
        told = " and ".join(name for name in names if _TRAINERS[name].suffixes)
        raise UsageError(
            f"{told} would not know {one_line(path.name)} for what it is",
            f"They go by a file's ending: name it {one_line(path.stem)}{suffix}",
        )
    if names and any(char in path.name for char in "*?[]"):
        raise UsageError(
            f"trainers would take {one_line(path.name)} for a pattern", "Name the file without * ? [ ]"
        )
    if names and path.name != path.name.encode("utf-8", "replace").decode():
        raise UsageError(
            f"trainers would not find {one_line(path.name)}: its name is not UTF-8", "Name it otherwise"
        )
    for file, text in _texts(path, format, names).items():
        _refuse_changed(file, text)
    return tuple(names)


def write_trainers(path: Path, format: str, names: Sequence[str]) -> list[Path]:  # noqa: A002 - what it is
    """Write the configurations of these trainers for an export (`check_trainers` said which). Returns their paths.

    Raises PairsmithError.
    """
    texts = _texts(path, format, names)
    if not texts:
        return []
    folder = trainers_folder(path)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise PairsmithError(
            f"{one_line(str(folder))} cannot be made: {one_line(error.strerror or str(error))}"
        ) from error
    for file, text in texts.items():
        with published(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as opened:
            opened.write(text)
            opened.flush()
            os.fsync(opened.fileno())
    return list(texts)


def _texts(path: Path, form: str, names: Sequence[str]) -> dict[Path, str]:
    folder = trainers_folder(path)
    export = _Export(path.name, form, folder.name)
    return {
        folder / name: text for trainer in names for name, text in _TRAINERS[trainer].files(export).items()
    } | ({folder / "README.md": _readme(export, names)} if names else {})


def _refuse_changed(file: Path, text: str) -> None:
    try:
        present = file.read_text(encoding="utf-8") if file.exists() else text
    except (OSError, ValueError):
        present = None
    if present != text and file.name != "README.md":
        raise UsageError(
            f"{one_line(str(file))} is there and is not what would be written",
            "It may have been changed by hand: move it away, or leave --trainer out",
        )


def _readme(export: _Export, names: Sequence[str]) -> str:
    lines = [
        "# Training on this export\n",
        f"Run these in the folder that holds `{export.file}`. Each trainer is installed by its own instructions; "
        "Gemma and Llama are downloaded from the Hugging Face Hub after their terms were accepted there. "
        "LoRA on Gemma 2 2B wants about 10 GB of GPU memory, on Llama 3.1 8B about 24 GB.\n",
    ]
    task = "dpo" if export.format == "dpo" else "sft"
    for name in names:
        lines += [f"## {name}\n", "```"]
        for model in _MODELS:
            config = f"{export.folder}/{name}-{model.name}.yaml"
            lines.append(_TRAINERS[name].command.format(config=_quoted(config), task=task))
        lines.append("```\n")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


def _rate(export: _Export) -> float:
    return 0.000005 if export.format == "dpo" else 0.0002


def _yaml(settings: Mapping[str, Any], indent: str = "") -> str:
    """Block YAML of mappings, lists and scalars; a text is quoted as JSON has it, which is YAML too."""
    text = ""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            text += f"{indent}{key}:\n{_yaml(value, indent + '  ')}"
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            text += f"{indent}{key}:\n"
            for item in value:
                text += f"{indent}  - {_yaml(item, indent + '    ').lstrip()}"
        else:
            text += f"{indent}{key}: {_scalar(value)}\n"
    return text


def _scalar(value: Any) -> str:
    if isinstance(value, float):
        # YAML 1.1 takes 5e-06 for a text.
        return f"{value:f}".rstrip("0") + ("0" if f"{value:f}".rstrip("0").endswith(".") else "")
    if isinstance(value, list):
        return "[" + ", ".join(map(_scalar, value)) + "]"
    return json_text(value)
