"""What is taken along is what was on screen, unrounded; and a snapshot opens from disk with nothing to connect to."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from headrace.settings import Settings
from headrace.testing import wait_until
from tests.e2e.acting import PATIENCE_S
from tests.e2e.conftest import Opens, Windows
from tests.unit.frames import Story, StoryBus, StoryPage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

TALL = 2800


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served() -> AsyncIterator[StoryPage]:
    """A dashboard with two minutes of a story behind it."""
    async with StoryPage(StoryBus(Settings(), Story.steady(time.time()), past_s=120)) as page:
        yield page


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(served: StoryPage, windows: Windows) -> AsyncIterator[Page]:
    """The overview half a minute ago: it stands still, so that what is saved can be compared."""
    at = int((time.time() - 30) * 1000) // 1000 * 1000
    async with windows.opening() as opens:
        page = await opens(f"{served.url}?at={at}", height=TALL)
        await expect(page.locator("#chart-throughput .scatterlayer path.js-line").first).to_be_attached()
        await expect(page.locator("#rows-models tr").first).to_be_attached()
        yield page


async def saved(page: Page, card: str, kind: str) -> tuple[str, bytes]:
    await page.click(f"#{card} .take")
    async with page.expect_download() as coming:
        await page.click(f"#{card} .takes button:has-text('{kind}')")
    download = await coming.value
    return download.suggested_filename, await asyncio.to_thread(Path(await download.path()).read_bytes)


async def test_a_chart_as_csv_has_every_visible_point_with_its_time(page: Page) -> None:
    name, content = await saved(page, "traffic", "CSV")
    assert re.fullmatch(r"headrace-overview-traffic-\d{8}T\d{6}Z\.csv", name)
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    tier = await page.evaluate(
        "(() => { const t = headrace.clock.tier(); return [t.times, t.values['in:requests']]; })()"
    )
    end = await page.evaluate("headrace.clock.end()")
    wanted = [(at, value) for at, value in zip(*tier, strict=True) if end - 60 <= at <= end]
    assert [float(row["requests in"]) for row in rows] == [value for _, value in wanted]
    times = [datetime.fromisoformat(row["time"]).timestamp() for row in rows]
    assert times == pytest.approx([at for at, _ in wanted], abs=0.002)


async def test_a_table_as_json_has_the_values_that_were_rounded_on_screen(page: Page) -> None:
    name, content = await saved(page, "serving", "JSON")
    assert name.endswith(".json")
    found = json.loads(content)
    assert (found["page"], found["card"], found["window_s"]) == ("overview", "serving", 60)
    models = await page.evaluate("headrace.store.sections.overview.models")
    rows = [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]
    assert [row["key"] for row in rows] == [model["key"] for model in models]
    assert [row["requests_s"] for row in rows] == [model["requests_s"] for model in models]
    assert rows[0]["accuracy.share"] == models[0]["accuracy"]["share"]


async def test_a_chart_as_png_is_twice_its_size(page: Page) -> None:
    name, content = await saved(page, "depth", "PNG")
    assert name.endswith(".png")
    assert content.startswith(b"\x89PNG")
    width = await page.evaluate("document.querySelector('#chart-depth .js-plotly-plot').clientWidth")
    assert int.from_bytes(content[16:20], "big") == 2 * width


async def test_the_menu_is_one_for_the_keyboard_too(page: Page) -> None:
    button = page.locator("#models .take")
    await expect(button).to_have_attribute("aria-label", re.compile("Export .+"))
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("#models .takes button").first).to_be_focused()
    await page.keyboard.press("ArrowDown")
    await expect(page.locator("#models .takes button").nth(1)).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(page.locator(".takes")).to_have_count(0)
    await expect(button).to_be_focused()


async def test_a_snapshot_opens_from_disk_and_shows_the_same(page: Page, opened: Opens, tmp_path: Path) -> None:
    async with page.expect_download() as coming:
        await page.click("#snapshot")
    download = await coming.value
    assert re.fullmatch(r"headrace-overview-\d{8}T\d{6}Z\.html", download.suggested_filename)
    file = tmp_path / "report.html"
    await download.save_as(file)
    tiles = ".tile .value"
    wanted = await page.locator(tiles).all_text_contents()
    alone = await opened(file.as_uri(), height=TALL)

    async def drawn() -> bool:
        return await alone.locator(tiles).all_text_contents() == wanted

    await wait_until(drawn, PATIENCE_S, f"the tiles to say {wanted}")
    await expect(alone.locator("#chart-throughput .scatterlayer path.js-line").first).to_be_attached()
    await expect(alone.locator("#rows-models tr")).to_have_count(await page.locator("#rows-models tr").count())
    await expect(alone.locator("#pill")).to_contain_text("snapshot")
    await expect(alone.locator(".about-snapshot")).to_contain_text("taken 20")


async def test_what_is_drawn_on_canvases_is_a_picture_too_with_title_and_legend(
    served: StoryPage, opened: Opens
) -> None:
    at = int((time.time() - 20) * 1000) // 1000 * 1000
    page = await opened(f"{served.url}training?at={at}", height=TALL)
    await expect(page.locator("#plots canvas").first).to_be_attached()
    await expect(page.locator("#legend-runs .entry").first).to_be_attached()
    name, content = await saved(page, "curves-card", "PNG")
    assert re.fullmatch(r"headrace-training-curves-\d{8}T\d{6}Z\.png", name)
    assert content.startswith(b"\x89PNG")
    width = await page.evaluate("document.querySelector('#plots').getBoundingClientRect().width")
    assert int.from_bytes(content[16:20], "big") >= 2 * width
    ratio = await page.evaluate(
        "document.querySelector('#plots canvas').width / document.querySelector('#plots').clientWidth"
    )
    assert ratio < 1, "the canvas on the page is as it was before"


async def test_a_snapshot_of_the_models_page_has_its_trails_and_what_was_looked_up(
    served: StoryPage, opened: Opens, tmp_path: Path
) -> None:
    page = await opened(f"{served.url}models", height=TALL)
    await expect(page.locator("#rows-worst tr").first).to_be_attached()
    shown = await page.evaluate("headrace.model.key()")
    async with page.expect_download(timeout=60_000) as coming:
        await page.click("#snapshot")
    file = tmp_path / "models.html"
    await (await coming.value).save_as(file)
    alone = await opened(file.as_uri(), height=TALL)
    await expect(alone.locator("#model-rate .scatterlayer path.js-line").first).to_be_attached()
    await expect(alone.locator("#model-mix .scatterlayer path.js-line").first).to_be_attached()
    await expect(alone.locator("#rows-worst tr").first).to_be_attached()
    assert await alone.evaluate("[headrace.model.key(), headrace.model.trail().times.length > 20]") == [shown, True]
