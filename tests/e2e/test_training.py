"""The training page in a real browser: all runs, curves, a search, runs side by side; and all of it in a link."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from headrace.curves import CLOCK, read_curves
from headrace.settings import Settings
from headrace.testing import wait_until
from tests.e2e.acting import PATIENCE_S, until
from tests.e2e.conftest import Opens
from tests.unit import trainings
from tests.unit.frames import Story, StoryBus, StoryPage

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]

TALL = 2400
PAST = "past7,past8"


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def served() -> AsyncIterator[StoryPage]:
    """A dashboard with a minute of a story behind it."""
    async with StoryPage(StoryBus(Settings(), Story.steady(time.time()), past_s=60)) as page:
        yield page


async def shown(opened: Opens, served: StoryPage, query: str = "", **options: Any) -> Page:
    page = await opened(f"{served.url}training{query}", **{"height": TALL, **options})
    await expect(page.locator("#pill")).to_have_attribute("data-state", "live")
    await expect(page.locator("#runs-shown")).to_have_text(re.compile(r"2\d\d runs|of 2\d\d"))
    return page


def drawn(place: str, expression: str) -> str:
    """An expression over the picture `p` that is drawn in an element."""
    return f"((p) => p && ({expression}))(headrace.plot.shown(document.querySelector('{place}')))"


async def test_hundreds_of_runs_are_listed_and_only_those_in_view_exist(served: StoryPage, opened: Opens) -> None:
    page = await shown(opened, served)
    text = await page.locator("#runs-shown").text_content() or ""
    total = int(text.split()[0])
    frames = served.bus.story.frame(time.time(), 1)
    assert abs(total - frames.runs_total) <= 4, text
    for state in ("running", "stalled", "failed", "crashed"):
        assert state in text
    assert await page.locator("#rows-all-runs tr:not(.spacer)").count() < 24
    await expect(page.locator('#rows-all-runs tr[data-state="stalled"] td.state')).to_contain_text(
        re.compile(r"stalled \d+ s")
    )
    running = page.locator('#rows-all-runs tr[data-state="running"] .progress small', has_text="left")
    await expect(running.first).to_have_text(re.compile(r"\d+ / \d+ · .+ left"))
    await page.evaluate("document.querySelector('#runs-window').scrollTop = 200 * 42")
    await expect(page.locator("#rows-all-runs")).to_contain_text(re.compile(r"#5\d"))
    assert await page.locator("#rows-all-runs tr:not(.spacer)").count() < 24


async def test_filter_sort_and_ticks_are_in_the_address(served: StoryPage, opened: Opens) -> None:
    page = await shown(opened, served)
    await page.fill("#runs-filter input", "past solver=adam")
    await expect(page.locator("#runs-shown")).to_contain_text(f"{trainings.PAST // 3} of ")
    await page.click("#runs-head button[data-value=best]")
    finals = sorted(
        trainings.past(n, time.time(), served.bus.story.rounds).view.best["loss"] or 0
        for n in range(1, trainings.PAST, 3)
    )
    first = page.locator("#rows-all-runs tr:not(.spacer)").first
    await expect(first.locator("td").last).to_have_text(f"{finals[0]:.4g}")
    await page.mouse.move(5, 5)
    await page.click("#runs-head button[data-value=best]")
    await expect(first.locator("td").last).to_have_text(f"{finals[-1]:.4g}")
    await first.locator("input").check()
    await expect(page).to_have_url(re.compile(r"q=past.*sort=-best.*runs=past\d+"))
    ticked = await first.get_attribute("data-run")
    await page.reload()
    await expect(page.locator(f'#rows-all-runs tr[data-run="{ticked}"] input')).to_be_checked()
    await expect(page.locator("#runs-filter input")).to_have_value("past solver=adam")


async def test_curves_of_runs_long_ended_are_those_that_were_saved(served: StoryPage, opened: Opens) -> None:
    page = await shown(opened, served, f"?runs={PAST}&metrics=loss&smooth=0&x=age")
    place = "#plots .plot"
    await until(page, drawn(place, "p.series.length === 2"))
    picture = await page.evaluate(drawn(place, "p.series.map((s) => [s.key, s.x, s.y])"))
    for run, x, y in picture:
        number = int(run.removeprefix("past"))
        curves = read_curves(trainings.saved(f"run-{run}", time.time(), served.bus.story.rounds))
        assert y == pytest.approx([value for _, value in curves["loss"].points()], rel=1e-5)
        view = trainings.past(number, time.time(), served.bus.story.rounds).view
        assert x == pytest.approx([at - view.started for _, at in _clock(curves)], abs=0.01)
    await page.click("#switch-best")
    await until(page, drawn(place, "p.series.every((s) => s.y.every((v, i) => !i || v <= s.y[i - 1]))"))
    await page.click("#switch-log")
    await until(page, drawn(place, "p.log === true"))
    await page.click("#choose-x button[data-value=time]")
    await until(page, drawn(place, "p.kind === 'time' && p.series[0].x[0] > 1.7e9"))
    await expect(page).to_have_url(re.compile("best=1"))


def _clock(curves: Any) -> list[tuple[int, float]]:
    points: list[tuple[int, float]] = curves[CLOCK].points()
    return points


async def test_a_curve_grows_and_a_zoom_stays_until_a_double_click(served: StoryPage, opened: Opens) -> None:
    turn, _ = served.bus.story.rounds.at(time.time(), trainings.DISTRIBUTED_S)
    run = f"ddp{turn}"
    page = await shown(opened, served, f"?runs={run}&metrics=loss&smooth=0")
    place = "#plots .plot"
    await until(page, drawn(place, "p.series.length === 1"))
    assert await page.evaluate(drawn(place, "p.series[0].low.some((low, i) => low < p.series[0].high[i])"))
    box = await page.locator(place).bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 200, box["y"] + 90)
    await page.mouse.down()
    await page.mouse.move(box["x"] + 500, box["y"] + 94, steps=5)
    await page.mouse.up()
    await expect(page).to_have_url(re.compile("range="))
    zoomed = await page.evaluate(drawn(place, "p.range"))
    length = await page.evaluate(drawn(place, "p.series[0].x.length"))
    await expect(page.locator("#plots .tip")).to_contain_text("step")
    await until(page, drawn(place, f"p.series[0].x.length > {length}"))
    assert await page.evaluate(drawn(place, "p.range")) == zoomed
    await page.mouse.dblclick(box["x"] + 300, box["y"] + 90)
    await until(page, drawn(place, "p.range === null"))


async def test_a_search_shows_its_candidates_rungs_and_best(served: StoryPage, opened: Opens) -> None:
    rounds = served.bus.story.rounds
    turn, _ = rounds.at(time.time(), trainings.SEARCH_S)
    page = await shown(opened, served, f"?search=search{turn}")
    body = page.locator("#rows-candidates tr:not(.spacer)")
    await expect(body.first).to_be_visible()

    async def same() -> bool:
        known = trainings.candidates(turn, time.time() - 1.5, rounds)
        count = len({one.candidate for one in known})
        said = int((await page.locator("#candidates-shown").text_content() or "0").split()[0])
        highest = max((one.rung, one.metrics.get("score") or 0) for one in known if one.metrics)
        best = (await body.first.locator("td").nth(3).text_content() or "").removeprefix("★ ")
        return said in (count, count + 1, count + 2) and (highest[0] == 0 or float(best) >= highest[1] - 1e-4)

    await wait_until(same, PATIENCE_S, "the table to hold the candidates that came so far")
    await until(page, drawn("#best-so-far", "p.series[1].y.every((v, i) => !i || v >= p.series[1].y[i - 1])"))
    count = int((await page.locator("#candidates-shown").text_content() or "0").split()[0])
    box = await page.locator("#parallel").bounding_box()
    assert box is not None
    x, low = box["x"] + 46, box["y"] + 30
    await page.mouse.move(x, low + 2)
    await page.mouse.down()
    await page.mouse.move(x + 3, low + (box["height"] - 52) * 0.55, steps=4)
    await page.mouse.up()
    await expect(page).to_have_url(re.compile("brush=learning_rate"))
    await expect(page.locator("#candidates-shown")).to_contain_text(" of ")
    assert int((await page.locator("#candidates-shown").text_content() or "0").split()[0]) < count


async def test_side_by_side_marks_what_differs(served: StoryPage, opened: Opens) -> None:
    page = await shown(opened, served, f"?runs={PAST}")
    row = page.locator("#rows-compare tr", has_text="solver")
    await expect(row).to_contain_text("≠solveradamlbfgs")
    await expect(page.locator("#rows-compare tr", has_text="batch")).to_have_attribute("data-differs", "")
    best = [trainings.past(n, time.time(), served.bus.story.rounds).view.best["loss"] or 0 for n in (7, 8)]
    line = page.locator("#rows-compare tr", has_text="loss, best")
    await expect(line.locator('td[data-best="yes"]')).to_have_text(f"★ {min(best):.4g}")
    await page.click("#switch-differ")
    await expect(page.locator("#rows-compare tr", has_text="batch")).to_have_count(0)


async def test_a_phone_has_no_horizontal_scroll(served: StoryPage, opened: Opens) -> None:
    page = await shown(opened, served, f"?runs={PAST}", width=390, height=3600, theme="light")
    await expect(page.locator("#plots canvas").first).to_be_attached()
    for width in (320, 390, 768):
        await page.set_viewport_size({"width": width, "height": 1000})
        await until(page, f"innerWidth === {width} && document.documentElement.scrollWidth <= {width}")
