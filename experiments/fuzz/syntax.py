"""Groups, misspelt keys, Hydra's syntax, sweeps and settings that do not go together."""

from __future__ import annotations

import random
from collections.abc import Iterator

from experiments.configuration.groups import groups
from experiments.families import FAMILIES, spec_of
from experiments.fuzz.case import Case, Expected
from experiments.fuzz.settings import SMALL
from schema.validation import keys

_BASE = (*SMALL, "task=glue/rte", "plan=true")
_CHOICES = (
    "nosuch",
    "''",
    "../base",
    "/etc/passwd",
    "glue",
    "[a,b]",
    "{a:1}",
    "1",
    "true",
    "GPart",
    "lora ",
    "é",
    "a/b/c",
)
_NEEDED = tuple(group for group, optional in groups().items() if not optional)

_LINES: tuple[tuple[tuple[str, ...], Expected], ...] = (
    *(
        ((word,), "refused")
        for word in ("=", "a", "method", "method=", "method==lora", "=lora", "seed=1=2", "seed", "?")
    ),
    *(
        ((word,), "refused")
        for word in ("seed=[", "seed={", "seed='", 'seed="', "seed=(", "seed=1)", "'seed=1'", "a b=1")
    ),
    *(
        ((word,), "refused")
        for word in ("seed=${nosuch}", "seed=${", "seed=???", "seed=${seeds.split}", "seed=${now:}")
    ),
    *(((word,), "refused") for word in ("+nosuch=1", "++nosuch=1", "~nosuch", "~seed", "~method", "+method=lora")),
    *(
        ((word,), "refused")
        for word in ("method@x=lora", "a.b.c=1", "seed.a=1", "recipe..epochs=1", ".seed=1", "seeds=1")
    ),
    *(((word,), "refused") for word in ("seed=0,1", "seed=range(3)", "seed=choice(1,2)", "method=lora,head", "d=1,2")),
    *(((word,), "refused") for word in ("method=glob(*)", "seed=interval(0,1)", "seed=sort(2,1)", "seed=int(x)")),
    *(((word,), "refused") for word in ("hydra=x", "hydra.nosuch=1", "hydra/launcher=nosuch", "hydra/launcher=basic")),
    *(((word,), "refused") for word in ("--nosuch", "--config-dir=/nonexistent", "-cn=nosuch", "--info=nosuch")),
    *(
        (("-m", word), "refused")
        for word in ("seed=", "seed=range(0)", "seed=0,-1", "method=lora,nosuch", "seed=0,1.5")
    ),
    *((("-m", word), "refused") for word in ("seed=glob(*)", "method=glob(no*)", "seed=range(a)", "recipe.epochs=0,1")),
    *((("-m", word), "done") for word in ("seed=0,1", "method=lora,head", "method=glob(l*)", "seed=range(2)", "d=1,2")),
    *(
        ((word,), "done")
        for word in ("profile=embedded", "experiment=null", "seed=3", "++seed=3", "seeds.split=2", "d=8")
    ),
    *(((word, "seed=2"), "either") for word in ("seed=1", "method=lora", "recipe=default", "profile=null")),
)
_TOGETHER: tuple[tuple[tuple[str, ...], Expected], ...] = (
    (("task=vision/digits", "backbone=embedded-encoder"), "refused"),
    (("task=math/gsm8k", "backbone=embedded-vit"), "refused"),
    (("task=math/gsm8k", "protocol=best_on_dev"), "refused"),
    (("task=glue/rte", "method=untrained"), "either"),
    (("task=vision/cifar10",), "either"),
    (("data=local",), "refused"),
    (("backbone.source=local",), "refused"),
    (("data=hub", "task.hub.path=null"), "either"),
    (("backbone.source=hub", "backbone.hub=null"), "refused"),
    (("backbone.source=hub", "backbone.hub='a b'"), "either"),
    (("task=glue/stsb", "recipe.label_smoothing=0.1"), "refused"),
    (("task=glue/stsb", "task.metrics=[accuracy]"), "refused"),
    (("task.metrics=[pearson]",), "refused"),
    (("task.metrics=[accuracy,accuracy]",), "refused"),
    (("task.splits={}",), "refused"),
    (("task.splits={train:train,test:train}",), "refused"),
    (("task.splits.test=train",), "refused"),
    (("backbone.head=[]",), "refused"),
    (("backbone.head=[nosuch]",), "refused"),
    (("method=lora", "backbone.target_modules=[nosuch]"), "refused"),
    (("method=lora", "backbone.target_modules='(['"), "refused"),
    (("method=gpart", "d=1000000000"), "refused"),
    (("method=lora", "method.config.r=0"), "refused"),
    (("method=lora", "method.config.r=text"), "refused"),
    (("method=lora", "method.config.bias=nosuch"), "refused"),
    (("method=lora", "method.config.lora_dropout=true"), "refused"),
    (("method=lora", "method.config.lora_alpha=nan"), "refused"),
    (("method=lora", "method.config.init_lora_weights=2"), "refused"),
    (("method=lora", "++method.config.nosuch=1"), "refused"),
    (("method=vera", "method.config.r=0"), "refused"),
    (("method=vera", "method.config.save_projection=maybe"), "refused"),
    (("method=vera", "method.config.projection_prng_key=abc"), "refused"),
    (("method=unilora", "method.config.init_theta_d_bound=inf"), "refused"),
    (("method=unilora", "method.config.proj_seed=[1,2]"), "refused"),
    (("method=gpart", "method.config.isometric=maybe"), "refused"),
    (("method.config._target_=os.system",), "refused"),
    (("method.config._target_=nosuch.Method",), "refused"),
    (("method.config={}",), "refused"),
    (("backbone.max_length=100000",), "refused"),
    (("backbone.architecture.hidden_size=-1",), "refused"),
    (("backbone.architecture.nosuch=1",), "refused"),
    (("recipe=gpart/roberta-base",), "either"),
    (("threads=100000", "plan=false"), "refused"),
    (("threads=1000000000", "plan=false"), "refused"),
)


def cases(generator: random.Random) -> Iterator[Case]:
    """Cases in the generator's order."""
    made = [_case((f"{group}={value}",), "refused") for group in groups() for value in _CHOICES]
    made += [_case((f"{group}=null",), "refused") for group in _NEEDED]
    made += [
        _case((f"{_misspelt(key, generator)}=1",), "refused") for family in FAMILIES for key in keys(spec_of(family))
    ]
    made += [_case(words, expected) for words, expected in (*_LINES, *_TOGETHER)]
    generator.shuffle(made)
    yield from made


def _case(words: tuple[str, ...], expected: Expected) -> Case:
    return Case("groups", (*_BASE, *words), expected)


def _misspelt(key: str, generator: random.Random) -> str:
    """A key with two letters exchanged, one left out or one too many."""
    section, _, name = key.rpartition(".")
    place, kind = generator.randrange(len(name)), generator.randrange(3)
    wrong = (name[:place] + name[place + 1 :], name[:place] + "q" + name[place:], name[::-1])[kind]
    return f"{section}.{wrong}" if section else wrong or "q"
