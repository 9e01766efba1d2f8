"""`headrace dead`: lists what died and why, asks before it acts, and acts once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result

from headrace.bus import Bus
from headrace.channels import ACTIONS, DEAD, REQUESTS
from headrace.cli import main
from headrace.codec import decode, encode
from headrace.events import ActionTaken, EntryDead, PredictionRequested
from headrace.settings import Settings

Run = Callable[..., Result]


@pytest.fixture
def run(headrace_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run `headrace dead` against the fake server."""
    monkeypatch.setenv("REDIS_URL", headrace_settings.redis_url)
    monkeypatch.setenv("HEADRACE_PREFIX", headrace_settings.prefix)
    monkeypatch.delenv("HEADRACE_DEBUG", raising=False)
    return lambda *words, stdin=None: CliRunner().invoke(main, ["dead", *words], input=stdin, prog_name="headrace")


@pytest.fixture
def places(headrace_settings: Settings) -> list[str]:
    """Three letters, oldest first; the last one's deadline has passed."""
    events: list[EntryDead] = []
    for number, reason in enumerate(("row 0 holds nan", "row 7 holds nan", "its deadline had passed 2.0 s ago")):
        asked = PredictionRequested(
            id=f"q{number}", model="digits", inputs=[[1.0, 2.0]], deadline=1.0 if number == 2 else 0.0
        )
        events.append(
            EntryDead(
                channel=REQUESTS,
                partition=0,
                position=f"1-{number}",
                group="scorers",
                reason=reason,
                attempts=1,
                payload=encode(asked),
                worker="scorer-1",
            )
        )

    async def publish(bus: Bus) -> list[str]:
        return [f"0-{position}" for position in (await bus.publish(DEAD, events)).positions]

    made: list[str] = on(headrace_settings, publish)
    return made


def on(settings: Settings, ask: Callable[[Bus], Any]) -> Any:
    """What a question to the fake server answers."""

    async def asked() -> Any:
        async with Bus(settings) as bus:
            return await ask(bus)

    return asyncio.run(asked())


def published(settings: Settings, channel: str) -> list[Any]:
    return [decode(entry.payload) for entry in on(settings, lambda bus: bus.read(channel))]


def test_ls_shows_letters_newest_first_and_counts_reasons(run: Run, places: list[str]) -> None:
    shown = run("ls")
    assert shown.exit_code == 0
    lines = shown.output.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == places[::-1]
    assert "      2  row … holds nan" in shown.output


def test_ls_filters(run: Run, places: list[str]) -> None:
    assert run("ls", "--text", "nan").output.count("\n0-") == 2
    assert "no dead letters" in run("ls", "--channel", "labels").stderr


def test_ls_gives_json_with_the_payload(run: Run, places: list[str]) -> None:
    lines = [json.loads(line) for line in run("ls", "--json").stdout.splitlines()]
    assert [line["letter"] for line in lines] == places[::-1]
    assert lines[0]["payload"]["inputs"] == [[1.0, 2.0]]


def test_requeue_asks_first_and_says_what_would_be_in_vain(
    run: Run, places: list[str], headrace_settings: Settings
) -> None:
    refused = run("requeue", "--all", stdin="n\n")
    assert refused.exit_code == 1
    assert "requeue 3 dead letters (1 of them would die again)?" in refused.stderr
    assert published(headrace_settings, REQUESTS) == []
    assert run("requeue", "--all", stdin="y\n").stdout == "requeued 3 dead letters\n"
    assert [event.id for event in published(headrace_settings, REQUESTS)] == ["q0", "q1", "q2"]


def test_letters_by_name_once(run: Run, places: list[str], headrace_settings: Settings) -> None:
    assert run("requeue", places[0], "--yes").stdout == "requeued 1 dead letter\n"
    again = run("requeue", places[0], "--yes")
    assert again.stdout == "requeued 0 dead letters\n"
    assert "had been dealt with before" in again.stderr
    assert run("discard", places[1], "--yes").stdout == "discarded 1 dead letter\n"
    assert [event.id for event in published(headrace_settings, REQUESTS)] == ["q0"]
    told = published(headrace_settings, ACTIONS)
    assert all(isinstance(event, ActionTaken) for event in told)
    assert [(event.action, event.actor) for event in told] == [
        ("requeue", "command line"),
        ("discard", "command line"),
    ]
    assert run("ls", "--done").output.count("requeued") == 1


def test_what_is_not_there_ends_with_status_1(run: Run, places: list[str]) -> None:
    missing = run("discard", "0-1-99", "--yes")
    assert missing.exit_code == 1
    assert "0-1-99: there is no such dead letter" in missing.stderr


@pytest.mark.parametrize("words", [("requeue",), ("discard", "0-1-1", "--all"), ("discard", "0-1-1", "--text", "x")])
def test_it_wants_to_know_which(run: Run, words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2


def test_a_word_that_is_no_letter_is_said(run: Run) -> None:
    assert "must look like" in run("requeue", "q17", "--yes").stderr
