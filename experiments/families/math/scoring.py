"""From raw generations to scores. Nothing else is needed, so that a stored run can be scored again at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from experiments.families.math.answers import Kind, Mode, equal, extract
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


def score(generations: Sequence[str], golds: Sequence[str], kind: Kind, prompt: Prompt) -> Scores:
    """Score generations against gold answers.

    Args:
        generations: what the model wrote after each prompt, uncut or cut at the stop strings alike.
        golds: the gold answers, as `answers.gold_answer` gives them.
        kind: `number` for GSM8K, `math` for MATH.
        prompt: the template that was used, for its stop strings and answer phrases.

    Raises:
        ValueError: if nothing is given, the lengths differ, or a gold answer does not equal itself, as none can.
    """
    if not generations or len(generations) != len(golds):
        raise ValueError(
            f"{len(generations)} generations, {len(golds)} gold answers; accepted: equally many, at least 1"
        )
    for gold in golds:
        if not gold.strip() or not equal(gold, gold, kind):
            raise ValueError(f"gold answer {gold!r}: accepted: a {'number' if kind == 'number' else 'formula'}")
    texts = [cut(generation, prompt.stop) for generation in generations]
    answers = {mode: tuple(extract(text, kind, mode, prompt.strict) for text in texts) for mode in _MODES}
    right = {
        mode: tuple(answer is not None and equal(answer, gold, kind) for answer, gold in zip(found, golds, strict=True))
        for mode, found in answers.items()
    }
    return Scores(answers["strict"], answers["lenient"], right["strict"], right["lenient"])


_MODES: tuple[Mode, Mode] = ("strict", "lenient")
