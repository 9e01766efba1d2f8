"""What the gateway counts of itself, under OpenTelemetry's names for HTTP, and the middleware that counts it."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headrace.channels import REQUESTS
from headrace.metrics import SYSTEM

BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
CHANNELS = 200
"""Channels counted by name: callers may name endlessly many."""
OTHERS = "others"


class Counts:
    """The counts of one gateway, in a registry of their own; `waiting` tells how many requests wait for a result."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._requests = Histogram(
            "http_server_request_duration_seconds",
            "Duration of HTTP requests.",
            ("http_request_method", "http_route", "http_response_status_code"),
            buckets=BOUNDS_S,
            registry=self.registry,
        )
        self._sent = Counter(
            "messaging_client_sent_messages_total",
            "Events that this gateway published.",
            ("messaging_system", "messaging_destination_name", "messaging_operation_name"),
            registry=self.registry,
        )
        self._outcomes = Counter(
            "headrace_gateway_predictions_total",
            "Predictions asked for, by what was answered: scored, rejected, queued.",
            ("outcome",),
            registry=self.registry,
        )
        Gauge(
            "headrace_gateway_waiting", "Requests that wait for their result now.", registry=self.registry
        ).set_function(waiting)
        self._served = self._failed = 0
        self._channels: set[str] = set()

    def served(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._served += 1
        self._failed += status >= 500
        self._requests.labels(method, route, str(status)).observe(seconds)

    def sent(self, channel: str, count: int) -> None:
        """Events are in the log of a channel; those of channels beyond the first so many are counted together."""
        if len(self._channels) < CHANNELS:
            self._channels.add(channel)
        self._sent.labels(SYSTEM, channel if channel in self._channels else OTHERS, "publish").inc(count)

    def totals(self) -> tuple[int, int]:
        """Requests answered since the start, and how many of them failed by no fault of the caller."""
        return self._served, self._failed

    def asked(self, outcome: str) -> None:
        """A request is in the log, and its caller was told what became of it."""
        self.sent(REQUESTS, 1)
        self._outcomes.labels(outcome).inc()


class CountedRequests:
    """Counts every request by its route (never by its path, of which there are endlessly many)."""

    def __init__(self, app: ASGIApp, counts: Counts) -> None:
        self._app, self._counts = app, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500
        began = time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "")
            method = scope["method"] if route else ""
            self._counts.served(method, route, status, time.perf_counter() - began)
