"""Data and an encoder made by the suite itself: no hub, no download (DESIGN.md, "Data" and "Backbone").

Nothing here imports torch or transformers until the encoder is really asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from experiments.embedded.tasks import GENERATOR_VERSION, sentence_task

if TYPE_CHECKING:
    import datasets as datasets

__all__ = ["GENERATOR_VERSION", "encoder_folder", "recipe_hash", "sentence_task"]
