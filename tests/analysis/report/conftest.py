"""A folder of runs with everything that a page must show, and a browser to look at it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.analysis.conftest import record, write, write_predictions
from tests.analysis.plots.conftest import isometry

EVIL = '</script><script>window.broken=1</script><img src=x onerror="window.broken=1">\'&quot;'
"""Text that breaks out of a page which does not escape it."""


def _step(i: int) -> dict[str, Any]:
    rates = {"learning_rate": 0.1, "head_learning_rate": 0.1}
    return {"epoch": i / 100, "step": i, "loss": 2.0 / i if i != 7 else None, **rates}


HISTORY = {
    "steps": [_step(i) for i in range(1, 301)],
    "epochs": [{"epoch": i, "selection": {"accuracy": 0.7 + i / 100, "loss": 1.0 / i}} for i in range(1, 4)],
    "best_epoch": 3,
}


def fill(folder: Path) -> None:
    """Two columns, of which one has missing cells, four methods, two seeds, and runs that went wrong."""
    for seed in range(2):
        for method, right in (("gpart", 160), ("head", 145 + seed), ("lora", 175 - 10 * seed)):
            label = np.arange(200) % 2
            prediction = np.where(np.arange(200) < right, label, 1 - label)
            content = record(method, seed, score=right / 200, history=HISTORY)
            write_predictions(write(folder, content), prediction, label, np.arange(200))
    write(folder, record("head", task="glue/rte", score=0.5))
    odd = {
        "provenance__git_dirty": True,
        "config__method__config__proj_seed": 2**60,
        "diagnostics": {"isometry": isometry("gpart")},
    }
    write(folder, record("gpart", task="glue/rte", score=0.625, **odd))
    write(folder, record("gpart", 2, outcome="diverged"))
    write(folder, record("full", outcome="error", error__message=EVIL, config__method__name=EVIL))
    write(folder, record("head", track="unsearched", score=0.4))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    fill(folder)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A headless Chromium with a profile of its own, which logs its console and its requests."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no chromium with its chromedriver is installed here")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    switches = "headless=new no-sandbox disable-gpu disable-quic no-first-run disable-background-networking"
    for switch in f"{switches} disable-component-update disable-sync".split():
        options.add_argument(f"--{switch}")
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()
