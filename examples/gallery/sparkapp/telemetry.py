"""What Spark does, as events of a run: jobs and stages from its listener, micro-batches from the stream's."""

from __future__ import annotations

from typing import Any

from pyspark.java_gateway import ensure_callback_server_started
from pyspark.sql import SparkSession
from pyspark.sql.streaming import StreamingQueryListener

from headrace import Run


class JobListener:
    """Logs each stage of each job when it is completed: it is called by Spark itself, through its bridge."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.jobs = self.stages = self.events = 0
        self.closed = False
        """Spark goes on telling; what it tells from then on belongs to no run."""

    def onJobStart(self, start: Any) -> None:
        self.jobs += 1

    def onStageCompleted(self, completed: Any) -> None:
        if self.closed:
            return
        stage = completed.stageInfo()
        self.stages += 1
        self.events += 1
        took_ms = stage.completionTime().get() - stage.submissionTime().get()
        self.run.log(step=self.stages, jobs=self.jobs, stage_ms=took_ms, tasks=stage.numTasks())

    def __getattr__(self, name: str) -> Any:
        if name.startswith("on"):
            return lambda *_: None  # Spark tells of dozens of other things
        raise AttributeError(name)

    class Java:
        implements = ["org.apache.spark.scheduler.SparkListenerInterface"]


def listening(session: SparkSession, run: Run) -> JobListener:
    """A listener that is told of this session's jobs from now on."""
    context: Any = session.sparkContext
    ensure_callback_server_started(context._gateway)
    listener = JobListener(run)
    context._jsc.sc().addSparkListener(listener)
    return listener


class BatchListener(StreamingQueryListener):
    """Logs the progress of a structured stream, micro-batch by micro-batch."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.events = 0

    def onQueryStarted(self, event: Any) -> None:
        """The run has begun already."""

    def onQueryProgress(self, event: Any) -> None:
        progress = event.progress
        if progress.numInputRows:
            self.events += 1
            self.run.log(step=progress.batchId + 1, rows=progress.numInputRows, batch_ms=progress.batchDuration)

    def onQueryIdle(self, event: Any) -> None:
        """Nothing came."""

    def onQueryTerminated(self, event: Any) -> None:
        """The run says so itself."""
