"""Spark tells listeners of its streams what the adapter expects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace import Publisher, adapters
from headrace.events import RunFinished, RunMetrics, RunStarted
from headrace.testing import wait_until_sync

pyspark = pytest.importorskip("pyspark")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow, pytest.mark.timeout(300)]


def test_a_stream_is_a_run_and_a_micro_batch_a_step(
    publisher: Publisher, said: Callable[[], list[Any]], tmp_path: Path
) -> None:
    from pyspark.sql import SparkSession

    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.warehouse.dir", str(tmp_path))
        .getOrCreate()
    )
    try:
        spark.streams.addListener(adapters.spark.Listener(publisher=publisher))
        stream = spark.readStream.format("rate").option("rowsPerSecond", 50).load()
        query = stream.writeStream.queryName("rates").foreachBatch(lambda rows, number: rows.count()).start()
        wait_until_sync(lambda: len([event for event in said() if isinstance(event, RunMetrics)]) >= 3, 120.0)
        query.stop()
        wait_until_sync(lambda: any(isinstance(event, RunFinished) for event in said()), 60.0)
    finally:
        spark.stop()
    found = said()
    assert isinstance(found[0], RunStarted)
    assert found[0].name == "rates"
    logged = [event for event in found if isinstance(event, RunMetrics)]
    assert [event.step for event in logged] == sorted(event.step for event in logged)
    assert {"rows", "rows in/s", "rows done/s", "triggerExecution ms"} <= set(logged[-1].metrics)
    assert found[-1].status == "finished"
