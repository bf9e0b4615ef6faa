"""From raw generations to scores. Nothing else is needed, so that a stored run can be scored again at any time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from experiments.families.math.answers import extract, is_gold
from experiments.families.math.equality import Kind, equal
from experiments.families.math.prompts import Prompt


@dataclass(frozen=True)
class Scores:
    """The scores of one set of generations, in the order of the generations.

    Args:
        strict_answers: what was declared as the answer, or None.
        lenient_answers: what was taken for the answer, or None.
        strict: whether the declared answer equals the gold answer.
        lenient: whether the answer taken equals the gold answer; true wherever `strict` is.
    """

    strict_answers: tuple[str | None, ...]
    lenient_answers: tuple[str | None, ...]
    strict: tuple[bool, ...]
    lenient: tuple[bool, ...]

    @property
    def metrics(self) -> dict[str, float]:
        """Fractions of all examples: `strict` and `lenient` right, `unanswered` without even a lenient answer."""
        count = len(self.strict)
        unanswered = sum(answer is None for answer in self.lenient_answers)
        return {
            "strict": sum(self.strict) / count,
            "lenient": sum(self.lenient) / count,
            "unanswered": unanswered / count,
        }


def cut(generation: str, stop: Sequence[str]) -> str:
    """The generation up to the first of the stop strings: what follows is a recited example, not an answer."""
    ends = [at for at in (generation.find(text) for text in stop) if at >= 0]
    return generation[: min(ends)] if ends else generation


def cut_at_recital(generation: str, stop: Sequence[str]) -> str:
    """The same, but on past a stop string that is a word of a sentence: `the Question is easy`, not `Question 2:`."""
    ends = [
        match.start()
        for text in stop
        for match in re.finditer(re.escape(text), generation)
        if not (text.isalpha() and _is_prose(generation, match))
    ]
    return generation[: min(ends)] if ends else generation


def _is_prose(text: str, word: re.Match[str]) -> bool:
    before, after = text[: word.start()].rpartition("\n")[2][-9:], text[word.end() :][:20]
    if re.match(r"\w*\s*\d*\s*(?:[:\]\n]|$)", after):
        return False
    return re.search(r"\w[, ]*$", before) is not None or re.match(r"\w*,? +[a-z]", after) is not None


def score(generations: Sequence[str], golds: Sequence[str], kind: Kind, prompt: Prompt) -> Scores:
    """Score generations against gold answers.

    Args:
        generations: what the model wrote after each prompt, uncut or cut at the stop strings alike.
        golds: the gold answers, as `answers.gold_answer` gives them.
        kind: `number` for GSM8K, `math` for MATH.
        prompt: the template that was used, for its stop strings and answer phrases.

    Raises:
        ValueError: if nothing is given, the lengths differ, a generation is no text, or a gold answer no answer.
    """
    if not generations or len(generations) != len(golds):
        raise ValueError(
            f"{len(generations)} generations, {len(golds)} gold answers; accepted: equally many, at least 1"
        )
    for row, (generation, gold) in enumerate(zip(generations, golds, strict=True)):
        if not isinstance(generation, str):
            raise ValueError(f"row {row}: generation={generation}: accepted: a text")
        if not is_gold(gold, kind):
            raise ValueError(f"row {row}: gold={gold!r}: accepted: {'a number' if kind == 'number' else 'a formula'}")
    declared = [extract(cut(text, prompt.stop), kind, "strict", prompt.strict) for text in generations]
    taken = [
        extract(cut_at_recital(text, prompt.stop), kind, "lenient", prompt.strict) if answer is None else answer
        for text, answer in zip(generations, declared, strict=True)
    ]
    return Scores(tuple(declared), tuple(taken), _right(declared, golds, kind), _right(taken, golds, kind))


def _right(answers: Sequence[str | None], golds: Sequence[str], kind: Kind) -> tuple[bool, ...]:
    pairs = zip(answers, golds, strict=True)
    return tuple(answer is not None and equal(answer, gold, kind) for answer, gold in pairs)
