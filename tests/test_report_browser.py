"""The report in a real browser: offline, without errors, with a table of claims that can be used."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from report_inputs import aggregate_of, check, settings, verdicts_of, write_tree

from pipeline import report

CHROMIUM = shutil.which("chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium here: apt-get install chromium runs the browser tests"),
]
ROW = "table.claims tbody:visible"
FIGURES = 6 * len(settings().cells) + 1 + 2


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a rendered report."""
    config, folder = settings(), tmp_path_factory.mktemp("browser")
    verdicts = verdicts_of()
    verdicts["checks"].append(check("a" * 120, "C", "inconclusive", statement="long" * 60))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_tree(aggregate_of(config), verdicts, config)
        report.run(config)
    return (folder / "reports/replica/report.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator["playwright.Browser"]:
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def opened(browser: "playwright.Browser", address: str, **options: object) -> "playwright.Page":
    context = browser.new_context(**{"offline": True, "viewport": {"width": 1280, "height": 900}, **options})
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.said, page.requested = [], []
    page.on("console", lambda message: page.said.append(message.text))
    page.on("pageerror", lambda problem: page.said.append(str(problem)))
    page.on("request", lambda request: page.requested.append(request.url))
    page.goto(address)
    return page


def test_it_loads_offline_without_a_word_or_a_request(browser: "playwright.Browser", address: str) -> None:
    page = opened(browser, address, color_scheme="dark")
    charts = page.locator(".chart")
    for number in range(charts.count()):
        charts.nth(number).scroll_into_view_if_needed()
        charts.nth(number).locator(".live svg").wait_for()
    assert charts.count() == page.locator(".live svg").count() == FIGURES
    assert page.said == []
    assert page.requested == [address]


def test_filters(browser: "playwright.Browser", address: str) -> None:
    page = opened(browser, address)
    assert page.locator(ROW).count() == 6
    page.locator('[data-filter="tier"]').select_option("C")
    assert page.locator(ROW).count() == 3
    page.locator('[data-filter="verdict"]').select_option("not reproduced")
    assert page.locator(ROW).count() == 1
    assert page.locator(".filters output").inner_text() == "1 of 6 shown"
    page.locator('[data-filter="grade"]').select_option("secondary")
    assert page.locator(ROW).count() == 0


def test_sorting_by_keyboard(browser: "playwright.Browser", address: str) -> None:
    page = opened(browser, address)
    tiers = f"{ROW} td[data-label=tier]"
    page.locator('th[data-sort="tier"] button').focus()
    page.keyboard.press("Enter")
    assert page.locator(tiers).all_inner_texts() == ["A", "B", "C", "C", "C", "D"]
    page.keyboard.press("Enter")
    assert page.locator(tiers).all_inner_texts() == ["D", "C", "C", "C", "B", "A"]
    assert page.locator('th[data-sort="tier"]').get_attribute("aria-sort") == "descending"


def test_a_row_opens_and_a_headline_leads_to_its_row(browser: "playwright.Browser", address: str) -> None:
    page = opened(browser, address)
    row = page.locator('tbody[data-claim="useful"]')
    assert not row.get_by_text("a finer grid").is_visible()
    row.locator("summary").click()
    row.get_by_text("a finer grid").wait_for(state="visible", timeout=5000)
    page.locator(".headline a").first.click()
    page.locator('tbody[data-claim="marker"]').get_by_text("a finer grid").wait_for(state="visible", timeout=5000)


@pytest.mark.parametrize("width", [360, 768])
@pytest.mark.parametrize("scripts", [True, False])
def test_no_sideways_scrolling(browser: "playwright.Browser", address: str, width: int, scripts: bool) -> None:
    page = opened(browser, address, viewport={"width": width, "height": 800}, java_script_enabled=scripts)
    page.locator("#evidence").scroll_into_view_if_needed()
    box = page.locator("body").bounding_box()
    assert box is not None and box["width"] <= width
    if scripts:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    else:
        assert page.locator(".chart > svg").count() == FIGURES


def test_a_figure_can_be_downloaded(browser: "playwright.Browser", address: str, tmp_path: Path) -> None:
    page = opened(browser, address, accept_downloads=True)
    figure = page.locator("#figure-cliff-main")
    figure.locator("summary").click()
    with page.expect_download() as download:
        figure.get_by_text("Download as CSV").click()
    download.value.save_as(tmp_path / "cliff.csv")
    assert (tmp_path / "cliff.csv").read_text(encoding="utf-8").startswith("lambda,value,low,high")
