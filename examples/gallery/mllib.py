"""A PySpark application with its parts in place: MLlib trains with its stages live, then a stream feeds a learner.

The folder `sparkapp` has what an application is made of: settings, one place for the session, stages that are tested by
themselves, telemetry. Spark calls a listener for each stage of each job while MLlib trains. Then a structured stream
hands micro-batches to `partial_fit`, and its listener reports each.

From: how to structure PySpark applications; MLlib, the successor of Mahout; structured streaming.
Look at: `stage_ms` of the training, a point a stage, while it goes on; `rows` and `loss` of the stream.
Checked: MLlib's weights are those of scikit-learn on the same rows, to a hundredth; its objective never rises; the
streamed learner's loss is within a tenth of MLlib's; the stages' own tests pass.
Needs: spark
Weight: heavy
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import log_loss

from sparkapp import stages
from sparkapp.session import spark_session
from sparkapp.settings import AppSettings
from sparkapp.telemetry import BatchListener, listening
from stage import Show, play

APP = Path(__file__).with_name("sparkapp")
STREAM_S = 90.0


def main(show: Show) -> str:
    settings = AppSettings(rows=show.sizes["rows"])
    # The tests are the application's, and so is their configuration: none.
    alone = ["-c", os.devnull, "--rootdir", str(APP), "-p", "no:cacheprovider", "-p", "no:headrace"]
    tests = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *alone, str(APP / "test_stages.py")],
        cwd=APP.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    show.check(tests.returncode == 0, f"the tests of the stages fail:\n{tests.stdout[-2000:]}{tests.stderr[-500:]}")
    with spark_session(settings) as session:
        table = stages.assembled(stages.cleaned(stages.generated(session, settings.rows, settings.partitions))).cache()
        table.count()
        rows, labels = stages.arrays(table)
        jobs, weights, objective = trained(show, session, table, settings)
        streamed = learned(show, session, table, settings, rows, labels)
    measure = LogisticRegression(C=np.inf, max_iter=200).fit(rows, labels).coef_[0]
    error = float(np.abs(weights - measure).max())
    show.check(error < 0.01, f"MLlib's weights differ from scikit-learn's by {error:.3f}")
    rises = max(np.diff(objective))
    show.check(rises < 1e-9, f"the objective rose by {rises:.1e}")
    best = min(objective)
    show.check(streamed < best + 0.1, f"the streamed learner's loss is {streamed:.3f}, MLlib's {best:.3f}")
    return (
        f"{jobs} jobs to {len(objective)} objective values, weights within {error:.0e} of scikit-learn's; "
        f"loss {best:.3f}, streamed {streamed:.3f}; the stages' tests pass"
    )


def trained(show: Show, session: SparkSession, table: DataFrame, settings: AppSettings) -> tuple[int, Any, Any]:
    """Train MLlib's model with its stages as events: jobs, weights, objective by iteration."""
    with show.run("mllib", {"rows": settings.rows, "master": settings.master}) as run:
        listener = listening(session, run)
        model = stages.trained(table, settings.iterations)
        objective = list(model.summary.objectiveHistory)
        time.sleep(1.0)  # the listener is told in its own time
        listener.closed = True
    show.check(listener.stages > 0, "the listener was told of no stage")
    show.expect(run, metrics=listener.events)
    return listener.jobs, model.coefficients.toArray(), objective


def learned(
    show: Show, session: SparkSession, table: DataFrame, settings: AppSettings, rows: Any, labels: Any
) -> float:
    """Feed a learner from a structured stream of files: its loss at the end."""
    learner = SGDClassifier(loss="log_loss", learning_rate="invscaling", eta0=0.5, average=True, random_state=0)
    losses: list[float] = []

    def learn(batch: DataFrame, number: int) -> None:
        values, truth = stages.arrays(batch)
        if len(values):
            learner.partial_fit(values, truth, classes=[0.0, 1.0])
            losses.append(log_loss(labels, learner.predict_proba(rows)))
            run.log(step=number + 1, loss=losses[-1])

    folder = Path(session.conf.get("spark.sql.warehouse.dir", "").removeprefix("file:"), "..", "stream").resolve()
    table.select("features", "label").repartition(settings.batches).write.parquet(str(folder))
    stream = session.readStream.schema(table.select("features", "label").schema).option("maxFilesPerTrigger", 1)
    with show.run("structured stream", {"batches": settings.batches}) as run:
        listener = BatchListener(run)
        session.streams.addListener(listener)
        query = stream.parquet(str(folder)).writeStream.foreachBatch(learn).trigger(availableNow=True).start()
        show.check(query.awaitTermination(STREAM_S), "the stream did not come to its end")
        time.sleep(1.0)  # the listener is told in its own time
        session.streams.removeListener(listener)
    show.check(len(losses) == settings.batches, f"{len(losses)} of {settings.batches} micro-batches came")
    show.expect(run, metrics=len(losses) + listener.events)
    return losses[-1]


if __name__ == "__main__":
    play(main, ("pyspark", "scikit-learn"), rows=(20_000, 5_000))
