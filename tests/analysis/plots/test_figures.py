from __future__ import annotations

import json
import re
from pathlib import Path

import matplotlib
import matplotlib.colors
import matplotlib.figure
import matplotlib.text
import numpy as np
import pandas as pd
import pytest

from analysis.plots import FORMATS, KINDS, Figure, figures, render
from analysis.plots.style import RC, STYLES, Styles
from analysis.records import read_runs
from analysis.statistics import summarize
from tests.analysis.conftest import RecordWriter, lowered, record, write
from tests.analysis.plots.conftest import METHODS, history, isometry, landscape, measured


def drawn(folder: Path, *kinds: str) -> list[Figure]:
    return figures(read_runs(folder).kept, kinds or tuple(KINDS))


def one(folder: Path, kind: str, part: str = "") -> Figure:
    (found,) = [figure for figure in drawn(folder, kind) if part in figure.name]
    return found


def of(folder: Path, kind: str, identity: str) -> pd.DataFrame:
    data = one(folder, kind).data
    return data[data["runs"] == identity]


def test_every_kind_is_drawn_from_a_folder_that_has_everything(everything: Path) -> None:
    found = drawn(everything)
    assert {figure.kind for figure in found} == set(KINDS)
    assert len({figure.name for figure in found}) == len(found)
    for figure in found:
        assert figure.data["runs"].str.len().gt(0).all(), figure.kind
        assert figure.canvas().axes, figure.kind


@pytest.mark.parametrize("kinds", [("pareto",), pytest.param(tuple(KINDS), marks=pytest.mark.slow)])
def test_the_same_records_give_the_same_bytes_wherever_they_lie(
    everything: Path, tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    first = [render(figure, format) for figure in drawn(everything, *kinds) for format in FORMATS]
    moved = tmp_path / "moved"
    moved.mkdir()
    for number, path in enumerate(sorted(everything.rglob("record.json"), reverse=True)):
        path.parent.rename(moved / f"{number}")
    assert [render(figure, format) for figure in drawn(moved, *kinds) for format in FORMATS] == first
    for content in first:
        assert not re.search(rb"/CreationDate|/Producer|<dc:date>|tEXtSoftware", content)


def test_a_users_own_settings_of_matplotlib_change_nothing(everything: Path) -> None:
    figure = one(everything, "pareto")
    before = render(figure, "png")
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 20, "axes.grid": True}):
        assert render(figure, "png") == before


def test_pareto_has_the_scores_and_parameters_of_the_records(everything: Path) -> None:
    figure = one(everything, "pareto")
    records = {content["id"]: content for content in map(load, everything.rglob("record.json"))}
    for line in figure.data.itertuples():
        members = [records[identity] for identity in line.runs.split()]
        scores = [100 * content["metrics"]["test"]["accuracy"] for content in members]
        expected = summarize(scores)
        assert (line.n, line.score, line.low, line.high) == (2, expected.mean, expected.low, expected.high)
        assert {content["sizes"]["theta"] for content in members} == {line.parameters}
    assert sum(map(len, figure.data["runs"].str.split())) == len(records)
    (axes,) = figure.canvas().axes
    assert axes.get_xscale() == "log"
    points = {(x, y) for line in axes.lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}
    full = figure.data[figure.data["method"] == "full"].iloc[0]
    assert (full["parameters"], full["score"]) in points


def test_the_pareto_front_has_no_row_that_another_one_beats(everything: Path) -> None:
    data = one(everything, "pareto").data
    # Scores of d = 1152 and 18432 and of full (70.5) lie below the head's (78.5), which trains no further value.
    assert set(data["row"][data["on_front"]]) == {"head", "unilora, d=4608"}


def test_capacity_joins_the_values_of_d_of_one_method(everything: Path) -> None:
    figure = one(everything, "capacity")
    gpart = figure.data[figure.data["series"] == "gpart"]
    assert sorted(gpart["d"]) == [1152, 4608, 18432]
    (axes,) = figure.canvas().axes
    lines = [line for line in axes.lines if sorted(line.get_xdata()) == [1152, 4608, 18432]]
    np.testing.assert_array_equal(lines[0].get_ydata(), gpart.sort_values("d")["score"])


