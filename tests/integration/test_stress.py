"""`headrace stress` against a real server and a real scorer: what it counts is what was done."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.models.registry import Registry
from headrace.models.training import train
from headrace.settings import Settings

pytestmark = [pytest.mark.server, pytest.mark.slow]

HEADRACE = [sys.executable, "-P", "-m", "headrace"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with digits in service."""
    registry = Registry(tmp_path_factory.mktemp("models"))
    trained = train("digits")
    registry.promote("digits", registry.save(trained.estimator, trained.card).version)
    return registry.folder


@pytest.fixture
def pipeline(server_settings: Settings, models: Path) -> Iterator[list[str]]:
    """A scorer at work; gives the options that lead there."""
    where = ["--redis-url", server_settings.redis_url, "--prefix", server_settings.prefix, "--models-dir", str(models)]
    process = subprocess.Popen(
        [*HEADRACE, "scorer", *where], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        assert any("scorer ready" in line for line in iter(process.stdout.readline, ""))
        drain = threading.Thread(target=process.stdout.read, daemon=True)
        drain.start()
        yield where
    finally:
        process.terminate()
        assert process.wait(25) == 0
        drain.join(10)
        process.stdout.close()


def stress(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*HEADRACE, "stress", *words], capture_output=True, text=True, check=False, timeout=90)


def test_every_request_is_accounted_for(pipeline: list[str]) -> None:
    done = stress("--rate", "60", "--duration", "2", "--rows", "3", "--target", "10000", "--json", *pipeline)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    [stage] = found["stages"]
    books, latency = stage["books"], stage["latency_ms"]
    assert 60 < books["sent"] < 200
    assert books["answered"] == books["sent"]
    assert books["recount"] == "balanced"
    assert books["lost"] == books["doubled"] == books["waiting"] == books["not_sent"] == 0
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["p99.9"]
    assert stage["limit"] == ""


def test_rejected_requests_are_answers_too(pipeline: list[str]) -> None:
    done = stress("--rate", "50", "--duration", "1", "--features", "63", "--target", "10000", *pipeline)
    assert done.returncode == 0, done.stderr
    assert "rejected" in done.stdout
    assert "0 lost, 0 doubled; recount: balanced" in done.stdout


def test_the_knee_is_looked_for_until_the_target_breaks(pipeline: list[str]) -> None:
    # No pipeline answers within a microsecond: the first rate breaks, and is halved three times.
    done = stress("--find-knee", "--rate", "80", "--duration", "0.5", "--target", "0.001", "--json", *pipeline)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["knee"] is None
    assert [stage["offered"] for stage in found["stages"]] == [80.0, 40.0, 20.0, 10.0]
    assert all(stage["limit"] for stage in found["stages"])


def test_an_unknown_model_needs_to_be_described(pipeline: list[str]) -> None:
    done = stress("--model", "nothing", *pipeline)
    assert done.returncode == 1
    assert "Say it with --features" in done.stderr
