"""The one place where a Spark session is made."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pyspark.sql import SparkSession

from sparkapp.settings import AppSettings


@contextmanager
def spark_session(settings: AppSettings) -> Iterator[SparkSession]:
    """A session that ends with its block. Workers run this Python and find these modules; the web page is off."""
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    modules = str(Path(__file__).parents[1])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [modules, os.environ.get("PYTHONPATH", "")]))
    with TemporaryDirectory(prefix="headrace-spark-", ignore_cleanup_errors=True) as scratch:
        session = (
            SparkSession.builder.master(settings.master)
            .appName("headrace gallery")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", settings.partitions)
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.local.dir", scratch)
            .config("spark.sql.warehouse.dir", f"{scratch}/warehouse")
            .getOrCreate()
        )
        session.sparkContext.setLogLevel("ERROR")
        try:
            yield session
        finally:
            session.stop()
