"""The stages of the application: from a table to a table or a model, without a session or settings of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
from pyspark.ml.classification import LogisticRegression, LogisticRegressionModel
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as f

FEATURES = ("height", "weight", "age")
TRUTH = (1.5, -2.0, 0.5)


def generated(session: SparkSession, rows: int, partitions: int) -> DataFrame:
    """Seeded rows with a label of one linear truth, some of them with a value that is missing."""
    table = session.range(0, rows, 1, partitions)
    for number, name in enumerate(FEATURES):
        table = table.withColumn(name, f.randn(seed=number))
    margin: Column = sum((f.col(name) * weight for name, weight in zip(FEATURES, TRUTH, strict=True)), f.lit(0.0))
    table = table.withColumn("label", (f.rand(seed=9) < 1 / (1 + f.exp(-margin))).cast("double"))
    return table.withColumn("age", f.when(f.col("id") % 50 == 0, None).otherwise(f.col("age")))


def cleaned(table: DataFrame) -> DataFrame:
    """Rows without missing values."""
    return table.na.drop(subset=list(FEATURES))


def assembled(table: DataFrame) -> DataFrame:
    """The features as one vector, as MLlib takes them."""
    return VectorAssembler(inputCols=list(FEATURES), outputCol="features").transform(table)


def trained(table: DataFrame, iterations: int) -> LogisticRegressionModel:
    """A logistic regression without a penalty."""
    return LogisticRegression(maxIter=iterations, regParam=0.0).fit(table)


def arrays(table: DataFrame) -> tuple[Any, Any]:
    """A small table as numpy arrays: features and labels."""
    found = table.select(vector_to_array("features").alias("x"), "label").toPandas()
    return np.array(found["x"].tolist()).reshape(-1, len(FEATURES)), found["label"].to_numpy()
