"""Boosting on columns: trees that read features as columns of bins, and a round of boosting for each event.

Sibyl, which trained on columns of billions of rows, was never released; LightGBM is what keeps its ideas alive: columns
are binned once, a tree looks at histograms of bins instead of rows, and boosting adds one tree a round.

From: Chandra and others, Sibyl: a system for large scale supervised machine learning, 2010; Ke and others, LightGBM,
2017.
Look at: the log loss of training and of held-out rows, a point a round, and the candidates: coarser and finer bins.
Checked: the published losses are those of LightGBM's own record; the accuracy is that of a model trained without the
callback, prediction for prediction; coarse bins cost at most five points of a hundred.
Needs: lightgbm
Weight: light
"""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from headrace import Run
from stage import Show, play

BINS = (4, 16, 255)


def main(show: Show) -> str:
    rounds = show.sizes["rounds"]
    rows, labels = load_breast_cancer(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(rows, labels, test_size=0.3, random_state=0)
    scores = {}
    with show.run("boosting on columns", {"rounds": rounds}) as search:
        for bins in BINS:
            record: dict[str, Any] = {}
            published: list[float] = []
            with search.child(f"{bins} bins", {"max_bin": bins}, total_steps=rounds) as run:
                watched = [watching(run, published), lightgbm.record_evaluation(record)]
                booster = fit(train_x, train_y, test_x, test_y, bins, rounds, watched)
            show.expect(run, metrics=rounds, ranks=1)
            show.check(published == record["held out"]["binary_logloss"], "published losses are not LightGBM's own")
            plain = fit(train_x, train_y, test_x, test_y, bins, rounds, [])
            chances = booster.predict(test_x)
            show.check(np.array_equal(chances, plain.predict(test_x)), "watching has changed the model")
            scores[bins] = float(((chances > 0.5) == test_y).mean())
            search.candidate(f"{bins} bins", {"max_bin": bins}, accuracy=scores[bins])
    show.expect(search, candidates=len(BINS))
    show.check(scores[4] > scores[255] - 0.05, f"coarse bins cost too much: {scores}")
    said = ", ".join(f"{score:.3f} with {bins}" for bins, score in scores.items())
    return f"{rounds} rounds; accuracy by bins a column: {said}; models unchanged by watching"


def fit(train_x: Any, train_y: Any, test_x: Any, test_y: Any, bins: int, rounds: int, callbacks: list[Any]) -> Any:
    train = lightgbm.Dataset(train_x, train_y, params={"max_bin": bins, "verbose": -1})
    params = {"objective": "binary", "num_threads": 1, "seed": 0, "deterministic": True, "verbose": -1}
    held_out = lightgbm.Dataset(test_x, test_y, reference=train)
    return lightgbm.train(
        {**params, "max_bin": bins},
        train,
        rounds,
        valid_sets=[train, held_out],
        valid_names=["train", "held out"],
        callbacks=callbacks,
    )


def watching(run: Run, published: list[float]) -> Any:
    """A callback of LightGBM that publishes each round."""

    def after(env: Any) -> None:
        values = {name: value for name, _, value, _ in env.evaluation_result_list}
        run.log(step=env.iteration + 1, train_loss=values["train"], loss=values["held out"])
        published.append(values["held out"])

    return after


if __name__ == "__main__":
    play(main, ("lightgbm",), rounds=(60, 20))
