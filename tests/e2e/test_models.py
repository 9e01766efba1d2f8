"""The page of models in a real browser: it shows what the sections say, and changes what is in service."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from headrace.events import ActionTaken, ModelPromoted
from headrace.models.evaluation import wilson
from headrace.models.registry import Registry
from headrace.settings import Settings
from headrace.testing import wait_until
from tests.e2e.acting import PATIENCE_S, script
from tests.e2e.conftest import Opens
from tests.unit.frames import Story, StoryBus, StoryPage
from tests.unit.served import shelf

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(90)]

TALL = 3200
"""A window in which the whole page is in view: what is not is not drawn."""
CLASSES = ("model-rate", "model-latency", "model-mix", "model-accuracy", "model-reliability")
VALUES = ("model-rate", "model-latency", "model-mae", "model-r2", "model-scatter")

AT_FIRST = """(() => {
  const known = headrace.store.sections;
  headrace.store.sections = { models: known.models };
  const drawn = Object.keys(headrace.pages.models.cards).filter((name) => name.startsWith("model-"));
  drawn.forEach((name) => headrace.pages.models.cards[name](true));
  const empty = drawn.filter((name) => document.getElementById(name).dataset.empty === "yes");
  headrace.store.sections = known;
  return [drawn.length, empty];
})()"""

SILENT = """(() => {
  const trail = Object.entries(headrace.store.sections).find(([name]) => name.startsWith("trail:"))[1];
  const known = trail.values;
  const silenced = (column) => column.map((value, i) => (i === 5 ? 0 : value));
  const of = (name) => (name.startsWith("class:") ? silenced(known[name]) : known[name]);
  const entries = Object.keys(known).map((name) => [name, of(name)]);
  trail.values = Object.fromEntries(entries);
  headrace.trails.mix(true);
  trail.values = known;
  const { x } = document.querySelector("#chart-model-mix .js-plotly-plot").data[0];
  return [4, 5, 6].map((i) => x.filter((one) => Math.abs(one - headrace.charts.local(trail.times[i])) <= 1.5).length);
})()"""
LOOKED_UP = """(() => {
  const known = headrace.store.sections;
  const rows = () => document.querySelectorAll("#rows-worst tr").length;
  const seen = () => [rows(), document.getElementById("model-versions").getBoundingClientRect().top];
  const after = seen();
  const worst = Object.keys(known).find((name) => name.startsWith("worst:"));
  headrace.store.sections = Object.fromEntries(Object.entries(known).filter(([name]) => name !== worst));
  headrace.pages.models.cards["model-worst"](true);
  const before = seen();
  headrace.store.sections = known;
  return [before, after, document.getElementById("more-worst").textContent];
})()"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[StoryPage]:
    """A dashboard with two minutes of a story behind it, and a registry of its own."""
    folder = tmp_path_factory.mktemp("models")
    shelf(folder)
    async with StoryPage(StoryBus(Settings(models=folder), Story.steady(time.time()), past_s=120)) as page:
        yield page


async def live(page: Page) -> None:
    await expect(page.locator("#pill")).to_have_attribute("data-state", "live")
    await expect(page.locator("#rows-fleet tr")).to_have_count(3)


async def drawn(page: Page, chart: str) -> None:
    await expect(page.locator(f"#chart-{chart} .scatterlayer .trace").first).to_be_attached()


