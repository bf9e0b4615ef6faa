"""Every method of the comparison behind one call, `adapt`.

    adapted = adapt(model, LoraConfig(r=8, target_modules=["query", "value"]), head=["classifier"], init_seed=0)

PEFT's methods are used as they are; only what PEFT lacks (full fine-tuning, BitFit, head only) is code here.
"""

import gpart  # noqa: F401  first: it repairs a torchvision that does not fit torch
from baselines.adapted import Adapted
from baselines.configuration import config_errors, method_config
from baselines.errors import MethodError
from baselines.registry import adapt
from baselines.selection import BitFit, FullFineTuning, HeadOnly, TrainableSelection, Untrained

__all__ = [
    "Adapted",
    "BitFit",
    "FullFineTuning",
    "HeadOnly",
    "MethodError",
    "TrainableSelection",
    "Untrained",
    "adapt",
    "config_errors",
    "method_config",
]
