"""`python -m analysis bench PATH...`: what methods cost, from the records of `python -m experiments bench`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from analysis.bench import Bench, read_benches
from analysis.bench_table import bench_csv, bench_tables
from analysis.latex import latex
from analysis.options import names
from analysis.records import InputError
from analysis.render import markdown
from analysis.table_command import FORMATS
from schema.folder import Fault

OUT = Path("outputs", "bench")
"""Where `python -m experiments bench` writes: records in a folder that is kept apart stay alone there."""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command and its options."""
    bench = commands.add_parser("bench", help="what methods cost: time over a baseline's, memory, bytes")
    bench.add_argument("paths", metavar="PATH", type=Path, nargs="+", help="a bench record, or a folder of them")
    bench.add_argument(
        "--out", metavar="FOLDER", type=Path, default=OUT, help="where the files go; default: %(default)s"
    )
    bench.add_argument("--format", **names(FORMATS, "format"))
    bench.set_defaults(execute=_execute)


def _execute(options: argparse.Namespace) -> list[Fault]:
    found = read_benches(options.paths)
    if not found.kept:
        raise InputError(map(str, found.faults))
    write_bench(found.kept, options.out, options.format)
    return found.faults


def write_bench(benches: Sequence[Bench], out: Path, formats: Sequence[str] = FORMATS) -> None:
    """Print the tables of bench records, and write them as bench.md, bench.csv and bench.tex.

    Raises:
        InputError: if records of one name were made with different settings or on different machines.
        OSError: if a file cannot be written.
    """
    tables = bench_tables(benches)
    text = markdown(tables)
    print(text)
    out.mkdir(parents=True, exist_ok=True)
    files = [
        ("markdown", "bench.md", text),
        ("csv", "bench.csv", bench_csv(benches)),
        ("latex", "bench.tex", latex(tables)),
    ]
    for kind, name, content in files:
        if kind in formats:
            (out / name).write_text(content, encoding="utf-8")
    print(f"written to {out}")
