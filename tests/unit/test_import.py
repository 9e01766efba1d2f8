"""`import headrace` is cheap, and its public names are there when they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import headrace

HEAVY = ("asyncio", "redis", "hiredis", "numpy", "sklearn", "dash", "plotly", "fastapi", "click", "msgspec")
LIMIT_S = 0.060


def fresh(code: str) -> str:
    """What a new interpreter prints for `code`."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    return done.stdout.strip()


def test_importing_headrace_loads_nothing_heavy() -> None:
    loaded = fresh("import sys, headrace; print(*sys.modules)").split()
    assert not set(HEAVY) & {name.partition(".")[0] for name in loaded}


def test_using_a_publisher_loads_no_client_before_something_is_sent() -> None:
    loaded = fresh("import sys; from headrace import Publisher, Run, Settings; print(*sys.modules)").split()
    assert not {"redis", "numpy", "asyncio"} & set(loaded)


def test_importing_headrace_is_fast() -> None:
    # Processor time, not the time on the clock: other tests may run at the same time.
    code = "import time; began = time.process_time(); import headrace; print(time.process_time() - began)"
    assert min(float(fresh(code)) for _ in range(5)) < LIMIT_S


def test_every_public_name_is_there_and_sorted() -> None:
    assert headrace.__all__ == sorted(headrace.__all__)
    assert set(headrace.__all__) <= set(dir(headrace))
    for name in headrace.__all__:
        assert getattr(headrace, name) is not None


def test_every_error_is_public() -> None:
    from headrace import errors

    tree = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert tree <= set(headrace.__all__)


def test_the_version_is_that_of_the_package() -> None:
    metadata = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{headrace.__version__}"' in metadata


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(headrace, "Subscriber")
