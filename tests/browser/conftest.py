"""Debian's Chromium and its driver, handed to Selenium by path so that it fetches nothing."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from tests.missing import need

type Open = Callable[..., Chrome]


def _programs() -> tuple[str, str]:
    """Browser and driver; without them the test ends here."""
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not browser or not driver:
        need("browser", "chromium or chromedriver is not installed (make packages)")
    assert browser and driver
    return browser, driver


@pytest.fixture
def open_browser(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens a browser that ends with the test; a failure leaves a screenshot and says where."""
    opened: list[Chrome] = []

    def open_one(*, javascript: bool = True) -> Chrome:
        browser, driver = _programs()
        options = ChromeOptions()
        options.binary_location = browser
        for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
            options.add_argument(f"--{argument}")
        options.add_argument("--window-size=1100,900")
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if not javascript:
            off = {"profile.managed_default_content_settings.javascript": 2}
            options.add_experimental_option("prefs", off)
        opened.append(Chrome(options=options, service=ChromeService(executable_path=driver)))
        return opened[-1]

    failed_before = request.session.testsfailed
    yield open_one
    for number, browser in enumerate(opened):
        if request.session.testsfailed > failed_before:
            shot = tmp_path / f"screen-{number}.png"
            browser.save_screenshot(str(shot))
            sys.stderr.write(f"screenshot: {shot}\n")
        browser.quit()
