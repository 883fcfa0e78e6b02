"""The local page in a real browser; skipped where there is no chromedriver."""

import shutil
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from pcclip.inference.gallery import Gallery
from pcclip.inference.model import load
from tests.inference.serving import NASTY, make_pictures, make_run, serving

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TEXT, OTHER = "the picture is darker", "a red wall"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    if shutil.which("chromedriver") is None:
        pytest.skip("no chromedriver on PATH")
    folder = tmp_path_factory.mktemp("browser")
    make_run(folder)
    make_pictures(folder / "pictures")
    return folder


@pytest.fixture(scope="module")
def server(place):
    with serving(place / "pictures", place / "runs" / "small", place / "cache") as running:
        yield running


@pytest.fixture(scope="module")
def open_browser(place):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for flag in [*FLAGS, f"--user-data-dir={place / 'profile'}"]:
        options.add_argument(flag)
    driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
    driver.set_window_size(1280, 900)
    yield driver
    driver.quit()


class Page:
    def __init__(self, driver, url):
        self.driver = driver
        self.url = url

    def open(self, query: str = "") -> "Page":
        self.driver.get(self.url + query)
        return self.settled()

    def one(self, selector: str):
        return self.driver.find_element("css selector", selector)

    def settled(self) -> "Page":
        """After the answer that is under way."""
        from selenium.webdriver.support.ui import WebDriverWait

        WebDriverWait(self.driver, 20).until(
            lambda d: d.execute_script(
                "const c = document.getElementById('columns'), e = document.getElementById('error');"
                "return !c.hasAttribute('aria-busy') && (c.children.length > 0 || !e.hidden)"
            )
        )
        return self

    def type(self, selector: str, text: str, then: str = "\n") -> "Page":
        field = self.one(selector)
        field.clear()
        field.send_keys(text + then)
        return self.settled()

    def names(self, stage: str, end: str = "most") -> list[str]:
        return self.driver.execute_script(
            "return [...document.querySelectorAll(`section[data-stage=${arguments[0]}] "
            "[data-end=${arguments[1]}] .card`)].map((card) => card.dataset.name)",
            stage,
            end,
        )

    def words(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.driver.current_url).query)


@pytest.fixture
def page(open_browser, server) -> Page:
    return Page(open_browser, server.url)


def ranked(place: Path, stage: str, text: str, **words) -> list[str]:
    model = load(place / "runs" / "small", stage=stage)
    gallery = Gallery.open(place / "pictures", model)
    order = model.search(gallery, but=text, **words) if words else model.rank(gallery, text)
    return [one.picture for one in order]


def test_type_pick_compare_and_come_back_by_the_link(page: Page, place):
    page.open()
    assert "A sample of 20 of 30 pictures" in page.one("#status").text
    page.type("#text", TEXT)
    for stage in ("base", "tuned"):
        order = ranked(place, stage, TEXT)
        assert page.names(stage) == order[:20]
        assert page.names(stage, "least") == order[:9:-1]
    assert page.names("base") != page.names("tuned")
    shared = len(set(page.names("base")) & set(page.names("tuned")))
    assert f"Of the first 20 of either model {shared} are the same." in page.one("#status").text
    assert page.one("#note").text.startswith("base: Not finetuned on differences")
    first = page.one("section[data-stage=tuned] .card")
    assert first.text.split()[0] == "#1"
    float(first.text.split()[1].replace("\N{MINUS SIGN}", "-"))

    page.type("#text", OTHER)
    order = ranked(place, "tuned", OTHER)
    assert page.names("tuned") == order[:20] != ranked(place, "tuned", TEXT)[:20]

    picked = page.names("tuned")[3]
    page.driver.find_elements("css selector", "section[data-stage=tuned] .card")[3].click()
    page.settled()
    assert page.one("#picked-name").text == picked
    assert page.names("tuned") == ranked(place, "tuned", OTHER, like=picked)[:20]
    assert page.names("tuned", "least") == []

    page.driver.execute_script(
        "const w = document.getElementById('weight'); w.value = '2.5'; w.dispatchEvent(new Event('input'))"
    )
    until(page, lambda: page.words().get("weight") == ["2.5"])
    page.settled()
    assert page.names("tuned") == ranked(place, "tuned", OTHER, like=picked, weight=2.5)[:20]

    page.one("#stages input[value=base]").click()
    page.settled()
    assert page.names("base") == []
    shown, link = page.names("tuned"), page.driver.current_url
    page.open()
    page.driver.get(link)
    page.settled()
    assert page.names("tuned") == shown
    assert page.one("#text").get_property("value") == OTHER
    assert page.one("#weight").get_property("value") == "2.5"
    assert page.names("base") == []
    assert logged(page) == []


