from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from analysis.cells import OLDER, Section, sections
from analysis.records import read_runs
from tests.analysis.conftest import lowered, record, write


def grouped(folder: Path, *records: dict[str, Any]) -> list[Section]:
    for content in records:
        write(folder, content)
    return sections(read_runs(folder).kept)


def labels(section: Section) -> list[str]:
    return [row.label for row in section.rows]


def test_seeds_share_a_cell(runs: Path) -> None:
    (section,) = grouped(runs, *(record("gpart", seed) for seed in range(3)), record("head"))
    assert labels(section) == ["gpart, d=4608", "head"]
    assert [len(found) for _, _, found in section.grid()] == [3, 1]


def test_methods_are_named_with_their_capacity(runs: Path) -> None:
    methods = [record("gpart", d=512), record("gpart", d=4608), *map(record, ("lora", "unilora", "full"))]
    (section,) = grouped(runs, *methods)
    assert labels(section) == ["full", "gpart, d=512", "gpart, d=4608", "lora, r=8", "unilora, d=4608"]


@pytest.mark.parametrize(
    ("change", "label"),
    [
        ({"config__recipe__learning_rate": 0.02}, "gpart, d=4608, learning_rate=0.02"),
        ({"config__backbone__pooling": "cls"}, "gpart, d=4608, backbone.pooling=cls"),
        ({"config__method__result_version": 2}, "gpart, d=4608, method.result_version=2"),
        ({"config__a_setting_of_the_future": "on"}, "gpart, d=4608, a_setting_of_the_future=on"),
        ({"provenance__data_reference": {"name": "other"}}, "gpart, d=4608, data_reference.name=other"),
    ],
)
def test_runs_that_differ_beside_their_seeds_are_never_averaged(runs: Path, change: dict[str, Any], label: str) -> None:
    (section,) = grouped(runs, record(seed=0), record(seed=1), record(seed=2, **change))
    assert sorted(len(found) for _, _, found in section.grid()) == [1, 2]
    assert label in labels(section)


def test_another_image_size_is_another_table(runs: Path) -> None:
    found = grouped(
        runs, *(record(m, config__backbone__image_size=size) for m in ("gpart", "head") for size in (None, 112))
    )
    assert [section.backbone for section in found] == ["minilm-l6", "minilm-l6@112"]
    assert all(labels(section) == ["gpart, d=4608", "head"] for section in found)


def test_a_setting_that_differs_between_columns_alone_makes_no_row(runs: Path) -> None:
    (section,) = grouped(
        runs, record(), record(task="glue/cola", metric="matthews_correlation", config__recipe__learning_rate=0.02)
    )
    assert labels(section) == ["gpart, d=4608"]
    assert len(section.columns) == 2


def test_a_setting_that_differs_in_one_column_is_shown_in_all(runs: Path) -> None:
    slow, fast = {"config__recipe__learning_rate": 0.005}, {"config__recipe__learning_rate": 0.02}
    (section,) = grouped(runs, record(**slow), record(**fast), record(task="glue/rte", **fast))
    assert labels(section) == ["gpart, d=4608, learning_rate=0.005", "gpart, d=4608, learning_rate=0.02"]
    assert [len(found) for _, _, found in section.grid()] == [0, 1, 1, 1]


@pytest.mark.parametrize(
    "other",
    [
        {"protocol": "best_on_dev"},
        {"track": "published"},
        {"key__backbone": "roberta-base", "config__backbone__name": "roberta-base"},
    ],
)
def test_protocols_tracks_and_backbones_never_share_a_table(runs: Path, other: dict[str, Any]) -> None:
    assert [len(section.columns) for section in grouped(runs, record(), record(**other))] == [1, 1]


@pytest.mark.parametrize(
    "other", [{"subset": "4000-of-67349"}, {"task": "embedded/glue/sst2", "source": "embedded"}, {"metric": "f1"}]
)
def test_subsets_sources_and_metrics_never_share_a_column(runs: Path, other: dict[str, Any]) -> None:
    (section,) = grouped(runs, record(), record(**other))
    assert len(section.columns) == 2
    assert [len(found) for _, _, found in section.grid()] == [1, 1]


def test_trials_of_a_search_are_left_out(runs: Path) -> None:
    (section,) = grouped(runs, record(), record(seed=1, config__test=False, metrics__test=None))
    assert [run.seeds["data"] for run in section.runs()] == [0]


def test_one_seed_does_not_count_twice(runs: Path) -> None:
    paths = [write(runs, record(config__recipe__epochs=epochs)) for epochs in (3, 3.0)]
    sound = write(runs, record("lora"))
    found = read_runs(runs)
    assert [run.path for run in found.kept] == [sound]
    assert [fault.path for fault in found.faults] == sorted(paths)
    for fault, other in zip(found.faults, sorted(paths, reverse=True), strict=True):
        assert fault.reason.startswith(f"same configuration and seeds as {other}, other id; accepted: ")


def test_a_seed_set_in_the_method_alone_is_another_run(runs: Path) -> None:
    (section,) = grouped(runs, record(), record(config__method__config__seed=7))
    assert [len(found) for _, _, found in section.grid()] == [2]


def test_a_key_that_recipes_got_later_parts_no_rows_at_the_value_it_had_before(runs: Path) -> None:
    later = record("gpart", 1, config__recipe__accumulation=1, config__recipe__precision="float32")
    (section,) = grouped(runs, record("gpart", 0), later)
    assert labels(section) == ["gpart, d=4608"]
    (apart,) = grouped(runs, record("gpart", 2, config__recipe__accumulation=2))
    assert len(labels(apart)) == 2


def test_runs_of_two_identities_never_share_a_row(runs: Path) -> None:
    (section,) = grouped(runs, lowered(record(seed=0)), record(seed=1), lowered(record("head")))
    assert labels(section) == ["gpart, d=4608", "gpart, d=4608, identity=1", "head"]
    assert [row.mark for row in section.rows] == ["", OLDER, OLDER]
    assert [len(found) for _, _, found in section.grid()] == [1, 1, 1]


def test_equal_numbers_are_one_setting_whatever_their_type(runs: Path) -> None:
    (section,) = grouped(runs, record(config__recipe__epochs=3), record(seed=1, config__recipe__epochs=3.0))
    assert labels(section) == ["gpart, d=4608"]
