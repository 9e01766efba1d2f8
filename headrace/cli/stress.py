"""`headrace stress`: what a pipeline takes, from the side of those who ask."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from headrace.cli.options import connection_and_models

if TYPE_CHECKING:
    from headrace.bus import Bus
    from headrace.publisher.stress import Plan, Report
    from headrace.publisher.stress.load import Progress
    from headrace.settings import Settings

KNEE_S = 5.0
"""Length of each stage of --find-knee, unless --duration says another."""
DURATION_S = 10.0
DRAIN_S = 60.0
"""How long a stage of --find-knee waits for what is under way, so that the next begins with nothing."""
CLOSED_S = 2.0
"""After so long the last second of statistics is closed, and can be compared with its recount."""

POSITIVE = click.FloatRange(0, min_open=True)


@click.command()
@click.option("--model", metavar="NAME", default="digits", show_default=True, help="The model that is asked.")
@click.option(
    "--rate", type=POSITIVE, metavar="N", default=100.0, show_default=True, help="Requests a second; the first to try."
)
@click.option(
    "--duration",
    type=POSITIVE,
    metavar="S",
    help=f"Seconds of sending.  [default: {DURATION_S:g}; {KNEE_S:g} for each rate of --find-knee]",
)
@click.option("--rows", type=click.IntRange(1), metavar="N", default=1, show_default=True, help="Rows in each request.")
@click.option(
    "--features",
    type=click.IntRange(1),
    metavar="N",
    help="Values in each row, which are random.  [default: as many as the registry says that the model takes]",
)
@click.option(
    "--arrivals",
    type=click.Choice(["poisson", "uniform", "bursts"]),
    default="poisson",
    show_default=True,
    help="Random gaps, equal gaps, or the requests of each second at once.",
)
@click.option(
    "--target", type=POSITIVE, metavar="MS", default=50.0, show_default=True, help="The p99 latency to be kept."
)
@click.option("--find-knee", is_flag=True, help="Raise the rate until the target breaks, and say where and why.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another seed is another course of events.")
@click.option("--no-audit", is_flag=True, help="Do not recount all logs at the end; the requests sent are recounted.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@connection_and_models
def command(
    settings: Settings,
    model: str,
    rate: float,
    duration: float | None,
    rows: int,
    features: int | None,
    arrivals: str,
    target: float,
    find_knee: bool,
    seed: int,
    no_audit: bool,
    as_json: bool,
) -> None:
    """Send prediction requests by a schedule, whatever becomes of the ones before, and report what came of them.

    Latencies count from the moment at which a request should have been sent. Every request is accounted for in the
    end, from the logs where its outcome was not heard. Exit status 1 if anything was lost or doubled.
    """
    import asyncio

    import msgspec

    from headrace.cli.ask import check
    from headrace.publisher.stress import Plan

    duration_s = duration or (KNEE_S if find_knee else DURATION_S)
    plan = Plan(
        model=model,
        features=features or _features(settings, model),
        rate=rate,
        duration_s=duration_s,
        rows=rows,
        arrivals=arrivals,
        seed=seed,
        target_ms=target,
    )
    check(settings)
    reports, knee = asyncio.run(_run(settings.with_(overflow="block"), plan, find_knee, not no_audit))
    if as_json:
        click.echo(msgspec.json.encode({"knee": knee, "target_ms": target, "stages": reports}))
    else:
        click.echo(_text(reports, knee, target, find_knee))
    if any(not report.books.balanced for report in reports) or reports[-1].books.recount not in ("", "balanced"):
        raise click.exceptions.Exit(1)


def _features(settings: Settings, model: str) -> int:
    from headrace.errors import ModelError, SettingsError
    from headrace.models.registry import Registry

    try:
        return Registry(settings.models).champion(model).n_features
    except ModelError as error:
        raise SettingsError(f"how many values does a row have? {error}. Say it with --features") from None


async def _run(settings: Settings, plan: Plan, find_knee: bool, recount: bool) -> tuple[list[Report], float | None]:
    """The stages, and the knee if one was looked for and found."""
    import asyncio

    from headrace.bus import Bus
    from headrace.cli.process import ending, within
    from headrace.publisher.stress import Ramp, stress

    stop = asyncio.Event()
    reports: list[Report] = []
    async with Bus(settings) as bus:
        with ending(stop, lambda text: click.echo(f"headrace: {text}", err=True)):
            if not find_knee:
                reports.append(await stress(bus, plan, stop, _line))
            ramp = Ramp(plan.rate)
            while find_knee and ramp.rate is not None and not stop.is_set():
                stage = replace(plan, rate=ramp.rate, patience_s=DRAIN_S, seed=plan.seed + len(reports))
                report = await stress(bus, stage, stop, _line)
                reports.append(report)
                if stop.is_set():
                    break
                _clear()
                click.echo(f"  {_stage(report, plan.target_ms)}", err=True)
                ramp.tell(report.held(plan.target_ms))
            _clear()
            if recount and reports:
                await within(stop, CLOSED_S)
                reports[-1].books.recount = await _recounted(bus)
    return reports, ramp.knee


async def _recounted(bus: Bus) -> str:
    from headrace.audit import audit

    books = await audit(bus)
    if books.balanced:
        return "balanced"
    return f"{books.lost} lost, {books.doubled} doubled, {len(books.differing)} statistics differ; see `headrace audit`"


def _line(progress: Progress) -> None:
    """The live line, for people who watch."""
    if not sys.stderr.isatty():
        return
    latency: Any = progress.latency_ms
    click.echo(
        f"\r\033[K{progress.at_s:5.0f} s  sent {progress.sent:,}  answered {progress.answered:,}  "
        f"waiting {progress.waiting:,}  p50 {latency['p50']:.1f} ms  p99 {latency['p99']:.1f} ms",
        nl=False,
        err=True,
    )


def _clear() -> None:
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)


def _stage(report: Report, target_ms: float) -> str:
    latency = report.latency_ms
    outcome = "held" if report.held(target_ms) else report.limit
    return (
        f"{report.offered:>10,.0f}/s  answered {report.answered:>10,.0f}/s  p50 {latency['p50']:>8.1f} ms  "
        f"p99 {latency['p99']:>8.1f} ms  {outcome}"
    )


def _text(reports: list[Report], knee: float | None, target_ms: float, find_knee: bool) -> str:
    from headrace.publisher.stress.report import text

    if not find_knee:
        return text(reports[0], target_ms)
    held = [report for report in reports if report.held(target_ms)]
    broken = [report for report in reports if not report.held(target_ms)]
    lines = []
    if held:
        lines += ["the highest rate that was held:", text(max(held, key=lambda report: report.offered), target_ms)]
    if broken:
        lines += ["the lowest that was not:", text(min(broken, key=lambda report: report.offered), target_ms)]
    where = f"{knee:,.0f} requests/s" if knee else "below the first rate; begin with a lower --rate"
    beyond = f", limited by {min(broken, key=lambda r: r.offered).limit.partition(':')[0]}" if broken else ""
    return "\n".join([*lines, f"  knee       {where}{beyond}"])
