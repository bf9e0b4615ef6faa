"""Tests of the method; a process that torch spawns comes here without conftest.py."""

import gpart  # noqa: F401  first: it repairs a torchvision that does not fit torch
