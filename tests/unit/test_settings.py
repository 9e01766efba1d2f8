"""Settings: from the environment and flags, checked once, with errors that name the variable."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from headrace.errors import SettingsError
from headrace.settings import Settings, shown_url


def test_without_anything_the_defaults() -> None:
    assert Settings.load({}) == Settings()


def test_every_field_has_its_variable() -> None:
    environ = {
        "REDIS_URL": "redis://db:6380/1",
        "HEADRACE_MODELS": "~/models",
        "HEADRACE_PREFIX": "demo",
        "HEADRACE_PARTITIONS": "4",
        "HEADRACE_CODEC": "json",
        "HEADRACE_CLUSTER": "yes",
        "HEADRACE_LIVE_DRIVER": "asyncio-redis",
        "HEADRACE_OVERFLOW": "drop",
        "HEADRACE_RESEND_S": "2.5",
        "HEADRACE_SPILL": "/tmp/spill",
    }
    settings = Settings.load(environ)
    assert settings.redis_url == "redis://db:6380/1"
    assert settings.models == Path("~/models").expanduser()
    assert (settings.prefix, settings.partitions, settings.codec, settings.cluster) == ("demo", 4, "json", True)
    assert (settings.live_driver, settings.overflow, settings.resend_s) == ("asyncio-redis", "drop", 2.5)
    assert settings.spill == Path("/tmp/spill")
    numbers = {item.name: 7 for item in fields(Settings) if item.type == "int"}
    loaded = Settings.load({f"HEADRACE_{name.upper()}": "7" for name in numbers})
    assert {name: getattr(loaded, name) for name in numbers} == numbers


def test_an_empty_variable_is_none() -> None:
    assert Settings.load({"HEADRACE_PREFIX": "", "REDIS_URL": ""}) == Settings()


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_PREFIX", "from-outside")
    assert Settings.load().prefix == "from-outside"


def test_a_flag_wins_unless_it_was_not_given() -> None:
    environ = {"HEADRACE_PREFIX": "environment", "HEADRACE_PARTITIONS": "2"}
    settings = Settings.load(environ, prefix="flag", partitions=None)
    assert (settings.prefix, settings.partitions) == ("flag", 2)


@pytest.mark.parametrize(
    ("variable", "text", "accepts"),
    [
        ("HEADRACE_PARTITIONS", "many", "is not a number"),
        ("HEADRACE_PARTITIONS", "1.5", "is not a number"),
        ("HEADRACE_PARTITIONS", "0", "must be above 0"),
        ("HEADRACE_CLAIM_MS", "-5", "must be above 0"),
        ("HEADRACE_RESEND_S", "nan", "must be above 0"),
        ("HEADRACE_CLUSTER", "maybe", "is not 1, true, yes, 0, false or no"),
        ("HEADRACE_CODEC", "xml", "is not one of msgpack, json"),
        ("HEADRACE_OVERFLOW", "panic", "is not one of block, raise, drop"),
        ("HEADRACE_LIVE_DRIVER", "aredis", "is not one of redis, asyncio-redis"),
        ("HEADRACE_PREFIX", "a b", "must not be empty or hold"),
        ("HEADRACE_PREFIX", "a{0}", "must not be empty or hold"),
        ("HEADRACE_PREFIX", "a*", "must not be empty or hold"),
        ("REDIS_URL", "http://db", "must start with redis://"),
        ("REDIS_URL", "db:6379", "must start with redis://"),
        ("REDIS_URL", "redis:/db", "must start with redis://"),
        ("REDIS_URL", "redis://db:port", "is no address: Port could not be cast"),
        ("REDIS_URL", "redis://db:99999", "is no address: Port out of range"),
        ("REDIS_URL", "redis://[::1", "is no address: Invalid IPv6 URL"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_accepted(variable: str, text: str, accepts: str) -> None:
    with pytest.raises(SettingsError, match=accepts) as caught:
        Settings.load({variable: text})
    assert str(caught.value).startswith(variable)


@pytest.mark.parametrize("changes", [{"partitions": 0}, {"prefix": ""}, {"codec": "xml"}, {"redis_url": "x"}])
def test_changed_settings_are_checked_too(changes: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        Settings().with_(**changes)


def test_changing_makes_new_settings() -> None:
    settings = Settings()
    assert settings.with_(prefix="other").prefix == "other"
    assert settings.prefix == "headrace"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://db:6379/0", "redis://db:6379/0"),
        ("redis://:secret@db:6379/0", "redis://db:6379/0"),
        ("rediss://anna:secret@db/0?password=secret", "rediss://db/0"),
        ("unix:///run/redis.sock?password=secret", "unix:///run/redis.sock"),
        ("redis://anna:s@cret@db", "redis://db"),
        ("redis://:se/cret@db:6379", "redis://db:6379"),
        ("redis://:se?cret@db:6379", "redis://..."),
        ("redis://db/0?password=se@cret", "redis://..."),
        ("anna:secret@db", "db"),
        ("", ""),
    ],
)
def test_a_password_is_never_shown(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert Settings(redis_url=url).shown_url == shown


@pytest.mark.parametrize("url", ["http://anna:secret@db", "anna:secret@db", "redis:/anna:secret@db"])
def test_nor_in_an_error(url: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.load({"REDIS_URL": url})
    assert "secret" not in str(caught.value)
