"""A report in a real browser: what paper shows, and a telephone; skipped where there is no chromedriver."""

import shutil
from pathlib import Path

import pytest

from pcclip.cli import main
from tests.evaluation.known_results import save_experiment


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    if shutil.which("chromedriver") is None:
        pytest.skip("no chromedriver on PATH")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    folder = tmp_path_factory.mktemp("report-in-a-browser")
    runs = [save_experiment(folder / name, [600, 440], pairs_right=0.9) for name in ("ours", "others")]
    page = folder / "r.html"
    assert main(["report", *map(str, runs), "--suite=mine", f"--out={page}"]) == 0
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    for flag in [*flags, f"--user-data-dir={folder / 'profile'}"]:
        options.add_argument(flag)
    started = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    started.get(Path(page).as_uri())
    yield started
    started.quit()


def heights(driver) -> list[float]:
    """Of what is inside each folded part."""
    return driver.execute_script(
        "return [...document.querySelectorAll('details')].map(one => "
        "one.checkVisibility() && one.lastElementChild.checkVisibility({contentVisibilityAuto: true}) "
        "? one.lastElementChild.getBoundingClientRect().height : 0)"
    )


def test_paper_shows_what_is_folded(driver):
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen"})
    folded = heights(driver)
    assert folded
    assert max(folded) == 0
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert min(heights(driver)) > 10


def test_a_telephone_shows_all_without_scrolling_sideways(driver):
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "screen"})
    size = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
