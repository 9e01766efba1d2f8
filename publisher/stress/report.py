"""What a stress run found: percentiles, books, what limited it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from headrace.histogram import bucket, percentiles

RANKS = (0.5, 0.9, 0.99, 0.999)
BUSY = 0.85
"""From this share of its time on, a process is what limits."""
KEPT = 0.95
"""Less than this share of the requests answered in time: the rate was not held."""


class Books(msgspec.Struct):
    """What became of the requests. `sent` = `answered` + `rejected` + `found` + `waiting` + `lost`."""

    sent: int = 0
    """Accepted by the server."""
    answered: int = 0
    """Results that were pushed here."""
    rejected: int = 0
    """Dead letters, with a reason."""
    found: int = 0
    """Outcomes that were not heard in time, but are in the log."""
    waiting: int = 0
    """Not decided yet."""
    lost: int = 0
    """Decided without an outcome, or nowhere at all."""
    doubled: int = 0
    """With more than one outcome in the log."""
    not_sent: int = 0
    """Never accepted by the server: no room, or the run was broken off."""
    recount: str = ""
    """What a recount of all logs said: `balanced`, or what differs."""

    @property
    def balanced(self) -> bool:
        """Nothing lost, nothing doubled."""
        return not (self.lost or self.doubled)


class Latencies:
    """Latencies by bucket (known to 3 %), bounded however long the run is."""

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.longest_s = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bucket(1e6 * seconds)] += 1
        self.longest_s = max(self.longest_s, seconds)

    def ms(self) -> dict[str, float]:
        """Percentiles in milliseconds, by name, and the longest."""
        found = percentiles(self.counts, *RANKS)
        names = [f"p{100 * rank:g}" for rank in RANKS]
        return {**dict(zip(names, found, strict=True)), "max": 1000 * self.longest_s}


class Shares(msgspec.Struct, frozen=True):
    """How busy each was, of one core; None where it is not known."""

    scorers: list[float] = []
    """One each."""
    server: float | None = None
    sender: float = 0.0
    """This process."""
    machine: float | None = None
    """All cores of this machine together."""


class Report(msgspec.Struct):
    """One stage: a rate held for a while."""

    offered: float
    """Requests a second by the schedule."""
    seconds: float
    rows: int
    arrivals: str
    answered: float = 0.0
    """Outcomes a second, over the time that it took to hear them all."""
    latency_ms: dict[str, float] = {}
    """From the scheduled moment to the outcome here: p50, p90, p99, p99.9, max."""
    lag_ms: dict[str, float] = {}
    """From the scheduled moment to the publisher's buffer: what this process itself was late."""
    shares: Shares = Shares()
    books: Books = msgspec.field(default_factory=Books)
    limit: str = ""

    def held(self, target_ms: float) -> bool:
        """Whether the rate was kept up and 99 of 100 answers came within the target."""
        answered = self.books.answered + self.books.rejected
        scheduled = self.books.sent + self.books.not_sent
        return answered >= KEPT * scheduled > 0 and self.latency_ms["p99"] <= target_ms


def limit(report: Report, target_ms: float) -> str:
    """What limited a stage, in words; empty if nothing did."""
    shares = report.shares
    lag, p99 = report.lag_ms.get("p99", 0.0), report.latency_ms.get("p99", 0.0)
    if report.held(target_ms) and lag < target_ms / 2:
        return ""
    if not shares.scorers and not report.books.answered:
        return "nobody scores: no scorer is alive with this prefix"
    if lag >= max(target_ms / 2, p99 / 2):
        return (
            f"this sender: it was up to {lag:,.0f} ms late itself (p99) and took {shares.sender:.0%} of a core. "
            "Send more rows a request, or start several"
        )
    if shares.scorers and min(shares.scorers) >= BUSY:
        return f"the scorers: the least busy of {len(shares.scorers)} worked {min(shares.scorers):.0%} of the time"
    if shares.server is not None and shares.server >= BUSY:
        return f"the server: it took {shares.server:.0%} of a core"
    if shares.machine is not None and shares.machine >= BUSY:
        return f"the machine: all its cores together were {shares.machine:.0%} busy"
    if report.books.not_sent:
        return "room in the log: the server refused requests until scorers made room"
    return "unknown: neither scorers, server nor this sender were busy all the time"


def text(report: Report, target_ms: float) -> str:
    """A stage for people."""
    latency, lag, shares, books = report.latency_ms, report.lag_ms, report.shares, report.books
    scorers = ", ".join(f"{share:.0%}" for share in shares.scorers) or "none seen"
    lines = [
        f"offered    {report.offered:,.0f} requests/s of {report.rows} rows, {report.arrivals}, {report.seconds:.1f} s",
        f"answered   {report.answered:,.0f} requests/s, {report.answered * report.rows:,.0f} rows/s",
        f"latency    {_shown(latency)}",
        f"own lag    {_shown(lag)}",
        f"busy       scorers {scorers}; server {_share(shares.server)}; this sender {_share(shares.sender)}; "
        f"the machine {_share(shares.machine)}",
        f"books      {entries(books)}",
        f"limit      {report.limit or f'none: p99 is within {target_ms:g} ms'}",
    ]
    return "\n".join(f"  {line}" for line in lines)


def entries(books: Books) -> str:
    """The books in one line."""
    told = ("answered", "rejected", "found", "waiting", "not_sent", "lost", "doubled")
    counts: Mapping[str, int] = {name: getattr(books, name) for name in told}
    words = {"found": "in the log, not heard", "not_sent": "not sent"}
    always = ("answered", "lost", "doubled")
    parts = [f"{n:,} {words.get(name, name)}" for name, n in counts.items() if n or name in always]
    recount = f"; recount: {books.recount}" if books.recount else ""
    return f"{books.sent:,} sent: {', '.join(parts)}{recount}"


def _shown(ms: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:,.{1 if value < 100 else 0}f} ms" for name, value in ms.items()) or "-"


def _share(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"
