"""River learns from one row at a time, and every row tests the model before it teaches it.

The rows drift: half-way every digit takes the name of the next one. A model that forgets nothing is wrong for long from
then on; one with a drift detector notices, begins anew, and recovers. Both are scored progressively, by the same rows.

From: Bifet and others, progressive (prequential) validation; River, the successor of creme and scikit-multiflow.
Look at: the accuracy of both runs: one falls and stays low, the other dips where `drifts` goes up and recovers.
Checked: the detector fires after the drift and not before it; the model that it renews ends well above the other.
Needs: river
Weight: light
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from river import drift, naive_bayes
from sklearn.datasets import load_digits

from stage import Show, play

RECENT = 300
LOG_EVERY = 50


def main(show: Show) -> str:
    rows = show.sizes["rows"] // (2 * LOG_EVERY) * 2 * LOG_EVERY
    ends, found = {}, {}
    for kind in ("keeps everything", "begins anew"):
        with show.run(f"river {kind}", {"rows": rows}, total_steps=rows) as run:
            recent: deque[bool] = deque(maxlen=RECENT)
            model, detector, drifts = naive_bayes.MultinomialNB(), drift.ADWIN(delta=1e-4), []
            for step, (features, label) in enumerate(stream(rows), 1):
                right = model.predict_one(features) == label
                recent.append(right)
                model.learn_one(features, label)
                detector.update(not right)
                if kind == "begins anew" and detector.drift_detected:
                    drifts.append(step)
                    model = naive_bayes.MultinomialNB()
                if step % LOG_EVERY == 0:
                    run.log(step=step, accuracy=sum(recent) / len(recent), drifts=len(drifts))
        show.expect(run, metrics=rows // LOG_EVERY)
        ends[kind], found[kind] = sum(recent) / len(recent), drifts
    fired = found["begins anew"]
    show.check(fired and fired[0] > rows // 2, f"the detector fired at {fired[:1]}, the drift is at {rows // 2}")
    gained = ends["begins anew"] - ends["keeps everything"]
    show.check(ends["begins anew"] > 0.7 and gained > 0.1, f"the renewed model gained {gained:.3f}, to {ends}")
    said = ", ".join(f"{kind} {end:.3f}" for kind, end in ends.items())
    return f"drift at {rows // 2:,} noticed at {fired[0]:,}; accuracy at the end: {said}"


def stream(rows: int) -> Iterator[tuple[dict[str, float], int]]:
    """Digits, again and again; from half-way on each has the name of the next."""
    images, digits = load_digits(return_X_y=True)
    for number in range(rows):
        place = (number * 7919) % len(images)
        features = {f"p{pixel}": value for pixel, value in enumerate(images[place].tolist()) if value}
        yield features, int(digits[place] + (number >= rows // 2)) % 10


if __name__ == "__main__":
    play(main, ("river",), rows=(8_000, 2_000))
