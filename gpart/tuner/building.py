"""The partition of the modules that a configuration has chosen."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from gpart.partition.definition import AdaptedLayer
from gpart.partition.partition import Partition
from gpart.partition.schemes import scheme_named
from gpart.partition.scopes import transformer_block
from gpart.tuner.base_layers import storage_name
from gpart.tuner.config import GPartConfig
from gpart.tuner.layer import GPartLayer
from gpart.tuner.matching import check_matches
from gpart.tuner.names import Translation, plain_name


def partition_of(found: Sequence[tuple[str, GPartLayer]], model: nn.Module, config: GPartConfig) -> list[Partition]:
    """The partition of some layers, first under their names, then under others that a checkpoint may have.

    Args:
        found: the layers, in canonical order, with their names in the model.
        model: the base.
        config: of the adapter.

    Raises:
        ValueError: if the partition cannot be made, or is not the one that the configuration was read with.
    """
    pairs = [layer.weight_and_bias() for _, layer in found]
    if config.bias == "none":
        pairs = [(weight, None) for weight, _ in pairs]
    weight, reads_weights = pairs[0][0], scheme_named(config.scheme).of_weights is not None
    if reads_weights:
        _check_readable(found, config.scheme)
    names = [plain_name(model, name) for name, _ in found]
    partition = Partition(
        scheme=config.scheme,
        d=config.d,
        seed=config.seed,
        layers=[
            AdaptedLayer(name, tuple(weight.shape), 0 if bias is None else bias.numel())
            for name, (weight, bias) in zip(names, pairs, strict=True)
        ],
        isometric=config.isometric,
        scope=config.scope,
        blocks=_blocks(names, config),
        weights=[tensor for pair in pairs for tensor in pair if tensor is not None] if reads_weights else None,
        cache_ids=config.cache_ids,
        device="cpu" if weight.is_meta else weight.device,
    )
    translation = Translation(model, config.renamed, config.layers_pattern)
    raw = translation.under(partition, [name for name, _ in found])
    namesakes = [partition, *raw, *translation.as_stored(partition, config.partition)]
    check_matches(config.partition, namesakes, config)
    return namesakes


def _check_readable(found: Sequence[tuple[str, GPartLayer]], scheme: str) -> None:
    for name, layer in found:
        if layer.quantised:
            kind = storage_name(layer.get_base_layer())
            raise ValueError(
                f"scheme: {scheme!r} sorts the base's weights, and {name} is quantised ({kind}); accepted here are the "
                "other schemes"
            )


def _blocks(names: Sequence[str], config: GPartConfig) -> list[str] | None:
    """The transformer block of each module, where the scope asks for it."""
    if config.scope != "transformer_block":
        return None
    return [transformer_block(name, config.layers_pattern) for name in names]
