"""The barest programs that could do the work, in a process of their own: what headrace is measured against.

No library between the program and the socket but the parser in C, nothing checked, nothing retried, nobody told: one
stream and one group in, one script a batch, one packed result out. The distance to them is what the guarantees, the
statistics and the comfort cost.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hiredis
import msgspec
import numpy as np

from benchmarks.actor import serve
from headrace.models.registry import Registry

GROUP = b"bare"
APPEND = b"for i = 1, #ARGV do redis.call('XADD', KEYS[1], '*', 'e', ARGV[i]) end return #ARGV"
COMMIT = b"""
redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 3))
return redis.call('XADD', KEYS[2], '*', 'e', ARGV[2])
"""
RAW = np.dtype([("id", "S16"), ("time", "<f8"), ("x", "<f4", 64)])
"""A request as a bare struct: nothing to decode."""


class Wire:
    """One socket, one parser."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()
        self._buffer = bytearray(1 << 20)

    def call(self, *parts: Any) -> Any:
        """Send a command and return its reply. Raises hiredis.ReplyError for an error."""
        self._socket.sendall(hiredis.pack_command(parts))
        return self._reply()

    def _reply(self) -> Any:
        while (reply := self._reader.gets()) is False:
            got = self._socket.recv_into(self._buffer)
            if not got:
                raise ConnectionError("the server closed the connection")
            self._reader.feed(self._buffer, 0, got)  # type: ignore[arg-type]
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def many(self, commands: Sequence[tuple[Any, ...]]) -> None:
        """Send commands in one go and read all their replies."""
        self._socket.sendall(b"".join(map(hiredis.pack_command, commands)))
        for _ in commands:
            self._reply()

    def close(self) -> None:
        self._socket.close()


class _Inputs(msgspec.Struct, gc=False):
    data: bytes


class _Request(msgspec.Struct, gc=False):
    id: str
    inputs: _Inputs


class _Metrics(msgspec.Struct, gc=False):
    run: str
    step: int = 0
    metrics: dict[str, float] = {}


_metrics = msgspec.msgpack.Decoder(_Metrics).decode
_decode = msgspec.msgpack.Decoder(_Request).decode
_encode = msgspec.msgpack.Encoder().encode


def score(wire: Wire, predict: Any, log: str, results: str, count: int, raw: bool) -> int:
    """Score everything in a log: how many entries that was."""
    wire.call("XGROUP", "CREATE", log, GROUP, "0")
    wire.call("SCRIPT", "LOAD", COMMIT)
    sha = hashlib.sha1(COMMIT, usedforsecurity=False).hexdigest()
    one = _score_raw if raw else _score_encoded
    scored = 0
    while reply := wire.call("XREADGROUP", "GROUP", GROUP, b"one", "COUNT", count, "STREAMS", log, ">"):
        entries = reply[0][1]
        ids = [entry[0] for entry in entries]
        packed = one(predict, ids, [entry[1][1] for entry in entries])
        wire.call("EVALSHA", sha, 2, log, results, GROUP, packed, *ids)
        scored += len(ids)
    return scored


def _score_encoded(predict: Any, ids: list[bytes], payloads: list[bytes]) -> bytes:
    requests = [_decode(payload) for payload in payloads]
    rows = np.frombuffer(b"".join([request.inputs.data for request in requests]), "<f4").reshape(-1, 64)
    probabilities = predict(rows)
    return _encode(
        (
            b" ".join(ids),
            [request.id for request in requests],
            probabilities.argmax(axis=1).astype("<i2").tobytes(),
            probabilities.astype("<f4").tobytes(),
        )
    )


def _score_raw(predict: Any, ids: list[bytes], payloads: list[bytes]) -> bytes:
    requests = np.frombuffer(b"".join(payloads), RAW)
    probabilities = predict(requests["x"])
    return b"".join(
        (
            b" ".join(ids),
            requests["id"].tobytes(),
            probabilities.argmax(axis=1).astype("<i2").tobytes(),
            probabilities.astype("<f4").tobytes(),
        )
    )


