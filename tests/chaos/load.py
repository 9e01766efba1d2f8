"""A process that publishes requests until its standard input ends, and says what was accepted.

Reads one JSON line: {"least": requests at least, "rate": a second, "skew_s": how wrong its clock is, "labels": bool}.
Prints a JSON line ten times a second, and a last one with "done": true once everything was accepted. Told to end by
SIGTERM it sends what it holds, and says what became of it.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from itertools import count
from typing import Any

from headrace.arrays import pack
from headrace.channels import REQUESTS
from headrace.errors import BusError
from headrace.events import PredictionRequested, new_id
from headrace.models.datasets import load as load_data
from headrace.publisher import Publisher
from headrace.settings import Settings

TURN_S = 0.02
PATIENCE_S = 120.0


def main() -> None:
    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    ended = threading.Event()

    def watch() -> None:
        sys.stdin.read()
        ended.set()

    def finish(number: int, frame: object) -> None:
        raise SystemExit(0)

    threading.Thread(target=watch, daemon=True).start()
    signal.signal(signal.SIGTERM, finish)
    skew_s = asked.get("skew_s", 0.0)
    rows = [pack(row[None]) for row in load_data("digits").held_out_x.astype("<f4")]
    per_turn = max(1, int(asked["rate"] * TURN_S))
    number, spoke_at = count(), 0.0
    with Publisher(Settings.load()) as publisher:
        offered = 0
        due = time.monotonic()
        try:
            while not ended.is_set() or offered < asked["least"]:
                now = time.time() + skew_s
                batch = [
                    PredictionRequested(id=new_id(), time=now, model="digits", inputs=rows[next(number) % len(rows)])
                    for _ in range(per_turn)
                ]
                publisher.publish(REQUESTS, batch)
                offered += per_turn
                due = max(due + TURN_S, time.monotonic() - 1.0)
                time.sleep(max(0.0, due - time.monotonic()))
                if time.monotonic() - spoke_at > 0.1:
                    spoke_at = time.monotonic()
                    say(publisher, offered)
        finally:
            until = time.monotonic() + PATIENCE_S
            while publisher.waiting and time.monotonic() < until:
                try:
                    publisher.flush(5.0)
                except BusError:
                    continue
            say(publisher, offered, done=True)


def say(publisher: Publisher, offered: int, **more: Any) -> None:
    requests = [outbox for outbox in publisher.sender.buffer._turn if outbox.channel == REQUESTS]
    told = {  # of requests alone: the publisher also reports what it lost
        "offered": offered,
        "accepted": sum(outbox.accepted for outbox in requests),
        "waiting": sum(outbox.waiting for outbox in requests),
        "lost": sum(outbox.lost for outbox in requests),
        **more,
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
