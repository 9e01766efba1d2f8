"""`headrace models`: the registry, and the word that promotion is for running scorers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from headrace.cli.options import connection_and_models, models_only
from headrace.cli.root import Suggesting, extra

if TYPE_CHECKING:
    from headrace.models.card import Promotion
    from headrace.models.registry import Registry
    from headrace.settings import Settings

SHIPPED = ("digits", "breast_cancer", "diabetes")


@click.group(cls=Suggesting)
def command() -> None:
    """List, train, promote and roll back model versions."""


@command.command()
@models_only
def ls(settings: Settings) -> None:
    """Show every version, and which one is in service."""
    from headrace.cli.table import table

    listing = _registry(settings).listing()
    if not listing:
        click.echo(f"no models in {settings.models}; train the shipped ones with `headrace models train`", err=True)
        return
    rows = [
        (
            card.name,
            card.version,
            "in service" if serving else "",
            card.kind,
            card.algorithm,
            ", ".join(f"{name} {value:.3f}" for name, value in sorted(card.metrics.items())),
            card.created.astimezone().strftime("%Y-%m-%d %H:%M"),
            card.sha256[:12],
        )
        for card, serving in listing
    ]
    header = ("MODEL", "VERSION", "STATE", "KIND", "ALGORITHM", "HELD-OUT METRICS", "STORED", "SHA-256")
    click.echo(table(header, rows))


@command.command()
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--promote/--no-promote", default=True, help="Put the new versions into service.  [default: promote]")
@click.option("--missing", is_flag=True, help="Only models that have no version in service yet.")
@connection_and_models
def train(settings: Settings, names: tuple[str, ...], promote: bool, missing: bool) -> None:
    """Train the shipped models on real data: digits, breast_cancer, diabetes; without a name all three."""
    from headrace.cli.process import one_thread
    from headrace.errors import SettingsError

    for name in names:
        if name not in SHIPPED:
            raise SettingsError(f"{name!r} is not one of the shipped models: {', '.join(SHIPPED)}")
    registry = _registry(settings)
    served = {card.name for card in registry.champions()} if missing else set()
    wanted = [name for name in names or SHIPPED if name not in served]
    if not wanted:
        click.echo("nothing to train: all of them are in service")
        return
    one_thread()
    with extra("training", "subscriber"):
        from headrace.models.training import train as fit

    promotions = []
    for name in wanted:
        trained = fit(name)
        stored = registry.save(trained.estimator, trained.card)
        metrics = ", ".join(f"{measure} {value:.3f}" for measure, value in sorted(stored.metrics.items()))
        click.echo(f"trained {name} version {stored.version}: {metrics} on held-out rows")
        if promote:
            promotions.append(registry.promote(name, stored.version))
    _announce(settings, promotions, "trained")


@command.command()
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@connection_and_models
def promote(settings: Settings, name: str, version: int) -> None:
    """Put VERSION of NAME into service, in all running scorers."""
    _announce(settings, [_registry(settings).promote(name, version)], "promoted by hand")


@command.command()
@click.argument("name")
@connection_and_models
def rollback(settings: Settings, name: str) -> None:
    """Put back into service what was there before."""
    _announce(settings, [_registry(settings).rollback(name)], "rolled back by hand")


def _registry(settings: Settings) -> Registry:
    with extra("the registry", "subscriber"):
        from headrace.models.registry import Registry

    return Registry(settings.models)


def _announce(settings: Settings, promotions: list[Promotion], reason: str) -> None:
    """Tell running scorers, if a server answers; the registry is changed in any case."""
    from headrace.channels import MODELS
    from headrace.cli.ask import ask
    from headrace.errors import UnavailableError
    from headrace.events import ModelPromoted, stamped

    if not promotions:
        return
    events = [
        stamped(
            ModelPromoted(
                model=one.name, version=one.version, sha256=one.sha256, previous=one.previous or 0, reason=reason
            ),
            "headrace models",
        )
        for one in promotions
    ]

    async def publish(bus: Any) -> None:
        await bus.publish(MODELS, events)

    for one in promotions:
        before = f", in place of version {one.previous}" if one.previous and one.previous != one.version else ""
        click.echo(f"{one.name} version {one.version} is in service{before}")
    try:
        ask(settings, publish)
    except UnavailableError as error:
        click.echo(
            f"headrace: no server answers at {error.url}, so running scorers were not told; "
            "those that start later serve it",
            err=True,
        )
