"""Structured streams of Spark as live runs: `spark.streams.addListener(Listener())`.

https://spark.apache.org/docs/latest/api/python/reference/pyspark.ss/api/pyspark.sql.streaming.StreamingQueryListener.html
"""

from __future__ import annotations

from typing import Any

from pyspark.sql.streaming import StreamingQueryListener

from headrace.publisher.adapters.hook import Reporter, hook
from headrace.publisher.publisher import Publisher


class Listener(StreamingQueryListener):
    """One run for each query, a step for each micro-batch: its rows, its rates and what took how long."""

    def __init__(self, name: str = "", *, publisher: Publisher | None = None) -> None:
        super().__init__()
        self._name, self._publisher = name, publisher
        self._queries: dict[str, _Query] = {}

    def onQueryStarted(self, event: Any) -> None:
        """Open the run of a query."""
        query = self._queries[str(event.runId)] = _Query(
            self._name or event.name or "stream", {"query": str(event.id)}, publisher=self._publisher
        )
        query.began()

    def onQueryProgress(self, event: Any) -> None:
        """Log a micro-batch."""
        if query := self._queries.get(str(event.progress.runId)):
            query.progressed(event.progress)

    def onQueryIdle(self, event: Any) -> None:
        """Nothing happened; the run says by itself that it is alive."""

    def onQueryTerminated(self, event: Any) -> None:
        """End the run of a query."""
        if query := self._queries.pop(str(event.runId), None):
            query.terminated(event.exception)


class _Query(Reporter):
    @hook
    def began(self) -> None:
        self.begin()

    @hook
    def progressed(self, progress: Any) -> None:
        found = {"rows": progress.numInputRows}
        found |= {"rows in/s": progress.inputRowsPerSecond, "rows done/s": progress.processedRowsPerSecond}
        found |= {f"{name} ms": value for name, value in dict(progress.durationMs).items()}
        self.tell(found, progress.batchId)

    @hook
    def terminated(self, exception: str | None) -> None:
        self.end("failed" if exception else "finished", exception or "")
