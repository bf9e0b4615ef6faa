"""The whole diagnostic: its schema, its sameness, and that it changes nothing of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from peft import LoraConfig

from baselines import HeadOnly
from experiments.diagnostics import Subject, measure
from experiments.diagnostics.isometry import measure_isometry
from experiments.run.execute import _noted
from gpart import GPartConfig
from schema import reading
from schema.diagnostics import Diagnostics, Isometry
from tests.experiments.diagnostics.small import METHODS, OPTIONS, TARGETS, adapted_to, walked
from tests.experiments.runs import folder_of, recorded


def measured(config: Any, **options: Any) -> Isometry:
    adapted = adapted_to(config)
    found = measure_isometry(adapted, walked(adapted), OPTIONS.model_copy(update=options))
    assert found.seconds > 0
    return found.model_copy(update={"seconds": 0.0})


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_measured_twice_alike_and_leaves_the_generator_alone(method: str) -> None:
    first = measured(METHODS[method]())
    assert first.status == "measured"
    assert [point.point for point in first.jacobian] == ["start", "training", "kept"]
    assert [point.step for point in first.jacobian] == [0, 2, 3]
    state = torch.get_rng_state()
    assert measured(METHODS[method]()).model_dump_json() == first.model_dump_json()
    torch.set_rng_state(state)
    adapted = adapted_to(METHODS[method]())
    snapshots, state = walked(adapted), torch.get_rng_state()
    measure_isometry(adapted, snapshots, OPTIONS)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_seed_decides_what_is_drawn() -> None:
    first, other = measured(METHODS["lora"]()), measured(METHODS["lora"](), seed=1)
    assert first.ratios.random.values != other.ratios.random.values
    assert first.ratios.trained == other.ratios.trained
    assert first.jacobian[0].largest == pytest.approx(other.jacobian[0].largest, rel=1e-12)


def test_the_update_is_the_kept_change_and_its_spectra() -> None:
    adapted = adapted_to(METHODS["lora"]())
    snapshots = walked(adapted)
    update = measure_isometry(adapted, snapshots, OPTIONS).update
    before = [layer.get_base_layer().weight.detach().clone() for layer in adapted._layers()]
    adapted.merge()
    changes = [
        (layer.get_base_layer().weight - old).detach() for layer, old in zip(adapted._layers(), before, strict=True)
    ]
    assert update.norm == pytest.approx(float(torch.cat([c.flatten() for c in changes]).norm()), rel=1e-5)
    for layer, change in zip(update.layers, changes, strict=True):
        singular = torch.linalg.svdvals(change)
        assert layer.shape == list(change.shape)
        assert layer.singular_values == pytest.approx(singular[:4].tolist(), abs=1e-6)
        assert layer.spectral == pytest.approx(float(singular[0]), rel=1e-5)
        assert layer.stable_rank == pytest.approx(float(change.square().sum() / singular[0] ** 2), rel=1e-4)


def test_trained_weights_are_compared_with_where_they_started() -> None:
    adapted = adapted_to(METHODS["full"]())
    snapshots = walked(adapted)
    found = measure_isometry(adapted, snapshots, OPTIONS)
    assert found.update.norm == pytest.approx(found.path[-1].distance, rel=1e-6)
    assert all(len(layer.shape) == 2 for layer in found.update.layers)


def test_a_matrix_without_change_has_no_stable_rank() -> None:
    adapted = adapted_to(METHODS["gpart"]())
    found = measure_isometry(adapted, walked(adapted, steps=2, size=0), OPTIONS)
    assert found.update.norm == 0
    assert {layer.stable_rank for layer in found.update.layers} == {None}


def test_trained_values_are_counted_into_a_histogram() -> None:
    adapted = adapted_to(METHODS["gpart"]())
    snapshots = walked(adapted)
    values = snapshots.taken[-1].values["base_model.gpart_theta.default"].double()
    found = measure_isometry(adapted, snapshots, OPTIONS).trained_values
    assert (found.n, sum(found.counts), len(found.edges)) == (24, 24, len(found.counts) + 1)
    assert (found.min, found.max) == (float(values.min()), float(values.max()))
    assert found.mean == pytest.approx(float(values.mean()))
    assert found.std == pytest.approx(float(values.std()))
    assert found.outliers == int(((values - values.mean()).abs() > 3 * values.std()).sum())


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (HeadOnly(), "head trains nothing outside the head"),
        (LoraConfig(r=2, target_modules=TARGETS, use_dora=True), "its output is not its base's"),
    ],
)
def test_what_is_no_map_to_weights_says_so(config: Any, reason: str, tmp_path: Path) -> None:
    found = measure(subject(config), tmp_path)["isometry"]
    assert (found.status, found.seconds > 0) == ("not applicable", True)
    assert reason in str(found.reason)
    assert not list(tmp_path.iterdir())


def test_a_failed_diagnostic_leaves_its_traceback_and_raises_nothing(tmp_path: Path) -> None:
    broken = subject(METHODS["lora"]())
    broken.snapshots.taken.clear()  # no start to measure from
    found = measure(broken, tmp_path)["isometry"]
    assert found.status == "failed"
    assert str(found.reason).startswith("IndexError: ")
    assert "IndexError" in (tmp_path / str(found.traceback)).read_text()


def subject(config: Any) -> Subject:
    """What a run would have measured; only a landscape needs family and examples."""
    adapted = adapted_to(config)
    return Subject(adapted, walked(adapted), cast("Any", None), cast("Any", None), OPTIONS)


def test_a_number_that_is_not_finite_is_null_in_the_record() -> None:
    found = measured(METHODS["gpart"]())
    infinite = found.ratios.random.model_copy(update={"max": float("inf"), "values": [1.0, float("nan")]})
    ratios = found.ratios.model_copy(update={"random": infinite})
    noted = _noted(Diagnostics(), {"isometry": found.model_copy(update={"ratios": ratios})}).isometry
    assert isinstance(noted, Isometry)
    assert (noted.ratios.random.max, noted.ratios.random.values) == (None, [1.0, None])
    assert noted.model_copy(update={"ratios": ratios}) == found.model_copy(update={"ratios": ratios})


def test_a_diagnosed_run_is_the_same_run(tiny: list[str], tmp_path: Path) -> None:
    overrides = [*tiny, "method=lora", "task=glue/sst2", "recipe.dropout=0.1"]
    plain = recorded(*overrides)
    diagnosed = recorded(*overrides, "diagnostics=isometry", f"outputs={tmp_path / 'others'}")
    assert diagnosed.diagnostics.isometry.status == "measured"
    assert diagnosed.diagnostics.isometry.seconds > 0
    for key in ("id", "metrics", "history"):
        assert getattr(diagnosed, key) == getattr(plain, key)


def test_asking_for_diagnostics_later_runs_again_and_keeps_both_records(tiny: list[str], tmp_path: Path) -> None:
    overrides = [*tiny, "method=gpart", "task=glue/sst2"]
    plain = recorded(*overrides)
    assert plain.diagnostics == Diagnostics()
    later = recorded(*overrides, "diagnostics=isometry")
    assert (later.id, later.metrics) == (plain.id, plain.metrics)
    isometry = later.diagnostics.isometry
    assert isometry.status == "measured"
    assert isometry.ratios.random.median == pytest.approx(1, abs=1e-12)
    assert isometry.path[-1].distance > 0
    assert isometry.jacobian[2].condition == pytest.approx(1, abs=1e-12)
    folder = folder_of(tmp_path / "outputs", plain.id)
    kept = json.loads((folder / "previous" / "1" / "previous-record.json").read_text())
    assert reading.read(kept) == plain
    again = recorded(*overrides)
    assert again.provenance.finished == later.provenance.finished, "it lacks nothing: taken from the record"
    assert again.diagnostics == later.diagnostics


def test_head_only_is_not_applicable_and_costs_the_run_nothing(tiny: list[str]) -> None:
    result = recorded(*tiny, "method=head", "task=glue/sst2", "diagnostics=isometry")
    assert result.outcome == "ok"
    assert result.diagnostics.isometry.status == "not applicable"


@pytest.mark.filterwarnings("ignore:.*coordinates reach none")
def test_dead_coordinates_show_everywhere() -> None:
    # Two weights per group on average: a share of exp(-2) has none.
    found = measured(GPartConfig(d=160, scheme="iid", target_modules=TARGETS))
    dead = found.occupancy.dead
    assert 0.07 < dead / 160 < 0.2
    assert {point.null_directions for point in found.jacobian} == {dead}
    assert {point.smallest for point in found.jacobian} == {0}
    assert found.jacobian[2].condition_complement == pytest.approx(1, abs=1e-13)
    assert found.gram.diagonal == 1
    assert found.ratios.random.max < 1
