"""Ask for predictions, wait for them by push, and say later what was true."""

from __future__ import annotations

from sklearn.datasets import load_digits

from headrace import Publisher

rows, truth = load_digits(return_X_y=True)

with Publisher() as publisher:
    result = publisher.predict("digits", rows[:3])
    print(result.labels, f"by version {result.version}")

    # Many at once: send all, then wait for each. `label` keeps them until the truth is known.
    predictions = [publisher.submit("digits", row, label=True) for row in rows[3:13]]
    right = 0
    for prediction, actual in zip(predictions, truth[3:13], strict=True):
        labels = prediction.result(timeout_s=10).labels
        right += labels == [str(actual)]
        publisher.label(prediction, str(actual))
    print(f"{right} of {len(predictions)} right")
