"""The words of the generated language, as concepts: each tuple holds words of one meaning, the commonest first.

The order within a list is the rank of a concept: concepts are drawn with probability proportional to 1 / (rank + 4), so
that some words are rare, as in natural text (Zipf 1949, with Mandelbrot's offset). Verbs form their past regularly.
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
    friend/pal, officer/guard, actor/performer, farmer/grower, sailor/mariner, driver/chauffeur, cook/chef,
    student/pupil, soldier/trooper, thief/robber, neighbour/resident, nurse/carer, painter/artist, minister/priest,
    banker/financier, visitor/guest, builder/mason, tailor/seamster, hunter/trapper, miner/digger, pilot/aviator"""
)

ACTIONS = concepts(
    """help/assist, blame/accuse, praise/applaud, attack/assault, visit/call_on, hire/employ, follow/pursue,
    ignore/neglect, thank/reward, insult/offend, rescue/save, cheat/deceive, teach/educate, punish/discipline,
    watch/observe, phone/contact, like/adore, hate/detest, fear/dread, push/shove, amuse/entertain, surprise/astonish"""
)
"""Things that one person does to another; `past` and `third` inflect the first word of a phrase."""

TRAITS = concepts(
    """old/elderly, young/youthful, tall/lanky, rich/wealthy, poor/needy, quiet/silent, clever/smart, strong/sturdy,
    famous/renowned, tired/weary, brave/bold, angry/furious"""
)

PLACES = concepts(
    """at_home/in_the_house, in_town/in_the_city, in_the_wood/in_the_forest, on_the_ship/on_the_boat,
    at_work/in_the_office, in_the_shop/in_the_store, on_the_road/on_the_street, at_school/in_class,
    near_the_sea/by_the_shore, on_the_hill/on_the_slope"""
)

TIMES = concepts(
    """today/this_day, yesterday/the_day_before, last_night/late_at_night, at_noon/at_midday, at_dawn/at_sunrise,
    in_autumn/in_the_fall, long_ago/in_the_past, last_week/a_week_ago"""
)

WORKS = concepts(
    "film/movie, book/novel, song/tune, play/drama, show/performance, story/tale, picture/image, speech/talk"
)

ASPECTS = concepts("plot, ending, beginning, style, cast, pace, idea, tone, title, message")

PRAISE = concepts(
    """good/fine, great/superb, funny/witty, charming/delightful, clear/lucid, fresh/original, moving/touching,
    gripping/exciting, honest/sincere, elegant/graceful, lively/vivid, warm/tender, rich/deep, daring/bold,
    polished/refined, wise/thoughtful"""
)

BLAME = concepts(
    """bad/poor, awful/terrible, dull/boring, clumsy/awkward, vague/confused, stale/tired, cold/lifeless,
    tedious/tiresome, false/fake, ugly/crude, slow/sluggish, bitter/nasty, thin/shallow, timid/meek,
    sloppy/careless, silly/foolish"""
)

WELCOMES = concepts("keep/retain, recommend/promote, enjoy/relish, admire/cherish")
REJECTS = concepts("return/refuse, avoid/shun, dislike/despise, regret/lament")
"""What people do with a work that they find good, and with one that they find bad."""


_PASTS = {"teach": "taught", "shun": "shunned"}


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
