"""A scikit-learn model that says how its training goes. Watch it on the page, or with listen.py."""

from __future__ import annotations

from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from headrace import Run

EPOCHS = 20

rows, labels = load_digits(return_X_y=True)
train_x, test_x, train_y, test_y = train_test_split(rows / 16, labels, random_state=0)
model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.05, random_state=0)

with Run("digits by hand", params=model.get_params(), total_steps=EPOCHS) as run:
    for epoch in range(1, EPOCHS + 1):
        model.partial_fit(train_x, train_y, classes=range(10))
        loss = log_loss(test_y, model.predict_proba(test_x))
        run.log(step=epoch, loss=loss, accuracy=model.score(test_x, test_y))

print(f"run {run.id} ended with {run.summary}")
