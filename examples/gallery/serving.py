"""Serving a deep image model twice: in every web worker, and behind a queue with a scorer of its own.

The first approach loads the model in each worker of a web server, as the usual tutorial begins. It is here to be
counted: every worker holds a copy, and scores one image at a time. In the second the workers only publish; one scorer
holds the model once, takes what is waiting, and scores it in one go. The model is a network that was exported to ONNX,
so it could come from any framework.

From: Rosebrock, A scalable Keras + deep learning REST API, 2018, and its sequel with Redis and a stress test.
Look at: `models_loaded`, `memory_mb` and `requests_per_s` of both runs; the batches of the scorer on the page of
models, which grow with the load.
Checked: both approaches give the labels of the network before its export; every request has one result in the log,
none twice; the second has one model loaded, the first as many as workers.
Needs: onnx
Weight: heavy
"""

from __future__ import annotations

import json
import multiprocessing
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import numpy as np
import psutil
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier

from headrace.events import PredictionScored
from headrace.models.card import Card
from headrace.models.datasets import load
from headrace.models.registry import Registry
from stage import Show, play

MODEL = "gallery-digits"
WORKERS = 3
CALLERS = 8
READY_S = 90.0


def main(show: Show) -> str:
    digits, requests = load("digits"), show.sizes["requests"]
    network = MLPClassifier((256, 128), max_iter=60, early_stopping=True, random_state=0)
    network.fit(digits.train_x / 16, digits.train_y)
    images = np.resize(digits.held_out_x / 16, (requests, 64)).astype(np.float32)
    wanted = network.predict(images).astype(str).tolist()

    exported = to_onnx(network, images[:1], options={"zipmap": False}).SerializeToString()
    registry = Registry(show.settings.models)
    card = Card(name=MODEL, kind="classification", labels=digits.labels, image_shape=(8, 8))
    registry.promote(MODEL, registry.add(exported, card).version)

    first = in_every_worker(show, images, wanted)
    second = behind_a_queue(show, images, wanted)
    return (
        f"{requests:,} images, {CALLERS} callers: {WORKERS} models loaded, {first:.0f} a second; "
        f"behind a queue 1 loaded, {second:.0f} a second; labels equal to scikit-learn's"
    )


def in_every_worker(show: Show, images: Any, wanted: list[str]) -> float:
    """The first approach, under the same stress: images a second."""
    context = multiprocessing.get_context("spawn")
    ports = context.SimpleQueue()
    workers = [context.Process(target=serve, args=(str(show.settings.models), ports)) for _ in range(WORKERS)]
    for worker in workers:
        worker.start()
    try:
        addresses = [f"http://127.0.0.1:{ports.get()}" for _ in workers]

        def ask(number: int) -> tuple[str, float]:
            began_s = time.monotonic()
            body = json.dumps(images[number].tolist()).encode()
            with urllib.request.urlopen(addresses[number % WORKERS], body, timeout=30) as answer:
                return str(json.load(answer)), time.monotonic() - began_s

        with show.run("in every web worker", {"workers": WORKERS, "callers": CALLERS}) as run, callers() as pool:
            began_s = time.monotonic()
            answers = list(pool.map(ask, range(len(images))))
            rate = len(images) / (time.monotonic() - began_s)
            loaded = [psutil.Process(worker.pid).memory_info().rss / 1e6 for worker in workers]
            run.log(
                requests_per_s=rate,
                p95_ms=1000 * np.quantile([seconds for _, seconds in answers], 0.95),
                models_loaded=len(loaded),
                memory_mb=sum(loaded),
            )
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()
    show.expect(run, metrics=1)
    show.check([label for label, _ in answers] == wanted, "in the workers labels differ from scikit-learn's")
    return rate


def serve(models: str, ports: Any) -> None:
    """One web worker, with a model of its own, for one request at a time."""
    model = Registry(models).open(MODEL)

    class Worker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            image = np.array([json.loads(self.rfile.read(int(self.headers["Content-Length"])))])
            labels = model.score(image).labels
            answer = json.dumps(model.labels[labels[0]] if labels is not None else None).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Worker) as server:
        ports.put(server.server_port)
        server.serve_forever()


def behind_a_queue(show: Show, images: Any, wanted: list[str]) -> float:
    """The second approach: images a second."""
    scorer = show.process("-m", "headrace", "scorer", "--name", "gallery")
    try:
        show.wait("the scorer", lambda: answered(show, images[:1]), READY_S)

        def ask(number: int) -> tuple[str, float, str]:
            began_s = time.monotonic()
            prediction = show.publisher.submit(MODEL, images[number])
            labels = prediction.result(timeout_s=60).labels or []
            return str(labels[0]), time.monotonic() - began_s, prediction.request

        with show.run("behind a queue", {"scorers": 1, "callers": CALLERS}) as run, callers() as pool:
            began_s = time.monotonic()
            answers = list(pool.map(ask, range(len(images))))
            rate = len(images) / (time.monotonic() - began_s)
            run.log(
                requests_per_s=rate,
                p95_ms=1000 * np.quantile([seconds for _, seconds, _ in answers], 0.95),
                models_loaded=1,
                memory_mb=psutil.Process(scorer.pid).memory_info().rss / 1e6,
            )
    finally:
        scorer.terminate()
        scorer.wait()
    show.expect(run, metrics=1)
    show.check([label for label, _, _ in answers] == wanted, "behind the queue labels differ from scikit-learn's")
    asked = {request for _, _, request in answers}
    show.count("results", len(asked), lambda: sum(request in asked for request in scored(show)))
    return rate


def answered(show: Show, image: Any) -> bool:
    try:
        show.publisher.predict(MODEL, image, timeout_s=2.0)
    except Exception:
        return False
    return True


def scored(show: Show) -> list[str]:
    """Event ids of the requests that have a result in the log, as often as they have one."""
    return [request for event in show.log("results") if isinstance(event, PredictionScored) for request in event.ids]


def callers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CALLERS, thread_name_prefix="caller")


if __name__ == "__main__":
    play(main, ("onnxruntime", "skl2onnx", "scikit-learn"), requests=(4_000, 300))
