"""Vowpal Wabbit learns online, and its progressive loss is watched while it does.

Each line of text is predicted before it is learned from, so that the mean loss so far is an honest estimate without
held-out rows. A scikit-learn model trained in batches on the same rows is the measure.

From: Langford, Li and Strehl, Vowpal Wabbit, 2007.
Look at: `loss` against step, doubling its examples between two points, as Vowpal Wabbit's own table does.
Checked: the progressive loss that is published is the one recomputed from the predictions; on held-out rows the model
is at most three points of a hundred below scikit-learn's.
Needs: wabbit
Weight: light
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from vowpalwabbit import Workspace

from stage import Show, play


def main(show: Show) -> str:
    rows, labels = load_breast_cancer(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(rows, labels, test_size=0.3, random_state=0)
    scaler = StandardScaler().fit(train_x)
    train_x, test_x = scaler.transform(train_x), scaler.transform(test_x)
    learner = Workspace("--loss_function logistic --quiet -b 18 --random_seed 1")

    passes, seen, losses, due, events = show.sizes["passes"], 0, [], 1, 0
    with show.run("vowpal wabbit", {"passes": passes}, total_steps=passes * len(train_x)) as run:
        for _ in range(passes):
            for row, label in zip(train_x, train_y, strict=True):
                margin = learner.predict(text(row))
                losses.append(np.logaddexp(0, -margin if label else margin))
                learner.learn(f"{1 if label else -1} {text(row)}")
                seen += 1
                if seen == due:
                    run.log(step=seen, loss=learner.get_sum_loss() / seen)
                    events, due = events + 1, 2 * due
    show.expect(run, metrics=events)
    own, recomputed = learner.get_sum_loss() / seen, float(np.mean(losses))
    show.check(abs(own - recomputed) < 1e-3, f"its progressive loss is {own:.4f}, recomputed {recomputed:.4f}")

    score = float(
        np.mean([(learner.predict(text(row)) > 0) == label for row, label in zip(test_x, test_y, strict=True)])
    )
    learner.finish()
    measure = LogisticRegression().fit(train_x, train_y).score(test_x, test_y)
    show.check(score > measure - 0.03, f"its accuracy is {score:.3f}, scikit-learn's {measure:.3f}")
    return f"progressive loss {own:.3f} after {seen:,} examples; accuracy {score:.3f}, scikit-learn's {measure:.3f}"


def text(row: np.ndarray) -> str:
    """A row in Vowpal Wabbit's format, without its label."""
    return "| " + " ".join(f"f{column}:{value:.6g}" for column, value in enumerate(row))


if __name__ == "__main__":
    play(main, ("vowpalwabbit", "scikit-learn"), passes=(10, 2))
