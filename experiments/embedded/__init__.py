"""Data and an encoder made by the suite itself: no hub, no download (DESIGN.md, "Data" and "Backbone").

Nothing here imports torch or transformers until the encoder is really asked for.
"""

from __future__ import annotations

from experiments.embedded.pretraining import encoder_folder, recipe_hash
from experiments.embedded.tasks import GENERATOR_VERSION, sentence_task

__all__ = ["GENERATOR_VERSION", "encoder_folder", "recipe_hash", "sentence_task"]
