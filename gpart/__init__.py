"""GPart (arXiv 2605.14841): fine-tuning in d shared coordinates, as a plug-in for PEFT.

Importing this package registers the method with PEFT, so `import gpart` comes before `PeftModel.from_pretrained`; in a
process that has not imported it, PEFT fails on a GPart checkpoint with KeyError: 'GPART'.

    from peft import get_peft_model
    from gpart import GPartConfig
    model = get_peft_model(base, GPartConfig(d=23040, target_modules=["query", "value"], task_type="SEQ_CLS"))
"""

from gpart._torchvision import ensure_torchvision

ensure_torchvision()

from gpart import compat  # noqa: E402  PEFT cannot be imported before the line above
from gpart.config import GPartConfig  # noqa: E402
from gpart.definition import AdaptedLayer  # noqa: E402
from gpart.hotswap import hotswap_adapter  # noqa: E402
from gpart.layer import GPartLayer  # noqa: E402
from gpart.model import GPartModel  # noqa: E402
from gpart.partition import Partition  # noqa: E402

compat.register(GPartConfig, GPartModel)

__all__ = [
    "AdaptedLayer",
    "GPartConfig",
    "GPartLayer",
    "GPartModel",
    "Partition",
    "ensure_torchvision",
    "hotswap_adapter",
]
