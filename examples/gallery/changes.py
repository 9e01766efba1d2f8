"""Changes of a wiki arrive as server-sent events, and a model learns while it says which are made by bots.

Each change is published on a channel, scored before its truth is used, and then learned from. By default changes are
generated, in the shape of Wikimedia's stream, by a server on this machine that hangs up now and then, so that the
source has to go on from the last id. `--url https://stream.wikimedia.org/v2/stream/recentchange` takes the real ones.

From: Wikimedia's EventStreams; online learning on a stream.
Look at: `edits_per_s`, and `accuracy` of the last changes against `guess`, that of always saying the same.
Checked: though the server hung up, each change came once and is in the log once; on generated changes the model ends
with an accuracy above 0.85, and above the guess.
Needs: nothing more
Weight: light
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from typing import Any

import numpy as np
from sklearn.linear_model import SGDClassifier

from headrace.arrays import pack
from headrace.events import PredictionRequested, stamped
from headrace.publisher.sse import sent_events
from stage import Show, play

RECENT = 300
LOG_EVERY = 20
HANG_UP = 70
"""The server ends a connection after so many changes."""


def main(show: Show) -> str:
    count = show.sizes["changes"] // LOG_EVERY * LOG_EVERY
    if show.given["url"]:
        return follow(show, show.given["url"], count, generated=False)
    with wiki(count) as url:
        return follow(show, url, count, generated=True)


def follow(show: Show, url: str, count: int, *, generated: bool) -> str:
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.05, random_state=0)
    recent: deque[tuple[bool, bool]] = deque(maxlen=RECENT)
    channel, ids, began_s = f"changes-{secrets.token_hex(3)}", set(), time.monotonic()
    with show.run("bots of a wiki", {"url": url.partition("?")[0]}, total_steps=count) as run:
        for step, (change, sent) in enumerate(islice(edits(url), count), 1):
            ids.add(sent)
            features, bot = described(change)
            asked = PredictionRequested(model="bots", subject=str(change["title"]), inputs=pack(features))
            show.publisher.publish(channel, stamped(asked, "wiki"))
            said = bool(model.predict(features)[0]) if step > 1 else False
            recent.append((said, bot))
            model.partial_fit(features, [bot], classes=[False, True])
            if step % LOG_EVERY == 0:
                bots = sum(truth for _, truth in recent) / len(recent)
                accuracy, guess = sum(said == truth for said, truth in recent) / len(recent), max(bots, 1 - bots)
                run.log(step=step, edits_per_s=step / (time.monotonic() - began_s), accuracy=accuracy, guess=guess)
    show.expect(run, metrics=count // LOG_EVERY)
    show.publisher.flush()
    show.count("changes", count, lambda: sum(1 for _ in show.log(channel)))
    show.check(len(ids) == count, f"{count} changes had {len(ids)} ids: some came twice or not at all")
    if generated:
        show.check(ids == {str(number) for number in range(count)}, "changes are missing")
        show.check(accuracy > max(0.85, guess), f"accuracy {accuracy:.2f}, guess {guess:.2f}")
    return f"{count} changes, each once; accuracy {accuracy:.2f} on the last {len(recent)}, {guess:.2f} by guess"


def edits(url: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Changes of pages, with the id that the stream gives them."""
    for sent in sent_events(url):
        change = json.loads(sent.text) if sent.text else {}
        if change.get("type") in ("edit", "new"):
            yield change, sent.id


def described(change: dict[str, Any]) -> tuple[Any, bool]:
    """What a model may know of a change, one row; and whether a bot made it."""
    sizes = change.get("length") or {}
    grown = (sizes.get("new") or 0) - (sizes.get("old") or 0)
    comment = str(change.get("comment", ""))
    row = [
        np.sign(grown) * np.log1p(abs(grown)) / 5,
        float(bool(change.get("minor"))),
        min(len(comment), 200) / 100,
        float("[[" in comment),
        float(change.get("namespace") == 0),
        float(change.get("type") == "new"),
    ]
    return np.array([row]), bool(change.get("bot"))


@contextmanager
def wiki(count: int) -> Iterator[str]:
    """A server on this machine that streams `count` generated changes and hangs up now and then."""
    changes = list(generated_changes(count))

    class Stream(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            last = self.headers.get("Last-Event-ID")
            start = int(last) + 1 if last else 0
            if start >= count:
                self.send_response(204)
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"retry: 10\n:ok\n\n")
            for number in range(start, min(count, start + HANG_UP)):
                self.wfile.write(f"event: message\nid: {number}\ndata: {changes[number]}\n\n".encode())

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Stream)
    thread = threading.Thread(target=server.serve_forever, name="wiki")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v2/stream/recentchange"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def generated_changes(count: int) -> Iterator[str]:
    """Seeded changes in the shape of Wikimedia's: bots make small, minor, tersely explained ones more often."""
    rng = np.random.default_rng(14)
    for number in range(count):
        bot = bool(rng.random() < 0.4)
        old = int(rng.integers(500, 20_000))
        grown = int(rng.normal(0, 30 if bot else 400))
        change = {
            "type": "new" if rng.random() < (0.02 if bot else 0.15) else "edit",
            "title": f"Page {rng.integers(10_000)}",
            "namespace": 0 if rng.random() < (0.9 if bot else 0.6) else 1,
            "comment": ("[[Task]] " if rng.random() < (0.6 if bot else 0.1) else "")
            + "x" * int(rng.integers(5, 30 if bot else 150)),
            "minor": bool(rng.random() < (0.9 if bot else 0.15)),
            "bot": bot,
            "user": f"user {rng.integers(500)}",
            "length": {"old": old, "new": max(0, old + grown)},
            "id": number,
        }
        yield json.dumps(change)


if __name__ == "__main__":
    play(main, ("httpx-sse", "scikit-learn"), changes=(3_000, 400), url="")
