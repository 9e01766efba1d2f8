"""The doctor: each fault of a server, of a group and of this machine is found, named and comes with its cure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from headrace import doctor
from headrace.bus import Bus, GroupState
from headrace.channels import REQUESTS
from headrace.cli import main
from headrace.doctor import Facts, Finding, examine, healthy, look
from headrace.positions import Position
from headrace.settings import Settings

MIB = 1024 * 1024
INFO = {
    "redis_version": "7.2.4",
    "valkey_version": "9.1.2",
    "maxmemory_policy": "noeviction",
    "maxmemory": str(100 * MIB),
    "used_memory": str(10 * MIB),
    "total_system_memory": str(1000 * MIB),
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
}
CONFIG = {
    "appendfsync": "everysec",
    "no-appendfsync-on-rewrite": "no",
    "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    "bind": "127.0.0.1",
}
PACKAGES = {"headrace": "1", "hiredis": "3"}


def facts(**more: Any) -> Facts:
    """A healthy installation, with some facts changed."""
    settings = more.pop("settings", Settings())
    info, config = {**INFO, **more.pop("info", {})}, {**CONFIG, **more.pop("config", {})}
    values = {"frame_age_s": 0.2, "models_mode": 0o755, "packages": PACKAGES, **more}
    return Facts(settings=settings, info=info, config=config, **values)


def group(**more: Any) -> GroupState:
    values = {"name": "scorers", "lag": 5, "in_flight": 0, "oldest": Position(1, 1), "consumers": 1, "idle_ms": 0}
    return GroupState(**{**values, **more})


def bad(found: list[Finding]) -> list[Finding]:
    return [finding for finding in found if finding.severity in ("critical", "warning")]


def test_a_healthy_installation_needs_nothing() -> None:
    found = examine(facts())
    assert healthy(found)
    assert not bad(found)


FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "old": ({"info": {"redis_version": "6.2.14"}}, "server", "critical"),
    "eviction": ({"info": {"maxmemory_policy": "allkeys-lru"}}, "eviction", "critical"),
    "no limit": ({"info": {"maxmemory": "0"}}, "maxmemory", "warning"),
    "limit above the machine": ({"info": {"maxmemory": str(2000 * MIB)}}, "maxmemory", "warning"),
    "nearly full": ({"info": {"used_memory": str(90 * MIB)}}, "maxmemory", "warning"),
    "no file": ({"info": {"aof_enabled": "0"}}, "persistence", "critical"),
    "disk": ({"info": {"aof_last_write_status": "err"}}, "persistence", "critical"),
    "never synced": ({"config": {"appendfsync": "no"}}, "fsync", "warning"),
    "not synced on rewrite": ({"config": {"no-appendfsync-on-rewrite": "yes"}}, "fsync", "warning"),
    "short memory": ({"settings": Settings(resend_s=1.0)}, "resend", "warning"),
    "unbounded listeners": ({"config": {"client-output-buffer-limit": "pubsub 0 0 0"}}, "listeners", "warning"),
    "impatient": ({"config": {"client-output-buffer-limit": "pubsub 65536 0 0"}}, "listeners", "warning"),
    "clock": ({"skew_s": -30.0}, "clock", "warning"),
    "renamed": ({"lacking": ["XCLAIM"]}, "commands", "critical"),
    "nobody works": ({"groups": [("requests", 0, group(consumers=0))]}, "group scorers", "warning"),
    "silent": ({"groups": [("requests", 0, group(idle_ms=9_999_999))]}, "group scorers", "warning"),
    "left over": ({"groups": [("requests", 0, group(consumers=500))]}, "group scorers", "warning"),
    "no scorer": ({"requests": True}, "scorers", "warning"),
    "clear text": ({"settings": Settings(redis_url="redis://u:p@10.0.0.1")}, "encryption", "warning"),
    "no password": ({"settings": Settings(redis_url="rediss://10.0.0.1")}, "password", "warning"),
    "open to the network": ({"config": {"bind": "0.0.0.0"}}, "bind", "critical"),
    "robbers": ({"settings": Settings(claim_ms=100)}, "claim", "warning"),
    "models of anybody": ({"models_mode": 0o777}, "models", "critical"),
    "models of others": ({"models_readable": False}, "models", "critical"),
    "slow parser": ({"packages": {"headrace": "1"}}, "packages", "critical"),
    "away": ({"unreachable": "no server answers"}, "server", "critical"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_alone_and_has_a_cure(fault: str) -> None:
    changes, name, severity = FAULTS[fault]
    sick = facts(**changes)
    if fault == "old":
        del sick.info["valkey_version"]
    found = bad(examine(sick))
    assert [(finding.name.partition(" of ")[0], finding.severity) for finding in found] == [(name, severity)]
    assert found[0].fix
    assert not healthy(examine(sick))


def test_the_worst_comes_first() -> None:
    found = examine(facts(info={"aof_enabled": "0", "maxmemory": "0"}))
    assert [finding.severity for finding in found[:2]] == ["critical", "warning"]


def test_settings_that_may_not_be_asked_for_are_no_fault() -> None:
    unknown = facts()
    unknown.config = None
    assert healthy(examine(unknown))


async def test_nothing_holds_the_password(tmp_path: Path) -> None:
    url = "redis://someone:hunter2@127.0.0.1:1/0"
    async with Bus(Settings(redis_url=url, models=tmp_path)) as bus:
        found = examine(await look(bus))
    assert found[0].name == "server"
    assert found[0].severity == "critical"
    assert "hunter2" not in str(found)


async def test_a_server_that_knows_little_of_itself_is_examined(bus: Bus) -> None:
    found = examine(await look(bus))
    assert {"server", "clock", "models", "packages"} <= {finding.name for finding in found}


@pytest.mark.parametrize("sick", [False, True])
def test_the_command_says_it_in_json_and_by_its_exit_status(
    server_settings: Settings, tmp_path: Path, sick: bool
) -> None:
    tmp_path.chmod(0o777 if sick else 0o755)
    words = [
        "--redis-url",
        server_settings.redis_url,
        "--prefix",
        server_settings.prefix,
        "--models-dir",
        str(tmp_path),
    ]
    done = CliRunner().invoke(main, ["doctor", "--json", *words])
    said = json.loads(done.output)
    assert done.exit_code == int(sick), done.output
    assert said["healthy"] is not sick
    critical = [finding["name"] for finding in said["findings"] if finding["severity"] == "critical"]
    assert critical == (["models"] if sick else [])
    assert CliRunner().invoke(main, ["doctor", *words]).exit_code == int(sick)


@pytest.mark.parametrize("comes_back", [True, False])
async def test_a_worker_between_two_reads_is_not_missed(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    looks = 0

    async def groups(channel: str, partition: int = 0) -> list[GroupState]:
        nonlocal looks
        if channel != REQUESTS:
            return []
        looks += 1
        return [group(consumers=1 if comes_back and looks > 1 else 0)]

    monkeypatch.setattr(bus, "groups", groups)
    monkeypatch.setattr(doctor, "LOOK_S", 0.0)
    found = [finding.text for finding in bad(examine(await look(bus))) if "scorers" in finding.name]
    assert found == ([] if comes_back else ["5 entries and nobody works for it"])
