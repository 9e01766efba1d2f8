"""The same probabilities as scikit-learn's, without what it does around them; for plain logistic regression only.

A call to `predict_proba` spends some 100 us on checking arguments, which `Model.check` has done, and few on the product
of two matrices. The steps below are scikit-learn's own, in its order and in its precision, so that the results are
equal to the last bit. Any other estimator, subclasses included, is left to itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

Array = np.ndarray[Any, np.dtype[Any]]


def shortcut(estimator: Any) -> Callable[[Array], Array] | None:
    """A function of checked rows (n, features) that equals `estimator.predict_proba`, or None if there is none."""
    if type(estimator) is not LogisticRegression:
        return None
    weights: Array = estimator.coef_.T
    bias: Array = estimator.intercept_

    def softmax(rows: Array) -> Array:
        scores: Array = rows @ weights + bias
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def sigmoid(rows: Array) -> Array:
        positive = (rows @ weights + bias).reshape(-1)
        expit(positive, out=positive)
        return np.stack([1 - positive, positive], axis=1)

    return sigmoid if len(estimator.classes_) == 2 else softmax
