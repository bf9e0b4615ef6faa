from __future__ import annotations

import pytest

from schema.seeds import is_seed


@pytest.mark.parametrize(
    "key",
    [
        "seeds.partition",
        "method.config.seed",
        "method.config.proj_seed",
        "method.config.projection_prng_key",
        "method.config.seeds.first",
    ],
)
def test_a_name_that_is_or_ends_in_a_seeds_is_one(key: str) -> None:
    assert is_seed(key)


@pytest.mark.parametrize("key", ["method.config.seeded", "method.config.linseed", "recipe.seed_sources", "task.key"])
def test_other_names_are_settings(key: str) -> None:
    assert not is_seed(key)