async def test_a_classifier_is_shown_with_the_numbers_of_its_section(served: StoryPage, opened: Opens) -> None:
    page = await opened(f"{served.url}models", height=TALL)
    await live(page)
    await expect(page.locator("#page-models")).to_have_attribute("data-kind", "classification")
    for chart in CLASSES:
        await drawn(page, chart)
    await expect(page.locator("#model-mae")).to_be_hidden()
    await expect(page.locator("#confusion td.right.full")).to_have_count(10)
    await expect(page.locator("#sure-bars .bar")).to_have_count(20)
    await expect(page.locator("#rows-worst tr")).to_have_count(12)
    await expect(page.locator("#rows-worst canvas:not([hidden])")).to_have_count(10)
    await expect(page.locator("#rows-worst small", has_text="not kept")).to_have_count(2)
    await expect(page.locator("#rows-predictions tr")).to_have_count(10)
    await expect(page.locator('.card[data-empty="yes"]:visible')).to_have_count(0)

    async def same() -> bool:
        shown, meant = await script(
            page,
            """[document.querySelector("#brief-labels b").textContent.replaceAll(",", ""),
                headrace.store.sections["quality:digits@3"].joined]""",
        )
        return int(shown) == int(meant)

    await wait_until(same, description="the labels shown to be those of the section")
    one = await script(page, "headrace.store.sections.models.lines[1].accuracy")
    share, low, high, n = one["share"], one["low"], one["high"], one["joined"]
    true = wilson(round(share * n), n)
    assert (low, high) == (pytest.approx(true.low, abs=1e-4), pytest.approx(true.high, abs=1e-4))
    await expect(page.locator("#rows-fleet tr").nth(1)).to_contain_text(re.compile(r"\d+\.\d–\d+\.\d % · n \d"))
    assert await script(page, "document.querySelector('#chart-model-mix .js-plotly-plot').data.length") == 10
    assert await script(page, "document.documentElement.scrollWidth") == 1440
    # The stack of classes stops where nothing was predicted, from 2 to 3, or nobody looked, from 5 to 60.
    points = await script(
        page, "headrace.trails.edged([0, 1, 2, 3, 4, 5, 60, 61], [[1, 1, 0, 0, 2, 2, 2, 2], Array(8)])"
    )
    assert [round(time, 3) for time, at in points if at < 0] == [1.001, 3.999, 5.001, 59.999]
    assert [at for _, at in points if at >= 0] == list(range(8))
    assert await script(page, SILENT) == [2, 1, 2], "the edges are not in the chart"


async def test_a_cell_says_its_counts_and_shows_its_mistakes(served: StoryPage, opened: Opens) -> None:
    page = await opened(f"{served.url}models", height=TALL)
    await live(page)
    await expect(page.locator("#rows-worst tr")).to_have_count(12)
    actual, predicted = (await script(page, "headrace.store.sections['worst:digits@3'].rows[0].cell")).split("-")
    cell = page.locator(f'#confusion td[data-value="{actual}-{predicted}"]')
    await cell.click()
    await expect(page).to_have_url(re.compile(f"cell={actual}-{predicted}"))
    await expect(cell).to_have_attribute("aria-selected", "true")
    told = await page.locator("#cell-said").text_content() or ""
    found = re.match(rf"True {actual}, predicted {predicted}: ([\d,]+) of ([\d,]+) true {actual}", told)
    assert found is not None, told
    right, n = (int(count.replace(",", "")) for count in found.groups())
    interval = wilson(right, n)
    assert f"({interval.low * 100:.1f}–{interval.high * 100:.1f} %)" in told
    rows = page.locator("#rows-worst tr")
    await page.mouse.move(5, 5)
    same = (
        "headrace.store.sections['worst:digits@3'].rows.filter((row) => row.cell === headrace.view.get('cell')).length"
    )
    await expect(rows).to_have_count(await script(page, same))
    step, key = (-1, "ArrowLeft") if int(predicted) else (1, "ArrowRight")
    await page.keyboard.press(key)
    await page.keyboard.press("Enter")
    await expect(page.locator("#confusion td[aria-selected=true]")).to_have_attribute(
        "data-value", f"{actual}-{int(predicted) + step}"
    )


