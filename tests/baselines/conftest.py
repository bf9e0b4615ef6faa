"""Every test that asks for a backbone or a method runs once for each."""

from __future__ import annotations

import pytest
from tiny_backbones import BACKBONES, METHODS, Backbone


@pytest.fixture(params=BACKBONES)
def backbone(request: pytest.FixtureRequest) -> Backbone:
    return BACKBONES[request.param]


@pytest.fixture(params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return str(request.param)
