"""Generated word problems in the manner of GSM8K (arXiv 2110.14168): a story, a question, worked steps, `#### answer`.

    tom has 3 bags with 4 apples each . ann finds 6 apples . tom loses 5 apples . how many apples does tom have now ?
    3 bags with 4 : 3 * 4 = 12 . tom loses 5 : 12 - 5 = 7 . #### 7

A problem is drawn as numbers first and then put into words; the steps and the answer are computed from the numbers. Its
level is the number of steps. Tokens are set apart by single spaces.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.embedded.language import Draw

if TYPE_CHECKING:
    import datasets

GENERATOR_VERSION = 1
"""Part of a run's identity: raise it whenever a generated row or the pretraining text changes."""

LEVELS = (1, 2, 3, 4)
TRAIN_ROWS = 2000
TEST_ROWS = 300
ROWS = {"test": TEST_ROWS, "train": TRAIN_ROWS}
LARGEST = 30
"""No quantity in a problem is larger, and none is smaller than 1."""

PEOPLE = ("tom", "ann", "ben", "eva", "max", "mia", "sam", "zoe")
THINGS = ("apples", "pens", "books", "coins", "cards", "eggs", "cups", "stones")
BOXES = ("bags", "boxes", "bowls", "jars")
GAINS = ("finds", "buys", "gets", "wins", "picks")
LOSSES = ("loses", "sells", "drops", "breaks", "uses")


@dataclass(frozen=True)
class Step:
    """One step of a solution: `left sign right = result`, sign one of + - *."""

    left: int
    sign: str
    right: int

    @property
    def result(self) -> int:
        """The value of the step."""
        if self.sign == "*":
            return self.left * self.right
        return self.left + self.right if self.sign == "+" else self.left - self.right

    @staticmethod
    def draw(draw: Draw, left: int) -> Step:
        """An addition or subtraction of 2 to 9 whose result is a quantity."""
        while True:
            step = Step(left, draw.choice("+-"), 2 + draw.below(8))
            if 1 <= step.result <= LARGEST:
                return step

    @staticmethod
    def product(draw: Draw) -> Step:
        """A product of two small numbers."""
        return Step(2 + draw.below(4), "*", 2 + draw.below(5))

    def __str__(self) -> str:
        return f"{self.left} {self.sign} {self.right} = {self.result}"


@dataclass(frozen=True)
class Cast:
    """Who and what a story is about; `other` and `bystander` are not the owner, `clutter` is not the thing."""

    owner: str
    other: str
    bystander: str
    thing: str
    clutter: str

    @staticmethod
    def draw(draw: Draw) -> Cast:
        """People and things, all different."""
        people, things = draw.shuffled(PEOPLE), draw.shuffled(THINGS)
        return Cast(*people[:3], *things[:2])


@dataclass(frozen=True)
class Clause:
    """A sentence of a story without its full stop; if it calls for a step, also its gist in short and the step."""

    text: str
    gist: str = ""
    step: Step | None = None


def opening(draw: Draw, cast: Cast, stepped: bool) -> tuple[list[Clause], int]:
    """What the owner has at first, in clauses that call for one step (`stepped`) or none; and that quantity."""
    if not stepped:
        start = 2 + draw.below(11)
        return [Clause(f"{cast.owner} has {start} {cast.thing}")], start
    if draw.chance(0.5):
        step = Step.product(draw)
        packed = f"{step.left} {draw.choice(BOXES)} with {step.right}"
        return [Clause(f"{cast.owner} has {packed} {cast.thing} each", packed, step)], step.result
    step = Step.draw(draw, 2 + draw.below(11))
    comparison = f"{step.right} {'more' if step.sign == '+' else 'fewer'}"
    return [
        Clause(f"{cast.other} has {step.left} {cast.thing}"),
        Clause(f"{cast.owner} has {comparison} {cast.thing} than {cast.other}", f"{comparison} than {step.left}", step),
    ], step.result


