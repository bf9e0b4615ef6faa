"""The PEFT tuner: `config`, `model` and `layer` as PEFT's own methods have them. Importing it registers the method.

Around them: `base_layers` (what can be adapted), `compat` (all that leans on PEFT's private parts) and `release`,
`checkpoints` with `names` and `matching` (whether one belongs to a model), `authors` (their checkpoints), `hotswap`,
`weighted` (sums of adapters), `sharding`, `checkpointing` (of activations).
"""

from gpart.tuner.release import check_release

check_release()

from gpart.tuner import compat  # noqa: E402  of a release that is too old, PEFT's private parts may be missing
from gpart.tuner.config import GPartConfig  # noqa: E402
from gpart.tuner.hotswap import hotswap_adapter  # noqa: E402
from gpart.tuner.layer import GPartLayer  # noqa: E402
from gpart.tuner.model import GPartModel  # noqa: E402

compat.register(GPartConfig, GPartModel)

__all__ = ["GPartConfig", "GPartLayer", "GPartModel", "hotswap_adapter"]
