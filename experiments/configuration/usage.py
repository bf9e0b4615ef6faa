"""What `python run.py --help` prints: one screen, with the choices that there are."""

from __future__ import annotations

import textwrap
from itertools import groupby

from experiments.configuration.groups import groups, options

_WIDTH = 116
_INDENT = 14

_USAGE = """\
python run.py [flags] group=choice ... key=value ...
One run, or with -m every combination of several values, recorded below outputs/; what is recorded is not run again.

groups (conf/, one YAML file for each choice):
{groups}
keys: seed, d (capacity), outputs, plan, check, ... (conf/base.yaml); recipe.*, task.*, backbone.*, method.config.*

flags:
  -m, --multirun        several values: seed=0,1,2 method=gpart,lora
  --config-dir DIR      groups of your own: DIR/method/mine.yaml, DIR/task/glue/mine.yaml, DIR/recipe/gpart/mine.yaml
  --cfg job --resolve   print the configuration and stop

examples:
  python run.py profile=embedded method=gpart task=glue/sst2       # generated data and backbone: runs anywhere
  python run.py -m profile=embedded task=glue/sst2 method=gpart,lora,full,head seed=0
  python run.py profile=embedded task=vision/digits method=lora method.config.r=4
  python run.py profile=embedded task=math/gsm8k recipe.epochs=1 recipe.learning_rate=0.05
  python run.py method=gpart task=glue/sst2 d=23040                # RoBERTa-base from the hub, the paper's recipe
  python run.py plan=true method=gpart task=glue/sst2              # sizes and memory; downloads nothing
  python run.py check=true profile=embedded task=glue/sst2         # reads, loads and builds everything; trains nothing
  python run.py profile=local local=FOLDER backbone=minilm-l6 method=gpart task=glue/sst2
  python run.py data=local data.path=IMAGES task=vision/folder method=gpart
  python run.py method=gpart task=glue/sst2 diagnostics=isometry   # measures the map as well
  python run.py method=full backbone=roberta-large task=glue/rte protocol=best_on_dev

afterwards (each has --help):
  python -m experiments status|evaluate|rescore|mirror|search|bench ...    # done or failed; score anew; search; time
  python -m analysis all|tables|aggregate|variance|isometry|plots|report|published outputs    # from records alone
"""


def usage() -> str:
    """The help text, with every group of conf/config.yaml and its choices."""
    return _USAGE.format(groups="\n".join(_group(group) for group in groups() if options(group)))


def _group(group: str) -> str:
    choices = options(group)
    if group == "recipe":
        choices = [f"METHOD/BACKBONE, found by itself ({len(choices)} in all); default where it has no such task"]
    return textwrap.fill(
        " ".join(_by_folder(choices)) if group == "task" else " ".join(choices),
        width=_WIDTH,
        initial_indent=f"  {group}".ljust(_INDENT),
        subsequent_indent=" " * _INDENT,
        break_on_hyphens=False,
    )


def _by_folder(choices: list[str]) -> list[str]:
    """Choices below folders, the folder's name once: `glue/ cola sst2 vision/ digits`."""
    words: list[str] = []
    for folder, names in groupby(choices, key=lambda choice: choice.rpartition("/")[0]):
        words += [f"{folder}/", *(name.rpartition("/")[2] for name in names)]
    return words