def change(draw: Draw, cast: Cast, total: int) -> Clause:
    """Something that happens to the owner's `total` things."""
    step = Step.draw(draw, total)
    if draw.chance(0.25):
        giver, taker = (cast.owner, cast.other) if step.sign == "-" else (cast.other, cast.owner)
        return Clause(f"{giver} gives {step.right} {cast.thing} to {taker}", f"{giver} gives {step.right}", step)
    gist = f"{draw.choice(GAINS if step.sign == '+' else LOSSES)} {step.right}"
    return Clause(f"{cast.owner} {gist} {cast.thing}", f"{cast.owner} {gist}", step)


def distraction(draw: Draw, cast: Cast) -> Clause:
    """Something that does not matter: another thing of the owner, or another person's doings."""
    amount = 2 + draw.below(8)
    if draw.chance(0.5):
        return Clause(f"{cast.owner} {draw.choice((*GAINS, *LOSSES))} {amount} {cast.clutter}")
    return Clause(f"{cast.bystander} {draw.choice((*GAINS, *LOSSES))} {amount} {cast.thing}")


def story(draw: Draw, cast: Cast, level: int) -> list[Clause]:
    """Clauses that call for `level` steps in all, each step beginning with the result of the one before."""
    stepped = draw.chance(0.5)
    clauses, total = opening(draw, cast, stepped)
    for _ in range(level - stepped):
        clauses.append(change(draw, cast, total))
        step = clauses[-1].step
        assert step is not None
        total = step.result
    if draw.chance(0.4):
        clauses.insert(1 + draw.below(len(clauses)), distraction(draw, cast))
    return clauses


def steps_of(clauses: list[Clause]) -> list[tuple[str, Step]]:
    """The steps that the clauses call for, in order, each after the gist of its clause."""
    return [(clause.gist, clause.step) for clause in clauses if clause.step is not None]


@dataclass(frozen=True)
class Problem:
    """A word problem, its worked solution and its number of steps."""

    question: str
    answer: str
    level: int

    @staticmethod
    def draw(draw: Draw, level: int) -> Problem:
        """A problem of `level` steps."""
        cast = Cast.draw(draw)
        clauses = story(draw, cast, level)
        steps = steps_of(clauses)
        told = "".join(f"{clause.text} . " for clause in clauses)
        worked = "".join(f"{gist} : {step} . " for gist, step in steps)
        question = f"{told}how many {cast.thing} does {cast.owner} have now ?"
        return Problem(question, f"{worked}#### {steps[-1][1].result}", level)


def word_problems(split: str) -> datasets.Dataset:
    """The rows of a split: `question`, `answer` (worked steps, then `#### n`), `level` (1 to 4) and `idx`.

    The rows depend on the split's name and the generator version alone. No question of test occurs in train; levels
    are equally frequent.

    Raises:
        ValueError: for a split that does not exist.
    """
    import datasets

    if split not in ROWS:
        raise ValueError(f"split={split!r} of the generated word problems: one of {', '.join(ROWS)}")
    problems = _problems()[split]
    columns = {
        "question": [problem.question for problem in problems],
        "answer": [problem.answer for problem in problems],
        "level": [problem.level for problem in problems],
        "idx": list(range(len(problems))),
    }
    text, number = datasets.Value("string"), datasets.Value("int32")
    features = {"question": text, "answer": text, "level": number, "idx": number}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def _problems() -> dict[str, list[Problem]]:
    """All splits, test first so that train can leave out its questions."""
    taken = set[str]()
    splits: dict[str, list[Problem]] = {}
    for split, rows in ROWS.items():
        draw = Draw(zlib.crc32(f"math/{split}".encode()))
        splits[split] = []
        while len(splits[split]) < rows:
            problem = Problem.draw(draw, LEVELS[len(splits[split]) % len(LEVELS)])
            if problem.question not in taken:
                taken.add(problem.question)
                splits[split].append(problem)
    return splits
