"""Which options of a method are seeds: a further seed of a run, and no setting in which rows of a table differ."""

from __future__ import annotations

import re
from functools import lru_cache

_SEED = re.compile(r"(^|[._])(seeds?|prng_key)($|\.)")


@lru_cache(maxsize=4096)
def is_seed(key: str) -> bool:
    """Whether a dotted key names a seed: a part of it is, or ends in, `seed`, `seeds` or `prng_key`.

    The configuration of a method is free, so that no mark says it: `seed` of GPart, `proj_seed` of Uni-LoRA,
    `projection_prng_key` of VeRA.
    """
    return _SEED.search(key) is not None
