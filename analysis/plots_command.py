"""`python -m analysis plots DIR`: every figure that the records give, with the numbers behind it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from analysis.markdown import escaped
from analysis.options import names
from analysis.plots import FORMATS, KINDS, Figure, figures, render
from analysis.records import Run
from analysis.render import frame_csv
from analysis.tables import trials_note


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    plots = commands.add_parser("plots", help="figures: scores, training, cost, isometry, landscapes")
    plots.add_argument("folder", metavar="DIR", type=Path, help="read every record.json in it and below")
    plots.add_argument("--out", metavar="FOLDER", type=Path, help="where the files go (default: DIR/plots)")
    plots.add_argument("--format", **names(FORMATS, "format"))
    plots.add_argument("--kinds", **names(tuple(KINDS), "kind of figure"))
    plots.set_defaults(execute=_execute)


def _execute(options: argparse.Namespace, runs: Sequence[Run]) -> None:
    found = figures(runs, options.kinds)
    write_plots(runs, found, options.out or options.folder / "plots", options.format, options.kinds)


def write_plots(
    runs: Sequence[Run], found: Sequence[Figure], out: Path, formats: Sequence[str], kinds: Sequence[str]
) -> None:
    """Write the figures of these kinds that were found in runs; say which kinds have nothing to draw, and why.

    Raises:
        OSError: if a file cannot be written.
    """
    write_figures(found, out, formats)
    drawn = {figure.kind for figure in found}
    for kind in kinds:
        if kind not in drawn:
            print(f"skipped {kind}: needs {KINDS[kind].needs}")
    if note := trials_note(runs):
        print(note, end="")


def write_figures(found: Sequence[Figure], out: Path, formats: Sequence[str]) -> None:
    """Write each figure as NAME.png, .pdf and .svg, its numbers as NAME.csv, and all captions into captions.md."""
    out.mkdir(parents=True, exist_ok=True)
    for figure in found:
        for format in formats:
            (out / f"{figure.name}.{format}").write_bytes(render(figure, format))
        (out / f"{figure.name}.csv").write_text(frame_csv(figure.data), encoding="utf-8")
    captions = [f"## {escaped(figure.title)}\n\n`{figure.name}`\n\n{escaped(figure.caption)}\n" for figure in found]
    (out / "captions.md").write_text("\n".join(captions), encoding="utf-8")
    print(f"{len(found)} figures written to {out}")
