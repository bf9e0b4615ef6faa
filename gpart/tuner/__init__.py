"""The PEFT tuner: `config`, `model` and `layer` as PEFT's own methods have them. Importing it registers the method.

Around them: `base_layers` (what can be adapted), `compat` (all that leans on PEFT's private parts), `authors` (their
checkpoints), `hotswap`, `sharding`, `checkpointing` (of activations).
"""

from gpart.tuner import compat
from gpart.tuner.config import GPartConfig
from gpart.tuner.hotswap import hotswap_adapter
from gpart.tuner.layer import GPartLayer
from gpart.tuner.model import GPartModel

compat.register(GPartConfig, GPartModel)

__all__ = ["GPartConfig", "GPartLayer", "GPartModel", "hotswap_adapter"]
