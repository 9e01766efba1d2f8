"""What a user's program does, in a process of its own: publish in bulk, log while training, ask for predictions."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, cycle, islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import redis

from benchmarks.actor import serve
from benchmarks.bare import APPEND, Wire
from benchmarks.loop import sending
from benchmarks.samples import percentile
from benchmarks.stage import MODEL, digits
from headrace.channels import REQUESTS
from headrace.codec import encode
from headrace.events import Matrix, PredictionRequested
from headrace.publisher import adapters, track
from headrace.publisher.aio import AsyncPublisher
from headrace.publisher.publisher import Publisher
from headrace.publisher.run import Run
from headrace.settings import Settings

BATCH = 500
WAITERS = 16
"""Threads that send and wait: enough that a slow answer delays no other request."""
LEAD_S = 0.05

Times = Sequence[float]


class Client:
    """Answers the requests of this process."""

    def __init__(self) -> None:
        self._rows = digits(BATCH)

    async def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        return await asyncio.to_thread(getattr(self, request.pop("do")), **request)

    # in bulk

    def publish(self, how: str, url: str, port: int, prefix: str, count: int) -> dict[str, Any]:
        """Publish `count` requests as fast as it goes, until the server has accepted all of them."""
        rows = [Matrix("<f4", (1, row.size), row.tobytes()) for row in self._rows]
        events = [PredictionRequested(model=MODEL, inputs=row) for row in islice(cycle(rows), count)]
        settings, log = Settings(redis_url=url, prefix=prefix), f"{prefix}:plain"
        gc.collect()
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        match how:
            case "headrace":
                with Publisher(settings) as publisher:
                    publisher.publish(REQUESTS, events)
                    publisher.flush(60.0)
                    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
                    if publisher.accepted != count:
                        raise RuntimeError(f"{publisher.accepted} of {count} events were accepted")
                return {"wall_s": wall_s, "cpu_s": cpu_s}
            case "script":
                wire = Wire(port)
                wire.call("SCRIPT", "LOAD", APPEND)
                sha = hashlib.sha1(APPEND, usedforsecurity=False).hexdigest()
                for at in range(0, count, BATCH):
                    wire.call("EVALSHA", sha, 1, log, *[encode(event) for event in events[at : at + BATCH]])
                wire.close()
            case "pipeline":
                with redis.Redis.from_url(url) as server:
                    for at in range(0, count, BATCH):
                        pipeline = server.pipeline(transaction=False)
                        for event in events[at : at + BATCH]:
                            pipeline.xadd(log, {"e": encode(event)})
                        pipeline.execute()
            case "one by one":
                with redis.Redis.from_url(url) as server:
                    for event in events:
                        server.xadd(log, {"e": encode(event)})
        return {"wall_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s}

    # from a training loop

    def log(self, how: str, url: str, prefix: str, spill: str, calls: int, rate: float) -> dict[str, Any]:
        """Time each call as the training thread sees it; `rate` calls a second with work in between, 0 for no work."""
        settings = Settings(redis_url=url, prefix=prefix, spill=Path(spill))
        if how == "append":
            kept: deque[Any] = deque(maxlen=calls)
            return _timed(lambda step: kept.append((step, {"loss": 0.5, "accuracy": 0.9}, time.time())), calls, rate)
        publisher = Publisher(settings)
        run = Run("bench", publisher=publisher)
        try:
            return _timed(_step(how, run), calls, rate)
        finally:
            run.finish()
            publisher.close(0.2 if how == "dead" else 10.0)

    def search(self, url: str, prefix: str, candidates: int, folds: int) -> dict[str, float]:
        """A watched grid search of short fits in this process: what each fit loses, in microseconds."""
        import numpy as np
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV

        rows, labels = digits(BATCH), np.resize(np.arange(10), BATCH)
        search = GridSearchCV(
            LogisticRegression(max_iter=10, tol=10.0),
            {"C": list(np.logspace(-3, 1, candidates))},
            cv=folds,
            refit=False,
        )
        with Publisher(Settings(redis_url=url, prefix=prefix)) as publisher:
            run = Run("search", publisher=publisher)
            publisher.flush()
            used = sending()
            with _every_call(adapters.sklearn.Candidates, "on_fit_task_end") as calls:
                wall_s, before = time.perf_counter(), used()
                with adapters.sklearn.watch(search, run):
                    search.fit(rows, labels)
                wall_s, sent_ns = time.perf_counter() - wall_s, used() - before
            run.finish()
        fits = candidates * folds
        return {"fit": 1e6 * wall_s / fits, "hook": sum(calls) / 1000 / fits, "sending": sent_ns / 1000 / fits}

    # to and fro

    def ping(self, port: int, there: str, back: str, times: Times) -> dict[str, Any]:
        """The near side of a ping-pong over two streams, sent at `times` (seconds from now)."""
        payload = self._rows[0].tobytes()
        arrived: list[float] = []

        def hear() -> None:
            wire, last = Wire(port), b"0"
            while len(arrived) < len(times):
                reply = wire.call("XREAD", "COUNT", 512, "BLOCK", 500, "STREAMS", back, last)
                now = time.perf_counter()
                for identity, _ in reply[0][1] if reply else ():
                    arrived.append(now)
                    last = identity
            wire.close()

        ears, wire = threading.Thread(target=hear), Wire(port)
        ears.start()
        begin = time.perf_counter() + LEAD_S
        for at in times:
            _sleep_until(begin + at)
            wire.call("XADD", there, "*", "e", payload)
        ears.join()
        wire.close()
        return _latencies([came - begin - at for came, at in zip(arrived, times, strict=True)])

    def predict(self, url: str, prefix: str, times: Times) -> dict[str, Any]:
        """Ask for predictions at `times`, from threads that wait for their results."""
        row, found = self._rows[0], [0.0] * len(times)
        turns: queue.SimpleQueue[int] = queue.SimpleQueue()
        with Publisher(Settings(redis_url=url, prefix=prefix)) as publisher:
            publisher.predict(MODEL, row)
            begin = time.perf_counter() + LEAD_S

            def wait() -> None:
                while (turn := turns.get()) >= 0:
                    _sleep_until(begin + times[turn])
                    publisher.predict(MODEL, row)
                    found[turn] = time.perf_counter() - begin - times[turn]

            for turn in (*range(len(times)), *(-1 for _ in range(WAITERS))):
                turns.put(turn)
            waiters = [threading.Thread(target=wait) for _ in range(WAITERS)]
            for waiter in waiters:
                waiter.start()
            for waiter in waiters:
                waiter.join()
        return _latencies(found)

    def predict_async(self, url: str, prefix: str, times: Times, model: str = MODEL, width: int = 64) -> dict[str, Any]:
        """The same from one event loop; a thread gives the signals, as the loop's own clock ticks in milliseconds."""
        return asyncio.run(self._predict_async(Settings(redis_url=url, prefix=prefix), times, model, width))

    async def _predict_async(self, settings: Settings, times: Times, model: str, width: int) -> dict[str, Any]:
        row, found = np.resize(self._rows[0], width), [0.0] * len(times)
        loop = asyncio.get_running_loop()
        asking: set[asyncio.Task[None]] = set()
        async with AsyncPublisher(settings) as publisher:
            await publisher.predict(model, row)
            begin = time.perf_counter() + LEAD_S

            async def ask(turn: int) -> None:
                await publisher.predict(model, row)
                found[turn] = time.perf_counter() - begin - times[turn]

            def begin_one(turn: int) -> None:
                asking.add(loop.create_task(ask(turn)))

            def signal() -> None:
                for turn, at in enumerate(times):
                    _sleep_until(begin + at)
                    loop.call_soon_threadsafe(begin_one, turn)

            await asyncio.to_thread(signal)
            await asyncio.sleep(0)
            await asyncio.gather(*asking)
        return _latencies(found)


