"""`python -m experiments evaluate|rescore|batching|lm-eval RUN` and `score FILE`.

See `experiments.commands.reevaluate` and `experiments.commands.score`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.commands.options import count, not_negative

if TYPE_CHECKING:
    from experiments.commands.reevaluate import Reloaded


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the commands and their options."""
    recorded = argparse.ArgumentParser(add_help=False)
    recorded.add_argument("run", type=Path, help="the folder of a run, with its record.json")
    trained = argparse.ArgumentParser(add_help=False, parents=[recorded])
    trained.add_argument("--data", metavar="FOLDER", help="of the data, where it has moved")
    trained.add_argument("--backbone", metavar="FOLDER", help="of the backbone, where it has moved")
    rows = argparse.ArgumentParser(add_help=False)
    rows.add_argument("--rows", type=count, metavar="N", help="so many of the first test rows; default: all")

    evaluate = commands.add_parser("evaluate", parents=[trained], help="load a run's checkpoint and score it again")
    evaluate.set_defaults(execute=_evaluate)
    rescore = commands.add_parser("rescore", parents=[recorded], help="score a math run's stored generations again")
    rescore.set_defaults(execute=_rescore)
    batching = commands.add_parser(
        "batching", parents=[trained, rows], help="generate in batches and one at a time, and count what differs"
    )
    batching.set_defaults(execute=_batching)
    harness = commands.add_parser(
        "lm-eval", parents=[trained, rows], help="score a run on math with lm-eval's gsm8k task"
    )
    harness.add_argument(
        "--few-shot", type=not_negative, metavar="N", help="examples in the prompt; default: lm-eval's own 5"
    )
    harness.set_defaults(execute=_lm_eval)
    _register_score(commands)


def _register_score(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    score = commands.add_parser("score", help="score any JSON lines of generations and gold answers")
    score.add_argument("file", type=Path, help="a JSON object on each line, also as .gz")
    score.add_argument("--kind", choices=("number", "math"), default="number", help="of answers; default: %(default)s")
    score.add_argument("--prompt", default="plain", metavar="NAME", help="of conf/prompt; default: %(default)s")
    score.add_argument("--generation", default="generation", metavar="KEY", help="of what a model wrote")
    score.add_argument("--gold", default="gold", metavar="KEY", help="of the gold answer, or of a solution with one")
    score.add_argument("--out", type=Path, metavar="FILE", help="a new file, for the answers and verdicts of each line")
    score.set_defaults(execute=_score)


def _reloaded(chosen: argparse.Namespace, family: str | None = None) -> Reloaded:
    from experiments.commands.reevaluate import reload

    return reload(chosen.run, {"data": chosen.data, "backbone": chosen.backbone}, family)


def _evaluate(chosen: argparse.Namespace) -> int:
    from experiments.commands.reevaluate import evaluate

    return _compared(*evaluate(_reloaded(chosen)))


def _rescore(chosen: argparse.Namespace) -> int:
    from experiments.commands.reevaluate import rescore

    return _compared(*rescore(chosen.run))


def _score(chosen: argparse.Namespace) -> int:
    from experiments.commands import score

    score.require_new(chosen.out)
    prompt = score.prompt_named(chosen.prompt)
    lines = score.pairs(chosen.file, chosen.kind, chosen.generation, chosen.gold)
    scores = score.scored(lines, chosen.kind, prompt)
    if chosen.out:
        score.write(chosen.out, lines, scores)
    print(score.summary(scores))
    return 0


def _compared(recorded: dict[str, Any], now: dict[str, Any]) -> int:
    for name, value in now.items():
        print(f"{name}: recorded {recorded[name]}, now {value}")
    return 0 if all(recorded[name] == value for name, value in now.items()) else 1


def _batching(chosen: argparse.Namespace) -> int:
    from experiments.commands.reevaluate import batching

    compared = batching(_reloaded(chosen, "math"), chosen.rows)
    print(f"{compared.identical} generations are the same in batches and one at a time, {compared.differing} are not")
    if compared.differing:
        print(f"largest gap of logits at a first differing token: {compared.largest_gap:.3g}")
    return 0 if compared.by_rounding else 1


def _lm_eval(chosen: argparse.Namespace) -> int:
    from experiments.commands.reevaluate import lm_eval
    from experiments.families.math.harness import require_harness

    require_harness()
    for name, value in lm_eval(_reloaded(chosen, "math"), chosen.rows, chosen.few_shot).items():
        print(f"{name}: {value}")
    return 0
