"""The console as a page in a real browser, on a real region; the docs show what it saw."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright

from mulligan.proto import v1
from tests.browser.parts import CHROMIUM
from tests.browser.site import site
from tests.e2e.fleet import Fleet
from tests.e2e.region import MULLIGAN, RunningRegion, short_folder

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium; `nox -s browser` brings it"),
]

PICTURES = Path(__file__).parents[2] / "docs" / "images"
FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")
VIEW = {"width": 1440, "height": 860}
PATIENCE_S = 20.0


@pytest.fixture(scope="module")
async def running() -> AsyncIterator[tuple[RunningRegion, Fleet]]:
    with short_folder() as folder:
        async with site(folder) as found:
            yield found


@pytest.fixture(scope="module")
async def address(running: tuple[RunningRegion, Fleet]) -> AsyncIterator[str]:
    """The address that `mulligan console --web` prints."""
    region, _ = running
    process = await asyncio.create_subprocess_exec(
        *MULLIGAN,
        *("console", "--web", "--port", "0"),
        env=dict(region.environment),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 30)
    yield line.decode().split()[-1]
    process.terminate()
    assert await asyncio.wait_for(process.wait(), 15) == 0


class Tab:
    """A tab with the console in it; ``asked`` are the addresses that it loaded from."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))

    async def open(self, address: str) -> None:
        await self.page.goto(address)
        await self.page.wait_for_selector("body.-first-byte", timeout=30_000)
        await asyncio.sleep(0.25)

    async def press(self, *keys: str) -> None:
        """Press keys as people do: Escape with a key right behind it would be another key."""
        for key in keys:
            await self.page.keyboard.press(key)
            await asyncio.sleep(0.25)

    async def picture(self, name: str) -> None:
        """Keep what is seen for the docs, once it is the same for a while."""
        before, now = b"", await self.page.screenshot()
        for _ in range(40):
            await asyncio.sleep(0.4)
            before, now = now, await self.page.screenshot()
            if before == now:
                break
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / f"console-{name}.png").write_bytes(now)

    async def shares(self, *colours: str) -> list[int]:
        """Count the pixels of some colours, as the browser drew them."""
        encoded = (await self.page.screenshot()).hex()
        counted: list[int] = await self.page.evaluate(_COUNT, [encoded, list(colours)])
        return counted

    async def until(self, colour: str, *, least: int = 40, within: float = PATIENCE_S) -> None:
        """Return once so many pixels of a colour are there."""
        deadline = time.monotonic() + within
        while (await self.shares(colour))[0] < least:
            assert time.monotonic() < deadline, f"no {colour} on the screen"
            await asyncio.sleep(0.2)


_COUNT = """async ([hex, colours]) => {
  const bytes = Uint8Array.from(hex.match(/../g), pair => parseInt(pair, 16));
  const image = await createImageBitmap(new Blob([bytes]));
  const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
  canvas.drawImage(image, 0, 0);
  const data = canvas.getImageData(0, 0, image.width, image.height).data;
  const wanted = colours.map(text => parseInt(text.slice(1), 16));
  const counts = wanted.map(() => 0);
  for (let at = 0; at < data.length; at += 4) {
    const place = wanted.indexOf(data[at] << 16 | data[at + 1] << 8 | data[at + 2]);
    if (place >= 0) counts[place] += 1;
  }
  return counts;
}"""
ACTIVE, AVAILABLE, AMBER, LINK = "#4d96ff", "#4fc08d", "#f2c14e", "#5fb3f3"


@pytest.fixture
async def tab() -> AsyncIterator[Tab]:
    async with async_playwright() as play:
        browser = await play.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        page = await browser.new_page(viewport=VIEW)  # type: ignore[arg-type]
        yield Tab(page)
        await browser.close()


async def test_the_fleet_is_drawn_and_nothing_comes_from_elsewhere(tab: Tab, address: str) -> None:
    await tab.open(address)
    await tab.until(ACTIVE)
    assert (await tab.shares(AVAILABLE))[0] > 40
    own = re.match(r"http://[^/]+", address)
    assert own is not None
    assert all(url.startswith((own[0], own[0].replace("http", "ws"), "data:")) for url in tab.asked)
    assert "key=" not in tab.page.url
    await tab.press("Home", "Enter")
    await tab.picture("fleet")


async def test_every_page_is_shown_by_its_key(tab: Tab, address: str) -> None:
    await tab.open(address)
    await tab.until(ACTIVE)
    await tab.press("Home", "h")
    await tab.until("#1a2431", least=2000)
    await tab.picture("history")
    for key, name in (("2", "log"), ("4", "claims"), ("5", "projections"), ("6", "problems")):
        await tab.press("Escape", key)
        await tab.picture(name)
    await tab.press("1")
    await tab.until(ACTIVE)
    await tab.press("w")
    await tab.picture("why")
    await tab.press("Escape", "a")
    await tab.picture("actions")


async def test_the_past_is_marked_and_the_present_comes_back(tab: Tab, address: str) -> None:
    await tab.open(address)
    await tab.until(ACTIVE)
    await tab.press("t", "g")
    await tab.page.keyboard.type("-150")
    await tab.press("Enter")
    await tab.until(AMBER, least=2000)
    await tab.picture("past")
    await tab.press("Escape", "l")
    deadline = time.monotonic() + PATIENCE_S
    while (await tab.shares(AMBER))[0] > 500:
        assert time.monotonic() < deadline, "the past does not end"
        await asyncio.sleep(0.2)


async def test_a_change_is_seen_without_a_key(
    tab: Tab, address: str, running: tuple[RunningRegion, Fleet]
) -> None:
    region, fleet = running
    await tab.open(address)
    await tab.until(ACTIVE)
    retired = v1.RetireMachineRequest(machine=fleet.names[17], reason="old")
    before = (await tab.shares("#5b7fb5"))[0]
    await region.client().control.retire_machine(retired)
    deadline = time.monotonic() + PATIENCE_S
    while (await tab.shares("#5b7fb5"))[0] >= before:
        assert time.monotonic() < deadline, "the machine is still drawn as manageable"
        await asyncio.sleep(0.1)


async def test_q_ends_the_console_and_the_page_says_so(tab: Tab, address: str) -> None:
    await tab.open(address)
    await tab.until(ACTIVE)
    await tab.press("q")
    await tab.page.wait_for_selector("body.-closed", timeout=10_000)
    await tab.page.click("text=Start it again")
    await tab.page.wait_for_selector("body.-first-byte", timeout=30_000)
