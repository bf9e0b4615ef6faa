"""What argparse refuses is one line, as everywhere."""

from __future__ import annotations

import pytest

from experiments.commands.options import count
from schema.arguments import Parser


@pytest.fixture
def parser() -> Parser:
    own = Parser(prog="tool")
    command = own.add_subparsers(metavar="COMMAND", required=True).add_parser("run")
    command.add_argument("folder")
    command.add_argument("--device", choices=("cpu", "cuda"))
    command.add_argument("--seed", type=int)
    command.add_argument("--rounds", type=count)
    return own


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "the following arguments are required: COMMAND; accepted: what `tool --help` lists"),
        (["walk"], "COMMAND=walk: unknown; accepted: run"),
        (["run"], "the following arguments are required: folder; accepted: what `tool run --help` lists"),
        (["run", "x", "--device", "tpu"], "--device=tpu: unknown; accepted: cpu, cuda"),
        (["run", "x", "--seed", "a\nb"], "--seed=a\\nb: not accepted; accepted: an integer"),
        (["run", "x", "--rounds", "0"], "--rounds=0: accepted: an integer of at least 1"),
        (["run", "x", "--rounds"], "--rounds: expected one argument; accepted: what `tool run --help` lists"),
        (["run", "x", "y"], "unrecognized arguments: y; accepted: what `tool --help` lists"),
    ],
)
def test_a_wrong_argument_is_one_line(
    words: list[str], line: str, parser: Parser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"error: {line}\n"
