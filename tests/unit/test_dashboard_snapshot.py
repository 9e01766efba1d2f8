"""A snapshot is one file: nothing in it can run that should not, nothing is loaded, nothing secret is told."""

from __future__ import annotations

import html
import json
import re
from collections.abc import AsyncIterator

import httpx
import msgspec
import pytest
from dash import dcc
from dash import html as parts

from headrace.channels import FRAMES
from headrace.dashboard import snapshot
from headrace.dashboard.layout import marks
from headrace.dashboard.pages import PAGES
from headrace.dashboard.snapshot import SnapshotError, cut, document, escaped, markup
from headrace.events import RunView
from headrace.positions import Position
from headrace.settings import Settings
from tests.unit.frames import Story, StoryBus, StoryPage, frame

EVIL = "</script><script>alert(1)</script><!--"
OVERVIEW = PAGES[0]


def written(message: dict[str, object] | None = None, **more: str) -> str:
    whole = {"at": 1_763_800_000_000, "past": {}, "sections": {}, **(message or {})}
    return document(OVERVIEW, whole, more, seconds=60, taken=1_763_800_100.0).decode()


def frozen(text: str) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="frozen">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    held: dict[str, object] = json.loads(found[1])
    return held


def test_data_cannot_end_its_element() -> None:
    text = written({"sections": {"overview": {"name": EVIL}}}, metric=EVIL)
    assert EVIL not in text
    assert text.count("<script") == written().count("<script")
    held = frozen(text)
    assert held["view"] == {"metric": EVIL, "window": "60"}
    assert held["message"]["sections"]["overview"]["name"] == EVIL  # type: ignore[index]
    assert json.loads(escaped(json.dumps(EVIL).encode())) == EVIL


def test_it_says_when_of_what_and_how_large() -> None:
    text = written()
    assert "60 s up to 2025-11-22 08:26:40 UTC" in text
    assert "taken 2025-11-22 08:28:20 UTC" in text
    assert re.search(r"\d\.\d MB", text)


def test_it_loads_nothing() -> None:
    text = written()
    head = text.split("<style>")[0]
    assert "default-src 'none'" in head
    body = text[text.index("<body>") : text.index('<script type="application/json"')]
    assert not re.findall(r'(?:src|href|action)="', head + body)
    assert "session.js" not in text


def test_what_is_too_large_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "MOST_BYTES", 1000)
    with pytest.raises(SnapshotError, match="fewer seconds"):
        written()


def test_the_window_is_cut_out_of_the_tiers() -> None:
    tier = {"step_s": 1, "span_s": 300, "times": [float(t) for t in range(100)], "values": {"in": list(range(100))}}
    past = {"tiers": [tier], "curves": {"r": 1}, "limit": 512, "tail": [], "truths": {}}
    found = json.loads(bytes(cut(json.dumps(past).encode(), 10, 99)))
    assert found["tiers"][0]["times"] == [float(t) for t in range(88, 100)]
    assert found["tiers"][0]["values"]["in"] == list(range(88, 100))
    assert found["curves"] == {"r": 1}


def test_a_layout_becomes_markup_and_text_stays_text() -> None:
    figure = {"data": [], "layout": {"xaxis": {"title": "<b>"}}}
    text = markup(
        parts.Div(
            [EVIL, parts.Img(alt="x"), dcc.Graph(id="g", figure=figure), parts.A("to", href="javascript:alert(1)")],
            className='a"b',
            hidden=True,
            **marks(data_view="m"),
        )
    )
    assert EVIL not in text
    assert html.escape(EVIL) in text
    assert '<div class="a&quot;b" hidden data-view="m">' in text
    assert "javascript" not in text
    found = re.search(r'data-figure="(.*?)"', text)
    assert found is not None
    assert json.loads(html.unescape(found[1]))["layout"] == figure["layout"]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_every_page_can_be_written(page: object) -> None:
    assert isinstance(page, type(OVERVIEW))
    text = markup(page.root())
    assert f'data-page="{page.name}"' in text
    assert text.count("<div") == text.count("</div>")


@pytest.fixture
async def client() -> AsyncIterator[tuple[httpx.AsyncClient, StoryBus]]:
    """Asks a dashboard whose server has a password, and of a run with a name that is markup."""
    bus = StoryBus(Settings(redis_url="redis://me:hunter2secret@192.0.2.7:6379/0"), Story(), past_s=60)
    last = bus.logs[FRAMES][-1].position
    run = RunView(run="evil", name=EVIL, state="running", metrics={"loss": 1.0})
    evil = frame(time=last.ms / 1000 + 0.2, runs=[run], points={"evil": {"loss": [(1, 1.0)]}})
    bus.logs[FRAMES].append(
        bus.logs[FRAMES][-1]._replace(
            position=Position(last.ms + 200, last.number + 1), payload=msgspec.msgpack.encode(evil)
        )
    )
    bus.silent = True
    async with StoryPage(bus) as page, httpx.AsyncClient(base_url=page.url, timeout=30) as asking:
        yield asking, bus


async def test_it_is_served_as_a_file_without_secrets(client: tuple[httpx.AsyncClient, StoryBus]) -> None:
    asking, bus = client
    at = bus.logs[FRAMES][-1].position.ms
    answer = await asking.get(
        "api/snapshot", params={"page": "overview", "seconds": 60, "at": at, "view": "metric=loss"}
    )
    assert answer.status_code == 200
    assert re.search(
        r'attachment; filename="headrace-overview-\d{8}T\d{6}Z\.html"', answer.headers["content-disposition"]
    )
    assert "hunter2secret" not in answer.text
    assert "192.0.2.7" not in answer.text
    assert EVIL not in answer.text
    held = frozen(answer.text)
    assert held["view"] == {"metric": "loss", "window": "60"}
    message = held["message"]
    assert isinstance(message, dict)
    assert message["at"] == at
    assert message["sections"]["overview"]["runs"][0]["name"] == EVIL
    assert message["past"]["curves"]["evil"]["loss"]
    assert len(answer.content) < snapshot.MOST_BYTES


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        ({"page": "secrets"}, 400, "choose one of overview"),
        ({"seconds": "0"}, 400, "10 to 900"),
        ({"seconds": "1e3"}, 400, "10 to 900"),
        ({"at": "noon"}, 400, "Unix milliseconds"),
        ({"at": "1000"}, 404, "oldest moment"),
    ],
)
async def test_what_cannot_be_taken_is_refused_in_words(
    client: tuple[httpx.AsyncClient, StoryBus], words: dict[str, str], status: int, said: str
) -> None:
    answer = await client[0].get("api/snapshot", params=words)
    assert answer.status_code == status
    assert said in answer.json()["error"]
