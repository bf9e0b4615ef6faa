"""The words of the generated language, as concepts: each tuple holds words of one meaning, the usual one first.

Verbs form their past regularly but for the exceptions listed; the participle is the same word.
"""

from __future__ import annotations

Concept = tuple[str, ...]


def concepts(text: str) -> tuple[Concept, ...]:
    """Concepts from a text: commas between concepts, slashes between words of one meaning, `_` inside a phrase."""
    return tuple(
        tuple(word.strip().replace("_", " ") for word in part.split("/")) for part in text.split(",") if part.strip()
    )


PEOPLE = concepts(
    """doctor/physician, teacher/instructor, child/kid, lawyer/attorney, writer/author, singer/vocalist, boss/chief,
    friend/pal, officer/guard, actor/performer"""
)

ACTIONS = concepts(
    """help/assist, blame/accuse, praise/applaud, attack/assault, visit/call_on, hire/employ, follow/pursue,
    thank/reward, cheat/deceive, teach/educate"""
)
"""Things that one person does to another; `past` and `third` inflect the first word of a phrase."""

TRAITS = concepts("old/elderly, young/youthful, tall/lanky, quiet/silent, strong/sturdy, famous/renowned")

PLACES = concepts("at_home/in_the_house, in_town/in_the_city, in_the_wood/in_the_forest, at_work/in_the_office")

TIMES = concepts("today/this_day, yesterday/the_day_before, at_noon/at_midday, at_dawn/at_sunrise")

WORKS = concepts("film/movie, book/novel, song/tune, play/drama, show/performance, story/tale")

ASPECTS = concepts("plot, ending, beginning, style, cast, pace, tone, title")

PRAISE = concepts(
    """good/fine, great/superb, funny/witty, charming/delightful, clear/lucid, fresh/original, moving/touching"""
)

BLAME = concepts(
    """bad/poor, awful/terrible, dull/boring, clumsy/awkward, vague/confused, stale/tired, cold/lifeless"""
)

WELCOMES = concepts("keep/retain, recommend/promote, enjoy/relish, admire/cherish")
REJECTS = concepts("return/refuse, avoid/shun, dislike/despise, regret/lament")
"""What people do with a work that they find good, and with one that they find bad."""

_PASTS = {"teach": "taught", "shun": "shunned", "keep": "kept"}


def past(verb: str) -> str:
    """The past tense of a verb or phrasal verb; the participle is the same word."""
    head, *rest = verb.split(" ")
    if head in _PASTS:
        form = _PASTS[head]
    elif head.endswith("y") and head[-2] not in "aeiou":
        form = head[:-1] + "ied"
    else:
        form = head + ("d" if head.endswith("e") else "ed")
    return " ".join([form, *rest])


def third(verb: str) -> str:
    """The third person singular of the present tense."""
    head, *rest = verb.split(" ")
    return " ".join([head + ("es" if head.endswith(("sh", "ch")) else "s"), *rest])
