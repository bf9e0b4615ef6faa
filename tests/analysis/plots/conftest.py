"""Diagnostics as records hold them (docs/RECORD.md), with numbers from a seeded generator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.analysis.conftest import record, write

METHODS = ("full", "gpart", "head", "lora", "unilora")
SPREAD = {"full": 0.0, "gpart": 0.0, "lora": 0.8, "unilora": 0.5}
LAYERS, INDICES = 4, 6


def summary(values: np.ndarray) -> dict[str, Any]:
    """`ratios` of a record."""
    quantiles = dict(zip(("q05", "median", "q95"), map(float, np.quantile(values, [0.05, 0.5, 0.95])), strict=True))
    numbers = {"mean": values.mean(), "std": values.std(ddof=1), "min": values.min(), "max": values.max()}
    return {
        "n": len(values),
        "values": sorted(values.tolist()),
        **quantiles,
        **{k: float(v) for k, v in numbers.items()},
    }


def point(name: str, step: int, largest: float, smallest: float, null: int) -> dict[str, Any]:
    """A point of `jacobian`."""
    return {
        "point": name,
        "step": step,
        "largest": largest,
        "smallest": 0.0 if null else smallest,
        "condition": None if null else largest / smallest,
        "null_directions": null,
        "null_interval": None,
        "smallest_nonzero": smallest,
        "condition_complement": largest / smallest,
        "method": "dense",
        "residual": 0.0,
    }


def isometry(method: str, seed: int = 0) -> dict[str, Any]:
    """`diagnostics.isometry`; of the head alone, which has no map, "not applicable"."""
    if method == "head":
        return {"status": "not applicable", "reason": "no trained values beside the head", "seconds": 0.0}
    generator, spread = np.random.default_rng(seed), SPREAD[method]
    null = 3 if method == "lora" else 0
    drawn = {name: np.exp(spread * generator.normal(size=n)) for name, n in (("random", 40), ("trained", 15))}
    values = generator.normal(size=400)
    counts, edges = np.histogram(values, 20)
    sizes, groups = np.unique(generator.poisson(384, 500), return_counts=True)
    partition = {"groups": 500, "weights": 192_000, "dead": 0, "min": 320, "mean": 384.0, "max": 450, "std": 19.6}
    steps = (("start", 0), ("training", 40), ("kept", 80))
    exact = {"diagonal": 1e-16, "off_diagonal": 0.0, "columns": 500}
    return {
        "status": "measured",
        "reason": None,
        "seconds": 1.5,
        "version": 1,
        "map": {"full": "identity", "gpart": "linear"}.get(method, "nonlinear"),
        "parameters": 4608,
        "weights": 1_769_472,
        "path": [{"step": s, "epoch": s / 40, "distance": s / 40, "weight_distance": s / 40} for _, s in steps],
        "ratios": {"random": summary(drawn["random"]) | {"radius": 2.0}, "trained": summary(drawn["trained"])},
        "jacobian": [point(name, s, np.exp(spread * (1 + s / 40)), np.exp(-spread), null) for name, s in steps],
        "gram": exact if method in ("full", "gpart") else None,
        "occupancy": partition | {"sizes": sizes.tolist(), "counts": groups.tolist()} if method == "gpart" else None,
        "update": {
            "norm": 2.0,
            "layers": [
                {
                    "name": f"encoder.layer.{layer}.query",
                    "shape": [384, 384],
                    "frobenius": 1.0,
                    "spectral": 0.5,
                    "stable_rank": 4.0 - 0.5 * layer,
                    "singular_values": (0.5 * np.exp(-(0.05 + spread) * np.arange(INDICES))).tolist(),
                }
                for layer in range(LAYERS)
            ]
            + [
                {
                    "name": "bias",
                    "shape": [384],
                    "frobenius": 0.1,
                    "spectral": 0.1,
                    "stable_rank": 1.0,
                    "singular_values": [0.1],
                }
            ],
        },
        "trained_values": {
            "n": 400,
            "mean": float(values.mean()),
            "std": float(values.std(ddof=1)),
            "min": float(values.min()),
            "max": float(values.max()),
            "outliers": 2,
            "edges": edges.tolist(),
            "counts": counts.tolist(),
        },
        "precision": {
            kind: {"ratios": summary(drawn["random"] * (1 + error * generator.normal(size=40))), "gram": gram}
            for kind, error in (("float32", 1e-7), ("bfloat16", 3e-3), ("float16", 4e-4))
            for gram in [{**exact, "diagonal": error} if method in ("full", "gpart") else None]
        },
        "dropout": None,
    }


def landscape(method: str, seed: int = 0) -> dict[str, Any]:
    """`diagnostics.landscape`, of a quadratic bowl with one point that is not finite."""
    generator = np.random.default_rng(seed)
    alpha = np.linspace(-1, 1, 5)
    steepness = {"full": 1.0, "gpart": 2.0, "head": 0.2, "lora": 4.0, "unilora": 3.0}[method]
    surface = (0.3 + steepness * (alpha[:, None] ** 2 + 0.5 * alpha[None] ** 2)).tolist()
    surface[0][0] = None
    directions = [1 + 0.2 * generator.random() for _ in range(3)]
    return {
        "status": "measured",
        "reason": None,
        "seconds": 2.0,
        "version": 1,
        "rows": 64,
        "loss": 0.3,
        "surface": {"alpha": alpha.tolist(), "beta": alpha.tolist(), "loss": surface},
        "curves": [{"alpha": alpha.tolist(), "loss": (0.3 + s * steepness * alpha**2).tolist()} for s in directions],
        "path": {"alpha": [0.0, 0.5, 1.0, 1.5], "loss": [0.7, 0.4, 0.3, 0.45]},
        "hessian": {
            "largest": (steepness * np.array([9.0, 4.0, 2.0])).tolist(),
            "smallest": (-steepness * np.array([0.5, 0.3, 0.1])).tolist(),
            "mean": 0.01 * steepness,
            "mean_error": 0.001,
            "anisotropy": 900.0,
            "condition": None,
            "negative": None,
            "residual": 1e-6,
            "products": 60,
            "method": "matrix-free",
        },
    }


def history(seed: int = 0, epochs: int = 3) -> dict[str, Any]:
    """`history` of a run of ten steps per epoch."""
    steps = [
        {"step": s, "epoch": s / 10, "loss": 0.7 / s + 0.01 * seed, "learning_rate": 0.1, "head_learning_rate": 0.1}
        for s in range(1, 10 * epochs + 1)
    ]
    selected = [
        {"epoch": e, "selection": {"accuracy": 0.7 + 0.05 * e + 0.01 * seed, "loss": 0.5}} for e in range(1, epochs + 1)
    ]
    return {"steps": steps, "epochs": selected, "best_epoch": epochs}


def measured(method: str = "gpart", seed: int = 0, **settings: Any) -> dict[str, Any]:
    """A record with all diagnostics."""
    diagnostics = {"isometry": isometry(method, seed), "landscape": landscape(method, seed)}
    return record(method, seed, **{"diagnostics": diagnostics, "history": history(seed), **settings})


@pytest.fixture
def everything(runs: Path) -> Path:
    """Five methods with two seeds each, two more values of d, and all diagnostics."""
    for seed in (0, 1):
        for place, method in enumerate(METHODS):
            write(runs, measured(method, seed, score=0.7 + 0.04 * place + 0.01 * seed))
        for d in (1152, 18432):
            write(runs, record("gpart", seed, d=d, score=0.6 + d / 100_000 + 0.01 * seed, history=history(seed)))
    return runs
