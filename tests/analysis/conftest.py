"""Complete run records with predictions, as the suite writes them, for any method, column and seed."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score

from analysis.statistics import Interval, example_intervals
from schema.identity import VERSION as IDENTITY
from schema.identity import run_id
from schema.marks import hashed
from schema.run import RunSpec

RecordWriter = Callable[..., Path]

_RECIPE = {
    "name": "gpart/minilm-l6/glue/sst2",
    "epochs": 3,
    "batch_size": 32,
    "eval_batch_size": 64,
    "learning_rate": 0.005,
    "head_learning_rate": 0.001,
    "weight_decay": 0.1,
    "warmup_ratio": 0.06,
    "schedule": "linear",
    "max_grad_norm": 0.0,
    "dropout": 0.1,
    "group_by_length": False,
    "sources": {"all": "a search"},
}
_HARDWARE = {
    "processor": "a processor",
    "instruction_set": "AVX2",
    "cores": 2,
    "memory_bytes": 2**33,
    "accelerator": None,
    "platform": "a platform",
}
_METHODS: dict[str, dict[str, Any]] = {
    "gpart": {"capacity": "d", "config": {"_target_": "gpart.GPartConfig", "scheme": "hash"}},
    "unilora": {"capacity": "theta_d_length", "config": {"_target_": "peft.UniLoraConfig", "r": 4}},
    "lora": {"capacity": None, "config": {"_target_": "peft.LoraConfig", "r": 8, "lora_alpha": 8}},
    "full": {"capacity": None, "config": {"_target_": "baselines.FullFineTuning"}},
    "head": {"capacity": None, "config": {"_target_": "baselines.HeadOnly"}},
}
_THETA = {"lora": 147_456, "full": 22_713_216, "head": 0}


def record(
    method: str = "gpart",
    seed: int = 0,
    task: str = "glue/sst2",
    source: str = "local",
    subset: str = "full",
    protocol: str = "heldout",
    track: str = "equal_budget",
    metric: str = "accuracy",
    score: float | None = 0.8,
    outcome: str = "ok",
    d: int = 4608,
    **changes: Any,
) -> dict[str, Any]:
    """A record of schema 2; `changes` set dotted keys, with `__` for a dot, after everything but identity and id."""
    seeds = dict.fromkeys(("partition", "init", "head", "data", "split"), seed)
    entry = {"name": method, "result_version": 1, "decay_vectors": method == "gpart", **_METHODS[method]}
    entry["config"] = dict(entry["config"])
    if entry["capacity"]:
        entry["config"] |= {entry["capacity"]: d, ("seed" if method == "gpart" else "proj_seed"): seed}
    rows = next(map(int, re.findall(r"\d+", subset)), None)
    config = {
        "seed": seed,
        "plan": False,
        "test": True,
        "rerun": False,
        "outputs": f"outputs-{seed}",
        "isolation": "process",
        "local": None,
        "threads": None,
        "hub_timeout": 10,
        "keep_checkpoint": True,
        "track": track,
        "trainer_version": 1,
        "seeds": seeds,
        "method": entry,
        "task": {"name": task.removeprefix("embedded/"), "family": "glue", "metrics": [metric]},
        "data": {"source": source, "path": "data", "train_rows": rows, "test_rows": None},
        "backbone": {"name": "minilm-l6", "source": "local", "path": "weights", "pooling": "mean", "max_length": 128},
        "recipe": dict(_RECIPE),
        "protocol": {"name": protocol},
        "logger": {"wandb": "offline", "project": "gpart", "entity": None},
    }
    scores = {metric: score}
    ended_well = outcome == "ok"
    theta = _THETA.get(method, d)
    entry_record = {
        "schema": 2,
        "key": {
            "task": task,
            "source": source,
            "subset": subset,
            "backbone": "minilm-l6",
            "protocol": protocol,
            "track": track,
            "metric": metric,
        },
        "outcome": outcome,
        "error": None if ended_well else {"type": "Stopped", "message": "the loss\nis not finite"},
        "config": config,
        "protocol": protocol,
        "track": track,
        "metrics": {
            "primary": metric if ended_well else None,
            "selection": scores if ended_well else None,
            "test": scores if ended_well and protocol == "heldout" else None,
        },
        "history": {"steps": [], "epochs": [], "best_epoch": 3},
        "sizes": {"trainable": theta + 770, "theta": theta, "head": 770, "adapted_weights": 1_769_472},
        "cost": {"load_seconds": 1.0, "train_seconds": 60.0},
        "seeds": seeds,
        "round_trip": {},
        "diagnostics": {},
        "artifacts": [],
        "provenance": {
            "git_sha": "0123456789abcdef0123456789abcdef01234567",
            "git_dirty": False,
            "packages": {"python": "3.11.2", "torch": "2.13.0"},
            "hardware": dict(_HARDWARE),
            "threads": 2,
            "data_fingerprint": {"train": f"train-{seed}", "selection": f"selection-{seed}", "test": "test"},
            "data_reference": {"sha256": {"train.parquet": "11", "validation.parquet": "22"}},
            "backbone_reference": {"sha256": {"model.safetensors": "33"}},
        },
    }
    for key, value in changes.items():
        *parents, last = key.split("__")
        target = entry_record
        for name in parents:
            target = target[name]
        target[last] = value
    config["seeds"] = entry_record["seeds"]
    if config["backbone"].get("image_size"):
        entry_record["key"]["backbone"] += f"@{config['backbone']['image_size']}"
    return identified(entry_record)


def identified(content: dict[str, Any]) -> dict[str, Any]:
    """A record with the identity and the id that follow from its configuration and references."""
    provenance = content["provenance"]
    references = {name: provenance.get(name, {}) for name in ("data_reference", "backbone_reference")}
    covered = {"identity_version": IDENTITY, **hashed(RunSpec, content["config"]), **references}
    return {**content, "identity": {"version": IDENTITY, "hashed": covered}, "id": run_id(covered)}


def broken(method: str = "gpart", seed: int = 0, **settings: Any) -> dict[str, Any]:
    """A record of a run that was scored well, and whose merged weights give something else."""
    shared = {"tolerance": 1e-3, "examples": 32, "changed_weights": None}
    trip = {
        "reload": {"max_abs_logit_difference": 0.0, "changed_predictions": 0, **shared},
        "merge": {"max_abs_logit_difference": 0.25, "changed_predictions": 4, **shared},
        "unmerge": {"max_abs_logit_difference": None, "changed_predictions": 32, **shared},
    }
    error = {"type": "BrokenRoundTrip", "message": "merge", "traceback": None}
    return record(method, seed, outcome="ok", **{**settings, "round_trip": trip, "error": error}) | {
        "outcome": "broken_round_trip"
    }


def lowered(content: dict[str, Any]) -> dict[str, Any]:
    """The same record as schema 1 had it, the eldest without a version of the trainer."""
    key = {name: value for name, value in content["key"].items() if name != "metric"}
    kept = {name: value for name, value in content.items() if name != "identity"}
    config = copy.deepcopy(content["config"])
    config["task"]["primary_metric"] = config["task"].pop("metrics")[0]
    del config["trainer_version"]
    return {**kept, "schema": 1, "key": key, "config": config}


def write(folder: Path, content: dict[str, Any]) -> Path:
    """Write a record into a run folder of its own below `folder`; returns the path of record.json."""
    path = folder / content["key"]["task"].replace("/", "-") / content["config"]["method"]["name"] / content["id"]
    path.mkdir(parents=True)
    (path / "record.json").write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")
    return path / "record.json"


def write_predictions(path: Path, prediction: NDArray, label: NDArray, ids: NDArray, split: str = "test") -> None:
    """Write predictions.parquet with the split and, before it, some rows of another one."""
    splits = ["other"] * 3 + [split] * len(label)
    columns = {
        "split": splits,
        "example_id": np.concatenate([ids[:3], ids]),
        "label": np.concatenate([label[:3], label]),
        "prediction": np.concatenate([prediction[:3], prediction]),
        "logits": [[0.0, 1.0]] * len(splits),
    }
    pyarrow.parquet.write_table(pa.table(columns), path.with_name("predictions.parquet"))


def example_interval(metric: str, pairs: Sequence[tuple[NDArray, NDArray]], label: NDArray) -> tuple[Interval, float]:
    """`example_intervals` of one difference, from the predictions of a method and of the baseline per seed."""
    models = [prediction for pair in pairs for prediction in pair]
    return example_intervals(metric, models, label, [[(2 * seed, 2 * seed + 1) for seed in range(len(pairs))]])[0]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """The folder of the test's run records."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    return folder


@pytest.fixture
def predicted_run(runs: Path) -> RecordWriter:
    """Write a run with binary predictions of a given accuracy on 400 examples in an order of its own."""

    def write_run(method: str, seed: int = 0, right: int = 300, shift: int = 0, **settings: Any) -> Path:
        generator = np.random.default_rng(1000 * seed + right)
        ids, label = np.arange(400) + 7000 + shift, np.arange(400) % 2
        wrong = generator.permutation(400) >= right
        order = generator.permutation(400)
        prediction = np.where(wrong, 1 - label, label)
        path = write(runs, record(method, seed, score=accuracy_score(label, prediction), **settings))
        write_predictions(path, prediction[order], label[order], ids[order])
        return path

    return write_run