def test_seeds_shows_every_run_and_the_spread_that_one_seed_brings(runs: Path) -> None:
    for number, (head, data) in enumerate([(0, 0), (1, 0), (2, 0), (0, 1)]):
        write(runs, record("lora", score=0.70 + 0.02 * number, seeds__head=head, seeds__data=data))
    strip, spread = drawn(runs, "seeds")
    assert sorted(strip.data["score"].round(9)) == [70, 72, 74, 76]
    assert set(strip.data["mean"].round(9)) == {73}
    by_source = spread.data.set_index("source")
    # head: 70, 72, 74; data: 70, 76.
    np.testing.assert_allclose(by_source.loc[["head", "data"], "std"], [2, 6 / 2**0.5])
    assert set(by_source.index) == {"head", "data"}
    (axes,) = spread.canvas().axes
    points = [y for line in axes.lines for y in line.get_ydata()]
    np.testing.assert_allclose(sorted(points), sorted(spread.data["std"]))


def test_curves_are_mean_and_t_interval_over_seeds(runs: Path) -> None:
    for seed in range(3):
        write(runs, measured("lora", seed))
    data = one(runs, "curves").data
    losses = [history(seed)["steps"][9]["loss"] for seed in range(3)]
    line = data[(data["panel"] == "training loss") & (data["epoch"] == 1.0)].iloc[0]
    expected = summarize(losses)
    assert (line["n"], line["mean"], line["low"], line["high"]) == (3, expected.mean, expected.low, expected.high)
    selection = data[data["panel"] == "selection"]
    np.testing.assert_allclose(selection["mean"], [76, 81, 86])


def test_one_seed_has_the_interval_over_test_examples_and_says_so(runs: Path, predicted_run: RecordWriter) -> None:
    predicted_run("lora", right=300)
    write(runs, record("head", score=0.6))
    figure = one(runs, "pareto")
    lora, head = figure.data.sort_values("row", ascending=False).to_dict("records")
    assert lora["interval"] == "examples"
    # Of 400 examples, 300 right: a standard error of 2.17.
    np.testing.assert_allclose([lora["low"], lora["high"]], [75 - 4.24, 75 + 4.24], atol=0.5)
    assert head["interval"] == "none"
    assert np.isnan(head["low"])
    assert "over test examples" in figure.caption
    assert "n = 1 runs per row" in figure.caption


def test_runs_without_a_score_are_left_out_and_counted(everything: Path) -> None:
    write(everything, record("gpart", seed=7, outcome="diverged"))
    figure = one(everything, "pareto")
    assert figure.data["n"].max() == 2
    assert "Left out, without a score: gpart, d=4608 (1 diverged)." in figure.caption


def test_sections_columns_and_trials_never_share_a_figure(runs: Path) -> None:
    write(runs, measured("lora"))
    write(runs, measured("lora", protocol="best_on_dev"))
    write(runs, measured("lora", track="published"))
    write(runs, measured("lora", task="glue/rte"))
    write(runs, measured("lora", task="embedded/glue/sst2", source="embedded"))
    write(runs, measured("lora", seed=5, config__test=False, metrics__test=None))
    found = drawn(runs, "pareto", "ratios", "landscape")
    per_kind = {figure.kind: 0 for figure in found}
    for figure in found:
        assert figure.data["runs"].nunique() == 1
        per_kind[figure.kind] += 1
    assert per_kind == {"pareto": 5, "ratios": 5, "landscape": 15}
    embedded = [figure for figure in found if figure.column.source == "embedded"]
    assert all("embedded/glue/sst2" in figure.title and "embedded-glue-sst2" in figure.name for figure in embedded)
    assert all(render(figure, "svg") for figure in embedded)


