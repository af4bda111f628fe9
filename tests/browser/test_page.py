"""The template's page in a real browser, against the server that ``serve.py`` starts."""

from collections.abc import Iterator

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests import fresh_project
from tests.browser.conftest import Open

pytestmark = [
    pytest.mark.browser,
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.timeout(240),
]

PATIENCE = 60.0

#: Remembers each state that a row shows, in order, from the moment the script runs.
WATCH = """
window.seen = [];
new MutationObserver(() => {
  const row = document.querySelector("#jobs > li");
  if (row && seen.at(-1) !== row.dataset.state) seen.push(row.dataset.state);
}).observe(document.querySelector("#jobs"), {subtree: true, childList: true, attributes: true});
"""


@pytest.fixture(scope="module", params=["development", "production"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a fresh project's server, with DEBUG and without."""
    project = fresh_project.create(tmp_path_factory.mktemp("site"))
    env = fresh_project.environment()
    if request.param == "production":
        env = fresh_project.production(SITE_URL="http://127.0.0.1")
    with fresh_project.serving(project, env) as (here, _):
        yield here


def test_a_task_goes_through_while_the_schedule_ticks(site: str, open_browser: Open) -> None:
    browser = open_browser()
    browser.get(site)
    tick = text(browser, "tick")
    browser.execute_script(WATCH)
    press(browser, "count")
    wait(browser, '#jobs > li[data-state="done"]')
    seen = browser.execute_script("return seen")
    assert seen[-2:] == ["running", "done"], seen
    row = browser.find_element(By.CSS_SELECTOR, "#jobs > li")
    assert f"in process {text(browser, 'process')}" in row.text, (
        "the page and the task: one process"
    )
    WebDriverWait(browser, PATIENCE).until(lambda _: text(browser, "tick") != tick)
    assert int(text(browser, "tick")) > int(tick)
    assert complaints(browser) == []


def test_a_task_that_fails_is_retried_before_the_eyes(site: str, open_browser: Open) -> None:
    browser = open_browser()
    browser.get(site)
    press(browser, "flaky")
    wait(browser, '#jobs > li:first-child[data-state="retrying"]')
    wait(browser, '#jobs > li:first-child[data-state="done"]')
    row = browser.find_element(By.CSS_SELECTOR, "#jobs > li:first-child")
    assert "attempt 3" in row.text
    assert "third time lucky" in row.text
    assert complaints(browser) == []


def test_the_page_works_without_javascript(site: str, open_browser: Open) -> None:
    browser = open_browser(javascript=False)
    browser.get(site)
    known = len(browser.find_elements(By.CSS_SELECTOR, "#jobs > li"))
    press(browser, "hello")
    wait(browser, f"#jobs > li:nth-child({known + 1})")
    newest = browser.find_element(By.CSS_SELECTOR, "#jobs > li").get_attribute("data-id")

    def done(_: Chrome) -> bool:
        browser.find_element(By.LINK_TEXT, "Refresh").click()
        row = f'#jobs > li[data-id="{newest}"][data-state="done"]'
        return bool(browser.find_elements(By.CSS_SELECTOR, row))

    WebDriverWait(browser, PATIENCE, ignored_exceptions=[WebDriverException]).until(done)


def test_the_admin_lets_the_first_superuser_in(site: str, open_browser: Open) -> None:
    browser = open_browser()
    browser.get(f"{site}/admin/")
    for field, value in zip(("username", "password"), fresh_project.ADMIN, strict=True):
        browser.find_element(By.NAME, field).send_keys(value)
    browser.find_element(By.CSS_SELECTOR, "[type=submit]").click()
    wait(browser, "#user-tools")
    browser.find_element(By.LINK_TEXT, "Jobs").click()
    wait(browser, "#changelist")
    assert complaints(browser) == []


def test_a_refused_submission_is_explained(site: str, open_browser: Open) -> None:
    browser = open_browser()
    browser.get(site)
    button = browser.find_element(By.CSS_SELECTOR, "button[value=hello]")
    browser.execute_script("arguments[0].value = 'nonsense'", button)
    button.click()
    message = browser.find_element(By.CSS_SELECTOR, "[role=alert]")
    WebDriverWait(browser, PATIENCE).until(lambda _: "no such task" in message.text)


def press(browser: Chrome, kind: str) -> None:
    browser.find_element(By.CSS_SELECTOR, f"button[value={kind}]").click()


def text(browser: Chrome, field: str) -> str:
    return browser.find_element(By.CSS_SELECTOR, f"[data-field={field}]").text


def wait(browser: Chrome, selector: str) -> None:
    WebDriverWait(browser, PATIENCE).until(
        lambda _: browser.find_elements(By.CSS_SELECTOR, selector), selector
    )


def complaints(browser: Chrome) -> list[str]:
    """What the console says, such as refusals of the content security policy."""
    entries = browser.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry["message"] for entry in entries]
