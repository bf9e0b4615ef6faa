"""GPart (arXiv 2605.14841): fine-tuning in d shared coordinates, as a plug-in for PEFT.

Importing this package registers the method with PEFT, so `import gpart` comes before `PeftModel.from_pretrained`; in a
process that has not imported it, PEFT fails on a GPart checkpoint with KeyError: 'GPART'. Any order will do otherwise,
except where torchvision does not fit torch: there `import peft` fails by itself, before anything here could help, and
works after `import gpart`, in the same process too.

    from peft import get_peft_model
    from gpart import GPartConfig
    model = get_peft_model(base, GPartConfig(d=23040, target_modules=["query", "value"], task_type="SEQ_CLS"))

`python -m gpart` runs a tool that has a main of its own in a process that has imported it.

Inside, a folder imports those behind it alone: `tuner` (PEFT's config, model and layer), `compute` (the forward and
backward of an adapted layer), `partition` (the map P), `kernels` (P in Triton).
"""

from gpart._torchvision import ensure_torchvision

ensure_torchvision()

from gpart.partition import AdaptedLayer, Partition  # noqa: E402  PEFT cannot be imported before the line above
from gpart.tuner import GPartConfig, GPartLayer, GPartModel, hotswap_adapter  # noqa: E402

__version__ = "0.1.0"

__all__ = [
    "AdaptedLayer",
    "GPartConfig",
    "GPartLayer",
    "GPartModel",
    "Partition",
    "ensure_torchvision",
    "hotswap_adapter",
]