def test_the_keyboard_is_enough(page: Page, place):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    page.open("?stage=tuned")

    def press(*keys: str) -> None:
        ActionChains(page.driver).send_keys(*keys).perform()

    press("/", TEXT, Keys.ENTER)
    until(page, lambda: page.words().get("text") == [TEXT])
    page.settled()
    press(*[Keys.TAB] * 6)  # opposite, button, base, tuned, link, least
    press(Keys.TAB, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.ARROW_DOWN)
    down = page.driver.execute_script("return document.activeElement.dataset.name")
    across = page.driver.execute_script(
        "const all = [...document.querySelectorAll('.card')].map((c) => c.offsetTop);"
        "return all.filter((top) => top === all[0]).length"
    )
    assert down == page.names("tuned")[1 + across]
    page.one(".jump").send_keys(Keys.ENTER)
    least = page.driver.execute_script("return document.activeElement.dataset.name")
    assert least == page.names("tuned", "least")[0]
    press(Keys.ENTER)
    until(page, lambda: page.words().get("like") == [least])
    page.settled()
    press(Keys.ESCAPE)
    until(page, lambda: "like" not in page.words())
    page.driver.back()
    until(page, lambda: page.words().get("like") == [least])
    assert page.settled().one("#picked-name").text == least


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(page: Page, scheme):
    command = page.driver.execute_cdp_cmd
    command(
        "Emulation.setDeviceMetricsOverride",
        {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True},
    )
    command("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    try:
        page.open(f"?text={TEXT}&like=02.jpg")
        assert page.driver.execute_script("return document.documentElement.scrollWidth") == 390
        sides = page.driver.execute_script(
            "return [...document.querySelectorAll('.card')].map((c) => c.offsetWidth)"
        )
        assert min(sides) >= 70
        ink, paper = (page.one("body").value_of_css_property(name) for name in ("color", "background-color"))
        assert (brightness(ink) > brightness(paper)) == (scheme == "dark")
        assert abs(brightness(ink) - brightness(paper)) > 150
    finally:
        command("Emulation.clearDeviceMetricsOverride", {})
        command("Emulation.setEmulatedMedia", {"features": []})


def test_errors_and_names_that_are_markup_are_shown_as_words(page: Page, server, place):
    page.open("?like=absent.jpg")
    assert page.one("#error").text == "'absent.jpg' is not among the folder's 30 pictures."
    page.type("#opposite", TEXT)
    page.one("#unpick").click()
    until(page, lambda: page.one("#error").text.startswith("An opposite alone"))
    page.one("#opposite").clear()
    page.type("#text", "<b>bold</b>")
    assert not page.one("#error").is_displayed()
    assert "<b>bold</b>" in page.one("h3").text
    page.open("?count=30")
    assert NASTY.removesuffix(".png") in [
        card.text for card in page.driver.find_elements("css selector", ".card")
    ]
    assert page.driver.find_elements("css selector", ".card b, .card img[alt='x']") == []


def test_a_server_that_is_gone_is_said(page: Page, place, open_browser):
    with serving(place / "pictures", place / "base", place / "cache-2") as other:
        gone = Page(open_browser, other.url).open()
        assert not gone.one("#stages").is_displayed()  # one model only
    gone.type("#text", TEXT)
    assert "does not answer" in gone.one("#error").text


def until(page: Page, true) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(page.driver, 20).until(lambda _: true())


def brightness(colour: str) -> float:
    return sum(float(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) / 3


def logged(page: Page) -> list[str]:
    return [entry["message"] for entry in page.driver.get_log("browser")]
