"""The stages, each with a table that fits on a screen: pytest test_stages.py in an environment with Spark."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pyspark.sql import SparkSession

from sparkapp import stages
from sparkapp.session import spark_session
from sparkapp.settings import AppSettings


@pytest.fixture(scope="module")
def session() -> Iterator[SparkSession]:
    with spark_session(AppSettings(master="local[1]", partitions=1)) as made:
        yield made


def test_rows_with_missing_values_are_dropped(session: SparkSession) -> None:
    table = session.createDataFrame([(1.0, 2.0, None), (1.0, 2.0, 3.0)], "height double, weight double, age double")
    assert stages.cleaned(table).count() == 1


def test_features_become_one_vector_in_their_order(session: SparkSession) -> None:
    table = session.createDataFrame([(1.0, 2.0, 3.0, 1.0)], "height double, weight double, age double, label double")
    features, labels = stages.arrays(stages.assembled(table))
    assert features.tolist() == [[1.0, 2.0, 3.0]]
    assert labels.tolist() == [1.0]


def test_generated_rows_are_the_same_every_time(session: SparkSession) -> None:
    once, again = (stages.generated(session, 100, 1).collect() for _ in range(2))
    assert once == again
    assert sum(row.age is None for row in once) == 2
