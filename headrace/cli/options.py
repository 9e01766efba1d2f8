"""Options that several commands share, each written once."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def connection(function: F) -> F:
    """--redis-url and --prefix; the command gets `settings`, of the environment and these."""
    return _settings(function, ("redis_url", "prefix"))


def connection_and_models(function: F) -> F:
    """--redis-url, --prefix and --models-dir; the command gets `settings`."""
    return _settings(function, ("redis_url", "prefix", "models_dir"))


def everything(function: F) -> F:
    """--redis-url, --prefix, --models-dir and --alert-webhook; the command gets `settings`."""
    return _settings(function, ("redis_url", "prefix", "models_dir", "alert_webhook"))


def alerting(function: F) -> F:
    """--alert-webhook alone; the command gets `alert_webhook`, maybe None."""
    return _SHARED["alert_webhook"](function)  # type: ignore[no-any-return]


def models_only(function: F) -> F:
    """--models-dir; the command gets `settings`."""
    return _settings(function, ("models_dir",))


def waiting(function: F) -> F:
    """--no-wait; the command gets `wait`."""
    text = "Fail at once if the server does not answer, instead of waiting for it."
    return click.option("--wait/--no-wait", "wait", default=True, help=text)(function)


def named(function: F) -> F:
    """--name; the command gets `name`, maybe empty."""
    return click.option("--name", default="", metavar="NAME", help="First part of the name that the page shows.")(
        function
    )


_SHARED: dict[str, Callable[[Any], Any]] = {
    "redis_url": click.option(
        "--redis-url", metavar="URL", help="The server. [env: REDIS_URL; default: redis://127.0.0.1:6379/0]"
    ),
    "prefix": click.option(
        "--prefix", metavar="TEXT", help="First part of every key. [env: HEADRACE_PREFIX; default: headrace]"
    ),
    "models_dir": click.option(
        "--models-dir",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="Folder of model files. [env: HEADRACE_MODELS; default: ~/.local/share/headrace/models]",
    ),
    "alert_webhook": click.option(
        "--alert-webhook",
        metavar="URL",
        help="Post alerts there as JSON. If the address is secret, set the variable: options show in lists of "
        "processes. [env: HEADRACE_ALERT_WEBHOOK]",
    ),
}
_FLAGS = {"redis_url": "redis_url", "prefix": "prefix", "models_dir": "models", "alert_webhook": "alert_webhook"}


def _settings(function: F, names: tuple[str, ...]) -> F:
    @wraps(function)
    def with_settings(**arguments: Any) -> Any:
        from headrace.settings import Settings

        flags = {_FLAGS[name]: arguments.pop(name) for name in names}
        return function(settings=Settings.load(**flags), **arguments)

    decorated: Any = with_settings
    for name in reversed(names):
        decorated = _SHARED[name](decorated)
    return decorated  # type: ignore[no-any-return]