async def test_a_regression_has_errors_residuals_and_a_scatter_and_is_chosen_in_the_address(
    served: StoryPage, opened: Opens
) -> None:
    page = await opened(f"{served.url}models", height=TALL, theme="light")
    await live(page)
    await page.locator("#rows-fleet .pick", has_text="diabetes@1").click()
    await expect(page).to_have_url(re.compile("model=diabetes%401"))
    await page.reload()
    await live(page)
    await expect(page.locator("#page-models")).to_have_attribute("data-kind", "regression")
    for chart in VALUES:
        await drawn(page, chart)
    await expect(page.locator("#model-confusion")).to_be_hidden()
    # A card may be drawn once more between the choice of another kind of model and its going.
    await script(page, "Object.values(headrace.pages.models.cards).forEach((card) => card(true))")
    await expect(page.locator("#residual-bars .bar")).to_have_count(19)
    points = "document.querySelector('#chart-model-scatter .js-plotly-plot').data[1].x.length"
    shown = await script(page, f"[{points}, headrace.store.sections['quality:diabetes@1'].pairs.length]")
    assert shown[0] == shown[1] > 100
    await expect(page.locator("#rows-worst tr")).to_have_count(12)
    await expect(page.locator("#versions-why")).to_contain_text("HEADRACE_MODELS")
    await expect(page.locator("#rollback")).to_be_disabled()


async def test_before_a_version_is_known_no_card_says_that_it_has_nothing(served: StoryPage, opened: Opens) -> None:
    page = await opened(f"{served.url}models", height=TALL)
    await live(page)
    drawn, empty = await script(page, AT_FIRST)
    assert drawn > 10
    assert empty == []


async def test_mistakes_that_are_still_looked_for_have_their_room(served: StoryPage, opened: Opens) -> None:
    page = await opened(f"{served.url}models", height=TALL)
    await live(page)
    await expect(page.locator("#rows-worst tr")).to_have_count(12)
    before, after, said = await script(page, LOOKED_UP)
    assert (before[0], after[0], said) == (0, 12, "Looking for them …")
    assert before[1] == after[1], "what is below moves when they are found: a click there is lost"


async def test_promote_and_rollback_ask_first_and_say_what_came_of_it(served: StoryPage, opened: Opens) -> None:
    page = await opened(f"{served.url}models", height=TALL)
    await live(page)
    registry = Registry(served.bus.settings.models)
    row = page.locator("#rows-versions tr", has_text="version 1")
    await row.get_by_role("button").click()
    dialog = page.locator("#sure")
    await expect(dialog).to_be_visible()
    await expect(dialog).to_contain_text("Promote digits version 1?")
    await page.click("#sure-cancel")
    await expect(dialog).to_be_hidden()
    assert registry.champion("digits").version == 3
    await row.get_by_role("button").click()
    await page.click("#sure-go")
    await expect(page.locator("#sure-outcome")).to_have_text("digits version 1 is in service, in place of version 3")
    await page.click("#sure-cancel")
    assert registry.champion("digits").version == 1
    await expect(row).to_contain_text("in service")
    await expect(page.locator("#rollback")).to_have_text("Roll back to version 3")
    await page.click("#rollback")
    await page.click("#sure-go")
    await expect(page.locator("#sure-outcome")).to_contain_text("version 3 is in service")
    told = [event for event in served.bus.published if isinstance(event, ModelPromoted | ActionTaken)]
    assert [event.version for event in told if isinstance(event, ModelPromoted)] == [1, 3]
    assert [event.action for event in told if isinstance(event, ActionTaken)] == ["promote", "rollback"]
    await expect(page.locator("#changes li").first).to_contain_text("rolled back to")


async def test_the_page_fits_a_phone(served: StoryPage, opened: Opens) -> None:
    page = await opened(f"{served.url}models", width=390, height=3 * TALL)
    await live(page)
    await expect(page.locator("#rows-versions tr")).to_have_count(3)
    for width in (320, 390, 768):
        await page.set_viewport_size({"width": width, "height": 1000})

        async def fits(width: int = width) -> bool:
            return bool(
                await script(page, f"innerWidth === {width} && document.documentElement.scrollWidth <= {width}")
            )

        await wait_until(fits, PATIENCE_S, f"no horizontal scroll at {width}")


async def test_without_a_model_it_says_what_to_run(opened: Opens) -> None:
    bus = StoryBus(Settings(), Story(), past_s=0)
    bus.silent = True
    async with StoryPage(bus) as empty:
        page = await opened(f"{empty.url}models", height=TALL, outage=True)  # the dashboard ends before the page
        await expect(page.locator("#fleet code", has_text="headrace models train digits")).to_be_visible()