def _step(how: str, run: Run) -> Callable[[int], Any]:
    """What a training calls at each step, by adapter; `alive` and `dead` are `run.log` itself."""
    match how:
        case "hook":
            callback = adapters.lightgbm.Callback(run)
            evaluated = [("val", "loss", 0.5, False), ("val", "accuracy", 0.9, True)]
            env = SimpleNamespace(iteration=0, end_iteration=-1, evaluation_result_list=evaluated)

            def iterate(step: int) -> None:
                env.iteration = step
                callback(env)

            return iterate
        case "track":
            steps = iter(track(count(), run))
            return lambda step: next(steps)
        case "record":
            handler = adapters.logging.Handler(run)
            record = logging.makeLogRecord({"msg": "step=%d loss=0.5 accuracy=0.9", "levelno": logging.INFO})

            def emit(step: int) -> None:
                record.args = (step,)
                handler.emit(record)

            return emit
        case _:
            return lambda step: run.log(step=step, loss=0.5, accuracy=0.9)


def _timed(call: Callable[[int], Any], calls: int, rate: float) -> dict[str, Any]:
    """Median and p99 of a call in microseconds, less what reading the clock takes."""
    clock = time.perf_counter_ns
    work = _work(rate)
    call(0)
    samples = []
    for step in range(1, calls + 1):
        next(work)
        began = clock()
        call(step)
        samples.append(clock() - began)
    empty = []
    for _ in range(10_000):
        began = clock()
        empty.append(clock() - began)
    floor = percentile(empty, 0.5)
    exact = [max(0.0, sample - floor) / 1000 for sample in samples]
    return {"p50": percentile(exact, 0.5), "p99": percentile(exact, 0.99)}


@contextmanager
def _every_call(owner: type, method: str) -> Iterator[list[int]]:
    """What each call of a method takes, in ns."""
    calls: list[int] = []
    plain = getattr(owner, method)

    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.perf_counter_ns()
        try:
            return plain(*args, **kwargs)
        finally:
            calls.append(time.perf_counter_ns() - began)

    setattr(owner, method, timed)
    try:
        yield calls
    finally:
        setattr(owner, method, plain)


def _work(rate: float) -> Iterator[None]:
    """What a training loop does between two calls: real steps of learning that take 1/rate seconds, or nothing."""
    if not rate:
        while True:
            yield
    from sklearn.linear_model import SGDClassifier

    rows, classes = digits(BATCH), np.arange(2)
    labels = np.resize(classes, BATCH)
    learner = SGDClassifier(loss="log_loss")
    learner.partial_fit(rows, labels, classes=classes)
    due = time.perf_counter()
    while True:
        due = max(due + 1 / rate, time.perf_counter())
        learner.partial_fit(rows[:16], labels[:16])
        _sleep_until(due)
        yield


def _sleep_until(at: float) -> None:
    left = at - time.perf_counter()
    if left > 0:
        time.sleep(left)


def _latencies(seconds: Sequence[float]) -> dict[str, Any]:
    return {"p50": 1000 * percentile(seconds, 0.5), "p99": 1000 * percentile(seconds, 0.99)}


if __name__ == "__main__":
    serve(Client())
