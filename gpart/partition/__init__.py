"""P: which coordinate each adapted weight depends on, and what is computed with it.

From the top: `partition` (the map), `definition` (what it is a function of), `scopes` (over which layers a group
reaches), `schemes` and `permutations` (the group of a position), `assignment` (what is kept of them), `groups`,
`block_groups` and `fused` (W + P theta and P^T g), `manifest` (whether a checkpoint belongs to it).
"""

from gpart.partition.definition import AdaptedLayer
from gpart.partition.partition import Partition

__all__ = ["AdaptedLayer", "Partition"]
