"""The generated language: what a sentence means (an event, an opinion) and the ways to say it.

A meaning is drawn first and then put into words, so that a label can be computed from meanings while the words vary
freely: synonyms, active and passive voice, clefts, the place of adverbials, negation, contrast.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from experiments.embedded import lexicon
from experiments.embedded.lexicon import Concept, past, third

Item = TypeVar("Item")


class Draw:
    """Random choices from `random.Random.random()` alone, whose sequence Python promises for ever to a given seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def below(self, bound: int) -> int:
        """An integer from 0 to bound - 1."""
        return int(self._random() * bound)

    def chance(self, probability: float) -> bool:
        """True with the probability given."""
        return self._random() < probability

    def choice(self, items: Sequence[Item]) -> Item:
        """One item, all equally likely."""
        return items[self.below(len(items))]

    def another(self, items: Sequence[Item], taken: Item | None) -> Item:
        """One item that is not `taken`."""
        return self.choice([item for item in items if item != taken])

    def word(self, concept: Concept) -> str:
        """One of the words of a concept; the first is the usual one."""
        return concept[0] if self.chance(0.7) else self.choice(concept[1:] or concept)

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """A permutation of the items (Fisher and Yates)."""
        result = list(items)
        for last in range(len(result) - 1, 0, -1):
            other = self.below(last + 1)
            result[last], result[other] = result[other], result[last]
        return result


@dataclass(frozen=True)
class Event:
    """Who did what to whom, where and when; `place` and `time` may be left open."""

    agent: Concept
    action: Concept
    patient: Concept
    negated: bool
    place: Concept | None
    time: Concept | None

    @staticmethod
    def draw(draw: Draw, negated: float = 0.25, adverbial: float = 0.25) -> Event:
        """An event; `negated` and `adverbial` are the probabilities of a negation and of each adverbial."""
        agent = draw.choice(lexicon.PEOPLE)
        return Event(
            agent=agent,
            action=draw.choice(lexicon.ACTIONS),
            patient=draw.another(lexicon.PEOPLE, agent),
            negated=draw.chance(negated),
            place=draw.choice(lexicon.PLACES) if draw.chance(adverbial) else None,
            time=draw.choice(lexicon.TIMES) if draw.chance(adverbial) else None,
        )

    def swapped(self) -> Event:
        """The same action with the roles exchanged."""
        return replace(self, agent=self.patient, patient=self.agent)

    def altered(self, draw: Draw, part: str) -> Event:
        """The event with one part changed: agent, action, patient, place, time, roles or negation.

        Raises:
            ValueError: if `part` is none of these.
        """
        if part == "roles":
            return self.swapped()
        if part == "negation":
            return replace(self, negated=not self.negated)
        if part == "action":
            return replace(self, action=draw.another(lexicon.ACTIONS, self.action))
        if part == "place":
            return replace(self, place=draw.another(lexicon.PLACES, self.place))
        if part == "time":
            return replace(self, time=draw.another(lexicon.TIMES, self.time))
        people = [person for person in lexicon.PEOPLE if person not in (self.agent, self.patient)]
        if part == "agent":
            return replace(self, agent=draw.choice(people))
        if part == "patient":
            return replace(self, patient=draw.choice(people))
        raise ValueError(f"part={part!r}: agent, action, patient, place, time, roles or negation")

    def say(self, draw: Draw) -> str:
        """The event as a sentence in the past tense."""
        agent, patient = (f"the {draw.word(person)}" for person in (self.agent, self.patient))
        verb = draw.word(self.action)
        negation = draw.choice(("not", "never")) if self.negated else ""
        if draw.chance(0.45):
            clause = _words(patient, "was", negation, past(verb), "by", agent)
        elif self.negated and negation == "not":
            clause = _words(agent, "did not", verb, patient)
        else:
            clause = _words(agent, negation, past(verb), patient)
        adverbials = [draw.word(adverbial) for adverbial in (self.place, self.time) if adverbial]
        return _words(clause, *draw.shuffled(adverbials), ".")

    def ask(self, draw: Draw, role: str) -> str:
        """The question for the agent or the patient; negation and adverbials are left out."""
        verb = draw.word(self.action)
        agent, patient = (f"the {draw.word(person)}" for person in (self.agent, self.patient))
        if role == "agent":
            return draw.choice((f"who {past(verb)} {patient} ?", f"by whom was {patient} {past(verb)} ?"))
        return draw.choice((f"whom did {agent} {verb} ?", f"who was {past(verb)} by {agent} ?"))