def test_costs_of_two_machines_are_two_figures(runs: Path) -> None:
    write(runs, record("lora", cost={"train_seconds": 60.0, "peak_memory_bytes": 2**30}))
    write(runs, record("full", cost={"train_seconds": 90.0, "peak_memory_bytes": 2**31}, provenance__threads=8))
    figures_ = drawn(runs, "cost")
    assert [figure.data["row"].tolist() for figure in figures_] == [["lora, r=8"], ["full"]]
    assert [figure.data["peak_memory_gib"].item() for figure in figures_] == [1.0, 2.0]
    assert "threads 8" in figures_[1].caption


def test_training_time_holds_the_evaluations_whether_or_not_they_have_a_time_of_their_own(runs: Path) -> None:
    write(runs, record("lora", cost={"train_seconds": 50.0, "selection_seconds": 10.0}))
    write(runs, lowered(record("full", cost={"train_seconds": 60.0})))
    (figure,) = drawn(runs, "cost")
    assert figure.data["train_seconds"].tolist() == [60.0, 60.0]


def test_ratios_have_every_recorded_value_of_every_method(everything: Path) -> None:
    figure = one(everything, "ratios")
    for (pairs, identity), own in figure.data.groupby(["pairs", "runs"]):
        content = next(c for c in map(load, everything.rglob("record.json")) if c["id"] == identity)
        assert own["ratio"].tolist() == content["diagnostics"]["isometry"]["ratios"][pairs]["values"]
    random, trained = figure.canvas().axes
    assert [label.get_text() for label in trained.get_xticklabels()] == [
        "full",
        "gpart\nd=4608",
        "lora\nr=8",
        "unilora\nd=4608",
    ]
    assert random.get_yscale() == "log"
    assert "Without: head (not applicable: no trained values beside the head)." in figure.caption
    assert any(set(line.get_ydata()) == {1} for line in random.lines)


def test_ratios_within_a_decade_stay_linear(runs: Path) -> None:
    write(runs, measured("gpart"))
    write(runs, measured("full"))
    assert one(runs, "ratios").canvas().axes[0].get_yscale() == "linear"


def test_ratios_of_zero_and_pairs_that_are_not_there_are_drawn_as_such(runs: Path) -> None:
    found = isometry("lora")
    found["ratios"]["random"]["values"] = [0.0] * 5
    found["ratios"]["trained"]["values"] = []
    write(runs, measured("lora", diagnostics={"isometry": found}))
    write(runs, measured("unilora"))
    figure = one(runs, "ratios")
    random, trained = figure.canvas().axes
    assert random.get_yscale() == "linear"
    assert figure.data[figure.data["row"] == "lora, r=8"]["ratio"].tolist() == [0.0] * 5
    assert len(trained.lines) == 2  # the median of the other method, and 1


def test_jacobian_spectra_and_histograms_hold_the_records_numbers(everything: Path) -> None:
    found = isometry("lora", 1)
    identity = next(
        c["id"] for c in map(load, everything.rglob("record.json")) if c["diagnostics"].get("isometry") == found
    )
    jacobian = of(everything, "jacobian", identity)
    assert jacobian["condition_complement"].tolist() == [p["condition_complement"] for p in found["jacobian"]]
    assert jacobian["null_directions"].tolist() == [3, 3, 3]
    theta = of(everything, "theta", identity)
    assert theta["count"].tolist() == found["trained_values"]["counts"]
    spectra = one(everything, "spectra").data
    first = isometry("lora", 0)["update"]["layers"][0]["singular_values"]  # of each row the run of the lowest seeds
    assert spectra.query("row == 'lora, r=8' and depth == 0")["singular_value"].tolist() == first
    assert "bias" not in set(spectra["layer"])


def test_group_sizes_are_all_counted_in_bins_of_as_many_sizes_each(everything: Path) -> None:
    data = one(everything, "occupancy").data
    assert set(data["row"]) == {"gpart, d=4608"}
    for _, own in data.groupby("runs"):
        assert own["count"].sum() == 500
        assert (own["right"] - own["left"]).nunique() == 1
        assert len(own) <= 40


