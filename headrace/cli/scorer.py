"""`headrace scorer`: one process that scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from headrace.cli.options import connection_and_models, named, waiting
from headrace.cli.root import extra, require
from headrace.words import counted

if TYPE_CHECKING:
    from headrace.cli.process import Process
    from headrace.settings import Settings


@click.command()
@click.option("--burst", is_flag=True, help="Score what is waiting, then end.")
@named
@waiting
@connection_and_models
def command(settings: Settings, burst: bool, name: str, wait: bool) -> None:
    """Score prediction requests with the models in service.

    Any number of scorers share the work; one processor each. Ctrl-C or SIGTERM finishes the batch in hand.
    """
    from headrace.cli.process import run

    require("the scorer", "subscriber", "numpy", "sklearn", "skops")

    async def body(process: Process) -> None:
        await _score(process, burst)

    run("scorer", settings, body, wait=wait, name=name)


async def _score(process: Process, burst: bool) -> None:
    with extra("the scorer", "subscriber"):
        from headrace.models.registry import Registry
        from headrace.subscriber.scoring.scorer import Scorer
        from headrace.subscriber.scoring.shelf import Shelf

    shelf = Shelf(Registry(process.settings.models))
    for error in shelf.load():
        process.say(f"refused a model: {error}")
    if process.stop.is_set():
        return
    served = ", ".join(f"{name}@{version}" for name, version in sorted(shelf.versions().items()))
    process.ready(served or f"no model is in service in {process.settings.models}; see `headrace models train`")
    scorer = Scorer(process.bus, shelf, process.worker)
    await scorer.run(process.stop, burst=burst)
    batches = counted(scorer.tally.batches, "batch", "batches")
    process.say(f"scored {counted(scorer.tally.events, 'request')} in {batches}")
