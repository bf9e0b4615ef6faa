"""The page in a real headless Chromium: what it does, and whether it can be read."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.__main__ import main
from tests.analysis.conftest import record, write

WebDriverWait = pytest.importorskip("selenium.webdriver.support.wait", reason="selenium is not installed").WebDriverWait
pytestmark = pytest.mark.slow

Opener = Callable[..., Any]

CONTRAST = """
const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
const parsed = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const background = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const [r, g, b, a = 1] = parsed(getComputedStyle(e).backgroundColor);
    if (a === 1) return [r, g, b];
  }
  return [255, 255, 255];
};
const found = [];
for (const element of document.querySelectorAll(arguments[0])) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  if (!own || !element.getClientRects().length) continue;
  const style = getComputedStyle(element);
  const ink = parsed(element.closest("svg") ? style.fill : style.color);
  const [high, low] = [luminance(ink), luminance(background(element))].sort((a, b) => b - a);
  found.push([(high + 0.05) / (low + 0.05), element.tagName, element.textContent.trim().slice(0, 30)]);
}
return found.sort((a, b) => a[0] - b[0]);
"""
"""WCAG 2.2 contrast ratios of all elements that have text of their own, least first."""


@pytest.fixture(scope="module")
def address(filled: Path) -> str:
    assert main(["report", str(filled), "--baseline", "head"]) == 0
    return (filled / "report.html").as_uri()


@pytest.fixture
def opened(browser: Any, address: str) -> Opener:
    """Open the page afresh: `opened(fragment, width, scheme, media)`."""

    def open_page(fragment: str = "", width: int = 1280, scheme: str = "light", media: str = "screen") -> Any:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [feature]})
        browser.get("about:blank")
        browser.get(address + fragment)
        return browser

    return open_page


def find(page: Any, selector: str) -> list[Any]:
    return page.find_elements("css selector", selector)


def open_runs(page: Any, button: Any) -> list[Any]:
    """Press a number, and wait for its runs, which are unpacked on the way."""
    button.click()
    return shown_runs(page)


def shown_runs(page: Any) -> list[Any]:
    """The runs of the open cell."""
    return WebDriverWait(page, 10).until(lambda _: find(page, ".run"))


def column(page: Any, number: int) -> list[tuple[str, str]]:
    """Label and number of the visible rows of the first table, from top to bottom."""
    rows = [row for row in find(page, "#table-1 h3:first-of-type + .scroll tbody tr") if row.is_displayed()]
    return [(find(row, "th")[0].text, find(row, "td")[number].text.split("\n")[0]) for row in rows]


def heading(page: Any, text: str) -> Any:
    (found, *_) = [button for button in find(page, "#table-1 button.sort") if button.text.startswith(text)]
    return found


def test_the_page_loads_from_disk_without_errors_or_requests(opened: Opener, browser: Any) -> None:
    browser.get_log("performance")
    page = opened()
    open_runs(page, find(page, "button.cell")[0])
    assert page.get_log("browser") == []
    assert page.execute_script("return window.broken") is None
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    urls = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [url.split(":")[0] for url in urls if not url.startswith(("data:", "about:"))] == ["file"]


def test_a_heading_sorts_both_ways_with_missing_last(opened: Opener) -> None:
    page = opened()
    button = heading(page, "glue/sst2")
    button.click()
    assert [value for _, value in column(page, 3)][:3] == ["85.00 ± 3.54", "80.00 ± 0.00", "72.75 ± 0.35"]
    assert button.find_element("xpath", "..").get_attribute("aria-sort") == "descending"
    button.send_keys("\ue007")  # Enter
    assert [value for _, value in column(page, 3)] == ["72.75 ± 0.35", "80.00 ± 0.00", "85.00 ± 3.54", "1 error"]
    assert button.find_element("xpath", "..").get_attribute("aria-sort") == "ascending"
    heading(page, "glue/rte").click()
    assert [value for _, value in column(page, 2)] == ["62.50", "50.00", "missing", "missing"]
    heading(page, "glue/rte").click()
    assert [value for _, value in column(page, 2)] == ["50.00", "62.50", "missing", "missing"]
    heading(page, "method").click()
    labels = [label for label, _ in column(page, 2)]
    assert labels[1:] == ["gpart, d=4608", "head", "lora, r=8"]


def test_numbers_sort_as_numbers(opened: Opener) -> None:
    page = opened()
    heading(page, "parameters").click()
    counts = [value for _, value in column(page, 0)]
    assert counts[-2:] == ["4,608", "0"]
    assert counts[:-2] == ["22,713,216", "147,456"]


def test_text_and_boxes_filter_rows_and_columns(opened: Opener) -> None:
    page = opened()
    (box,) = find(page, "input[type=search]")
    box.send_keys("GPART d=46")
    assert [label for label, _ in column(page, 2)] == ["gpart, d=4608"]
    assert "2 of 8 rows" in find(page, "output")[0].text
    assert any(note.is_displayed() for note in find(page, ".nothing"))
    find(page, "button[type=reset]")[0].click()
    page.execute_async_script("setTimeout(arguments[0], 50)")
    assert len(column(page, 2)) == 4
    find(page, "input[name=methods][value=head]")[0].click()
    assert "head" not in [label for label, _ in column(page, 2)]
    find(page, "input[name=tasks][value='glue/rte']")[0].click()
    assert not [cell for cell in find(page, "[data-task='glue/rte']") if cell.is_displayed()]
    assert [cell for cell in find(page, "[data-task='glue/sst2']") if cell.is_displayed()]


def test_a_number_opens_its_runs_and_escape_closes_them(opened: Opener, filled: Path) -> None:
    page = opened()
    (button,) = [b for b in find(page, "button.cell") if b.text.startswith("85.00")]
    open_runs(page, button)
    assert find(page, "#drilldown-title")[0].text == "lora, r=8"
    records = {path.parent.name: json.loads(path.read_text()) for path in filled.rglob("lora/*/record.json")}
    assert {run.get_attribute("data-id") for run in find(page, ".run")} == set(records)
    for run in find(page, ".run"):
        content = records[run.get_attribute("data-id")]
        assert find(run, "summary .score")[0].text == f"{100 * content['metrics']['test']['accuracy']:.2f}"
        assert f"seed {content['seed'] if 'seed' in content else content['seeds']['init']}" in run.text
    shown = find(page, ".run[open]")[0]
    assert find(shown, ".record")[0].text == f"glue-sst2/lora/{shown.get_attribute('data-id')}/record.json"
    assert len(find(shown, "svg.chart path.curve")) == 2
    assert "120 of 300 points" in shown.text
    find(shown, "details.more summary")[0].click()
    assert "baselines" in shown.text or "peft.LoraConfig" in shown.text
    page.switch_to.active_element.send_keys("\ue00c")  # Escape
    assert not find(page, "dialog[open]")
    assert page.switch_to.active_element.text == button.text
    page.execute_async_script("setTimeout(arguments[0], 100)")  # the address follows the dialog's closing
    assert "#" not in page.current_url


def test_a_run_is_filled_when_it_is_opened(opened: Opener) -> None:
    page = opened()
    (button,) = [b for b in find(page, "button.cell") if b.text.startswith("85.00")]
    _, second = open_runs(page, button)
    assert not find(second, ".record")
    find(second, "summary")[0].click()
    WebDriverWait(page, 10).until(lambda _: find(second, ".record"))
    assert second.get_attribute("data-id") in find(second, ".record")[0].text


def test_many_runs_of_a_cell_are_shown_in_parts(browser: Any, tmp_path: Path) -> None:
    ids = {seed: write(tmp_path, record(seed=seed)).parent.name for seed in range(60)}
    assert main(["report", str(tmp_path)]) == 0
    browser.get((tmp_path / "report.html").as_uri())
    assert len(open_runs(browser, find(browser, "button.cell")[0])) == 50
    assert find(browser, ".further")[0].text == "60 runs:\n1 to 50\n51 to 60"
    find(browser, ".further a[href]")[0].click()
    WebDriverWait(browser, 10).until(lambda _: len(find(browser, ".run")) == 10)
    shown = {run.get_attribute("data-id") for run in find(browser, ".run")}
    assert shown == {ids[seed] for seed in range(50, 60)}
    browser.get("about:blank")
    browser.get(f"{(tmp_path / 'report.html').as_uri()}#run-{ids[55]}")
    shown_runs(browser)
    assert find(browser, ".run[open]")[0].get_attribute("data-id") == ids[55]


def test_going_back_closes_the_runs(opened: Opener) -> None:
    page = opened()
    find(page, "button.cell")[0].click()
    assert find(page, "dialog[open]")
    page.back()
    page.execute_async_script("setTimeout(arguments[0], 100)")
    assert not find(page, "dialog[open]")


def test_a_link_opens_its_run(opened: Opener, filled: Path) -> None:
    (path, _) = sorted(filled.rglob("gpart/*/record.json"), key=lambda p: "rte" not in str(p))[:2]
    page = opened(f"#run-{path.parent.name}")
    shown_runs(page)
    (run,) = find(page, f".run[open][data-id='{path.parent.name}']")
    assert find(run, "summary .score")[0].text == "62.50"
    assert str(2**60) in run.text
    assert not [note for note in find(opened(""), "#message") if note.is_displayed()]
    page = opened("#run-absent")
    assert "No run absent" in find(page, "#message")[0].text
    assert not find(page, "dialog[open]")


def test_a_failed_run_shows_its_error_as_text(opened: Opener) -> None:
    page = opened()
    (button,) = [b for b in find(page, "#table-1 button.cell") if b.text.startswith("1 error")][:1]
    open_runs(page, button)
    assert "</script><script>window.broken=1</script>" in find(page, "dialog .error")[0].text
    assert page.execute_script("return window.broken") is None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(opened: Opener, scheme: str) -> None:
    page = opened(scheme=scheme)
    least = page.execute_script(CONTRAST, "body *:not(dialog *)")
    assert len(least) > 50
    assert least[0][0] >= 4.5, least[0]
    open_runs(page, find(page, "button.cell")[0])
    least = page.execute_script(CONTRAST, "dialog *")
    assert len(least) > 30
    assert least[0][0] >= 4.5, least[0]


def test_the_theme_can_be_chosen(opened: Opener) -> None:
    page = opened(scheme="dark")
    colour = "return getComputedStyle(document.body).backgroundColor"
    dark = page.execute_script(colour)
    (button,) = find(page, "#theme")
    button.click()
    assert button.text == "Theme: light"
    light = page.execute_script(colour)
    assert light != dark
    button.click()
    assert page.execute_script(colour) == dark
    button.click()
    assert button.text == "Theme: system"


@pytest.mark.parametrize("fragment", ["", "drilldown"])
def test_a_narrow_screen_never_scrolls_the_page_sideways(opened: Opener, fragment: str) -> None:
    page = opened(width=360)
    if fragment:
        page.execute_script("document.querySelector('button.cell').click()")
        shown_runs(page)
        assert page.execute_script("const d = document.querySelector('dialog'); return d.scrollWidth <= d.clientWidth")
    width, window = page.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert (width <= window, window) == (True, 360)
    inside = page.execute_script(
        "return [...document.querySelectorAll('.scroll')].map(e => e.scrollWidth > e.clientWidth)"
    )
    assert any(inside)


def test_printing_leaves_the_controls_out(opened: Opener) -> None:
    page = opened(scheme="dark", media="print")
    assert not [part for part in find(page, "#filter, #theme, nav") if part.is_displayed()]
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.execute_script(CONTRAST, "body *:not(dialog *)")[0][0] >= 4.5
    printed = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {})["data"])
    assert printed.startswith(b"%PDF")