_FRAMES = {
    "none": ("{verdict} .",),
    "agreeing": ("{other} and {verdict} .", "{verdict} ; besides , {other} .", "because {other} , {verdict} ."),
    "conceding": (
        "{other} , but {verdict} .",
        "although {other} , {verdict} .",
        "{verdict} , although {other} .",
        "{verdict} , even if {other} .",
        "{other} ; still , {verdict} .",
    ),
}


@dataclass(frozen=True)
class Opinion:
    """What is thought of a work: the verdict, and whether something of the opposite kind is conceded."""

    work: Concept
    good: bool
    support: str

    @staticmethod
    def draw(draw: Draw) -> Opinion:
        """An opinion; the support is as likely missing as agreeing or conceding."""
        return Opinion(draw.choice(lexicon.WORKS), draw.chance(0.5), draw.choice(("none", "agreeing", "conceding")))

    def say(self, draw: Draw) -> str:
        """The opinion as a sentence of two clauses; the one that counts is first or last."""
        verdict = self._judge(draw, self.good)
        other = self._judge(draw, self.good != (self.support == "conceding"))
        return draw.choice(_FRAMES[self.support]).format(other=other, verdict=verdict)

    def _judge(self, draw: Draw, good: bool) -> str:
        """A clause of one polarity about the work or an aspect of it, with or without a negated opposite."""
        work = draw.word(self.work)
        aspect = draw.choice(lexicon.ASPECTS)[0]
        topic = draw.choice((f"the {work}", f"the {aspect}", f"the {aspect} of the {work}"))
        if draw.chance(0.75):
            quality = draw.word(draw.choice(lexicon.PRAISE if good else lexicon.BLAME))
            return _words(topic, "was", draw.choice(("", "very", "rather")), quality)
        quality = draw.word(draw.choice(lexicon.BLAME if good else lexicon.PRAISE))
        return _words(topic, "was", draw.choice(("not", "never", "hardly", "far from")), quality)

    def follow(self, draw: Draw) -> str:
        """What somebody did with the work in consequence."""
        verb = past(draw.word(draw.choice(lexicon.WELCOMES if self.good else lexicon.REJECTS)))
        return f"so the {draw.word(draw.choice(lexicon.PEOPLE))} {verb} it ."


@dataclass(frozen=True)
class Habit:
    """A statement in the present tense whose verb agrees with its subject across an attractor."""

    subject: Concept
    attractor: Concept
    action: Concept
    patient: Concept
    place: Concept | None
    plural: bool
    attractor_plural: bool

    @staticmethod
    def draw(draw: Draw) -> Habit:
        """A habit; subject and attractor differ in number three times out of four."""
        subject = draw.choice(lexicon.PEOPLE)
        plural = draw.chance(0.5)
        return Habit(
            subject=subject,
            attractor=draw.another(lexicon.PEOPLE, subject),
            action=draw.choice(lexicon.ACTIONS),
            patient=draw.another(lexicon.PEOPLE, subject),
            place=draw.choice(lexicon.PLACES) if draw.chance(0.3) else None,
            plural=plural,
            attractor_plural=plural != draw.chance(0.75),
        )

    def say(self, draw: Draw, agreeing: bool = True) -> str:
        """The habit as a sentence; not `agreeing`: the verb has the wrong number."""
        trait = draw.choice(("", draw.word(draw.choice(lexicon.TRAITS))))
        subject, attractor = _noun(draw, self.subject, self.plural), _noun(draw, self.attractor, self.attractor_plural)
        verb = draw.word(self.action)
        verb = verb if self.plural == agreeing else third(verb)
        patient = _noun(draw, self.patient, draw.chance(0.5))
        link = draw.choice(("near", "behind", "beside", "with"))
        place = draw.word(self.place) if self.place else ""
        return _words("the", trait, subject, link, "the", attractor, verb, "the", patient, place, ".")


def _noun(draw: Draw, concept: Concept, plural: bool) -> str:
    word = draw.word(concept)
    return _plural(word) if plural else word


def _plural(noun: str) -> str:
    irregular = {"child": "children", "thief": "thieves"}
    return irregular.get(noun) or noun + ("es" if noun.endswith(("ss", "ch")) else "s")


def _words(*parts: str) -> str:
    return " ".join(part for part in parts if part)
