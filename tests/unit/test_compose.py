"""docker-compose.yml is valid, starts commands that exist, and can be scaled."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from headrace.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCUMENT: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
OURS = sorted(name for name in SERVICES if name != "redis")


def test_follows_the_compose_specification() -> None:
    checker = shutil.which("check-jsonschema", path=str(Path(sys.executable).parent))
    assert checker, "check-jsonschema is not installed: run `make install`"
    command = [checker, "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("service", OURS)
def test_every_command_exists_with_its_options(service: str) -> None:
    from headrace.cli import main

    words: list[str] = SERVICES[service]["command"]
    command: click.Command = main
    context = click.Context(main, info_name="headrace")
    while isinstance(command, click.Group) and words:
        found = command.get_command(context, words[0])
        assert found is not None, f"{service}: `headrace {' '.join(SERVICES[service]['command'])}` has no {words[0]!r}"
        context = click.Context(found, info_name=words[0], parent=context)
        command, words = found, words[1:]
    assert not isinstance(command, click.Group), f"{service}: {command.name!r} needs a subcommand"
    command.parse_args(context, list(words))


@pytest.mark.parametrize("service", OURS)
def test_every_service_waits_for_services_and_mounts_volumes_that_exist(service: str) -> None:
    definition = SERVICES[service]
    assert definition["depends_on"]["redis"] == {"condition": "service_healthy"}
    for name, wait in definition["depends_on"].items():
        if wait["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[name]
    for volume in definition.get("volumes", []):
        assert volume.partition(":")[0] in DOCUMENT["volumes"]


def test_scorers_start_after_the_models_are_trained() -> None:
    assert SERVICES["scorer"]["depends_on"]["train"] == {"condition": "service_completed_successfully"}
    assert SERVICES["train"]["restart"] == "no"
    assert SERVICES["train"]["volumes"] == SERVICES["scorer"]["volumes"]


def test_scorers_can_be_scaled() -> None:
    scorer = SERVICES["scorer"]
    assert scorer["deploy"]["replicas"] > 1
    assert "container_name" not in scorer, "a fixed name allows one container only"
    assert "ports" not in scorer, "a published port allows one container only"


def test_ports_are_open_to_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("service", OURS)
def test_a_container_has_no_rights_and_writes_only_to_its_volumes(service: str) -> None:
    definition = SERVICES[service]
    assert definition["read_only"] is True
    assert definition["cap_drop"] == ["ALL"]
    assert definition["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in definition
    assert re.search(r"^USER headrace$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(
    ("service", "variable"), [("dashboard", "HEADRACE_OPERATOR_PASSWORD"), ("gateway", "HEADRACE_GATEWAY_TOKEN")]
)
def test_what_others_reach_makes_a_secret_unless_it_is_given_one(service: str, variable: str) -> None:
    environment = SERVICES[service]["environment"]
    assert environment[variable] == f"${{{variable}:-}}", "no secret may stand in the file"
    path = environment[f"{variable}_FILE"]
    assert f"{Path(path).parent}" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert [volume for volume in SERVICES[service]["volumes"] if volume.endswith(f":{Path(path).parent}")]
    assert "--open" not in SERVICES[service]["command"]


def test_each_sees_its_own_secret_and_nobody_else_any() -> None:
    for volume, owner in (("password", "dashboard"), ("token", "gateway")):
        mounts = f"{volume}:/secret"
        assert [name for name, definition in SERVICES.items() if mounts in definition.get("volumes", [])] == [owner]
    assert not [text for definition in SERVICES.values() for text in definition.get("command", []) if "PASSW" in text]


def test_the_server_keeps_what_it_accepted() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    for option in ("--appendonly yes", "--appendfsync everysec", "--maxmemory-policy noeviction"):
        assert option in command
    assert any(volume.endswith(":/data") for volume in SERVICES["redis"]["volumes"])


@pytest.mark.parametrize("service", OURS)
def test_the_environment_is_a_valid_set_of_settings(service: str) -> None:
    environment = {**SERVICES[service]["environment"], "HEADRACE_PREFIX": "headrace"}
    settings = Settings.load(environment)
    assert settings.redis_url == "redis://redis:6379/0"
    assert settings.models == Path("/models")


def test_every_variable_of_the_environment_is_a_setting() -> None:
    known = set(Settings.__dataclass_fields__)
    for variable in SERVICES["scorer"]["environment"]:
        assert variable == "REDIS_URL" or variable.removeprefix("HEADRACE_").lower() in known