def test_surfaces_share_axes_and_colours(everything: Path) -> None:
    figure = one(everything, "landscape", "--surface--")
    *surfaces, bar = figure.canvas().axes
    assert [axes.get_title() for axes in surfaces] == ["full", "gpart, d=4608", "head", "lora, r=8", "unilora, d=4608"]
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in surfaces}) == 1
    scales = {tuple(axes.collections[0].levels) for axes in surfaces}
    assert len(scales) == 1
    assert 0.0 in next(iter(scales)), "a level parts what lies below the kept values from what lies above"
    assert bar.get_ylabel() == "loss above the cross"
    lora = figure.data[figure.data["row"] == "lora, r=8"]
    grid = lora.pivot(index="alpha", columns="beta", values="loss").to_numpy()
    expected = np.array(landscape("lora")["surface"]["loss"], dtype=float)
    np.testing.assert_array_equal(grid, expected)
    np.testing.assert_allclose(lora["excess"], lora["loss"] - landscape("lora")["loss"])


def test_curves_of_the_landscape_are_means_over_directions_and_runs(everything: Path) -> None:
    data = one(everything, "landscape", "--curves--").data
    edge = data.query("row == 'lora, r=8' and panel == 'random directions' and alpha == -1").iloc[0]
    values = [curve["loss"][0] for seed in (0, 1) for curve in landscape("lora", seed)["curves"]]
    assert edge["n"] == 6
    np.testing.assert_allclose([edge["mean"], edge["low"], edge["high"]], [np.mean(values), min(values), max(values)])


def test_hessian_bars_have_the_records_eigenvalues(everything: Path) -> None:
    figure = one(everything, "landscape", "--hessian--")
    (axes,) = figure.canvas().axes
    heights = sorted(patch.get_height() for patch in axes.patches)
    np.testing.assert_allclose(heights, sorted(figure.data["eigenvalue"]))
    assert len(heights) == 6 * len(METHODS)


def test_methods_differ_in_colour_marker_and_line() -> None:
    names = [*STYLES, "dora", "ia3", "adalora"]
    found = [Styles(names)._styles[name] for name in names]
    for attribute in ("colour", "marker", "line"):
        assert len({getattr(style, attribute) for style in found}) == len(names), attribute
    assert all(contrast(style.colour) > 1.9 for style in found)


def contrast(colour: str) -> float:
    """Contrast to white, as WCAG 2 defines it."""
    channels = np.asarray(matplotlib.colors.to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return 1.05 / (float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05)


def test_the_style_of_a_method_is_the_same_in_every_figure(everything: Path) -> None:
    for kind in ("pareto", "curves", "jacobian"):
        for method in ("lora", "unilora"):
            colours = {
                str(line.get_color()).upper() for axes in one(everything, kind).canvas().axes for line in axes.lines
            }
            assert STYLES[method].colour in colours, (kind, method)


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_at_least_seven_points_and_inside_the_page(everything: Path, kind: str) -> None:
    for figure in drawn(everything, kind):
        canvas = laid_out(figure)
        texts = [
            text for text in canvas.findobj(matplotlib.text.Text) if text.get_text().strip() and text.get_visible()
        ]
        assert min(text.get_fontsize() for text in texts) >= 7
        assert figure.width in (3.3, 6.9)
        box = canvas.bbox
        for axes in canvas.axes:
            if axes.get_visible():
                tight = axes.get_tightbbox()
                assert tight.x0 >= box.x0 - 1
                assert tight.x1 <= box.x1 + 1
                assert tight.y0 >= box.y0 - 1
                assert tight.y1 <= box.y1 + 1


def laid_out(figure: Figure) -> matplotlib.figure.Figure:
    with matplotlib.rc_context(RC):
        canvas = figure.canvas()
        canvas.draw_without_rendering()
    return canvas


def load(path: Path) -> dict:
    return json.loads(path.read_text())