def echo(wire: Wire, there: str, back: str, count: int) -> None:
    """Answer `count` entries of one stream with one each on another."""
    last = b"0"
    answered = 0
    while answered < count:
        reply = wire.call("XREAD", "COUNT", 512, "BLOCK", 500, "STREAMS", there, last)
        for identity, fields in reply[0][1] if reply else ():
            wire.call("XADD", back, "*", *fields)
            last = identity
            answered += 1


class Bare:
    """Answers the requests of this process."""

    def __init__(self) -> None:
        self._predict: Any = None

    async def __call__(self, request: dict[str, Any]) -> dict[str, Any]:
        return await asyncio.to_thread(getattr(self, request.pop("do")), **request)

    def open(self, models: str, model: str) -> dict[str, Any]:
        """Open a model and score once, so that nothing loads late; what is there by then is no garbage to look for."""
        estimator = Registry(Path(models)).open(model).estimator
        self._predict = estimator.predict_proba
        self._predict(np.zeros((512, 64), np.float32))
        gc.collect()
        gc.freeze()
        return {}

    def score(self, port: int, log: str, results: str, count: int, raw: bool) -> dict[str, Any]:
        """Score a backlog."""
        wire = Wire(port)
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        events = score(wire, self._predict, log, results, count, raw)
        answer = {"events": events, "wall_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s}
        wire.close()
        return answer

    def predict(self, rows: int, calls: int) -> dict[str, Any]:
        """Only call the model, with as many rows at a time."""
        matrix = np.random.default_rng(0).random((rows, 64), np.float32) * 16
        wall_s = time.perf_counter()
        for _ in range(calls):
            self._predict(matrix)
        return {"events": rows * calls, "wall_s": time.perf_counter() - wall_s}

    def fold(self, port: int, log: str, count: int) -> dict[str, Any]:
        """Read the metrics of a backlog into lists, and acknowledge."""
        wire = Wire(port)
        curves: dict[tuple[str, str], list[tuple[int, float]]] = {}
        wire.call("XGROUP", "CREATE", log, GROUP, "0")
        points, wall_s, cpu_s = 0, time.perf_counter(), time.process_time()
        while reply := wire.call("XREADGROUP", "GROUP", GROUP, b"one", "COUNT", count, "STREAMS", log, ">"):
            entries = reply[0][1]
            for _, fields in entries:
                event = _metrics(fields[1])
                for name, value in event.metrics.items():
                    curves.setdefault((event.run, name), []).append((event.step, value))
                    points += 1
            wire.call("XACK", log, GROUP, *[entry[0] for entry in entries])
        wire.close()
        return {"points": points, "wall_s": time.perf_counter() - wall_s, "cpu_s": time.process_time() - cpu_s}

    def press(self, port: int, log: str, how: str, count: int, flight: int, payload_bytes: int) -> dict[str, Any]:
        """Only ask the server, `flight` commands at a time (of a script: in one call)."""
        wire, payload = Wire(port), b"x" * payload_bytes
        command = ("PING",) if how == "ping" else ("XADD", log, "*", "e", payload)
        sha = wire.call("SCRIPT", "LOAD", APPEND)
        began = time.perf_counter()
        for at in range(0, count, flight):
            now = min(flight, count - at)
            if how == "script":
                wire.call("EVALSHA", sha, 1, log, *[payload] * now)
            else:
                wire.many([command] * now)
        wall_s = time.perf_counter() - began
        wire.close()
        return {"wall_s": wall_s}

    def echo(self, port: int, there: str, back: str, count: int) -> dict[str, Any]:
        """The far side of a ping-pong."""
        wire = Wire(port)
        echo(wire, there, back, count)
        wire.close()
        return {}


if __name__ == "__main__":
    serve(Bare())
