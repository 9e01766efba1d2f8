"""What a scraper reads is what the frame says, in names and units that it can be asked for by."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from headrace.events import (
    AlertView,
    ChannelView,
    Frame,
    GroupView,
    LatencyView,
    LiveView,
    ModelView,
    QualityView,
    RunView,
    ServerView,
    WorkerView,
)
from headrace.metrics import FrameCollector, exposition, frame_metrics

FRAME = Frame(
    time=100.0,
    channels=[ChannelView(name="requests", total=7, length=5, memory_bytes=4096, limit=10)],
    groups=[
        GroupView(channel="requests", group="scorers", lag=3, in_flight=2, oldest_ms=1500.0, total=2, dead_total=1)
    ],
    latency=[
        LatencyView(stage="model", count=9, p50_ms=1.0, p95_ms=2.0, p99_ms=4.0),
        LatencyView(stage="total", count=9, p50_ms=10.0, p95_ms=20.0, p99_ms=40.0),
    ],
    models=[
        ModelView(
            name="digits",
            version=3,
            champion=True,
            labels=["zero", "one"],
            requests_total=4,
            rows_total=6,
            classes=[5, 1],
            confidence=[1, 0, 2, 3],
            quality=QualityView(joined=6, correct=5),
            scores={"accuracy": 0.9},
            latency=LatencyView(stage="total", p50_ms=3.0),
        ),
        ModelView(
            name="diabetes", version=1, kind="regression", quality=QualityView(joined=2, sum_abs=1.5, sum_sq=4.0)
        ),
    ],
    runs=[RunView(run="a", name="a", state="running"), RunView(run="b", name="b", state="running")],
    workers=[
        WorkerView(worker="w1", kind="scorer", events=12, busy=0.25, memory_bytes=2048, age_s=0.5),
        WorkerView(worker="w2", kind="scorer", state="late"),
    ],
    server=ServerView(product="valkey", version="9.1.2", memory_bytes=10, durability="everysec"),
    live=LiveView(live=8, healed=2, lost=1, dropped=4, refused=3),
    alerts=[AlertView(name="abandoned", subject="requests", severity="critical")],
)


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample by its name and labels; a second one of the same series would be a fault."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            series = (sample.name, tuple(sorted(sample.labels.items())))
            assert series not in found
            found[series] = sample.value
    return found


def value(name: str, /, **labels: str) -> float:
    return samples(frame_metrics(FRAME, now=102.5))[name, tuple(sorted(labels.items()))]


REQUESTS = {"messaging_system": "redis", "messaging_destination_name": "requests"}
SCORERS = {**REQUESTS, "messaging_consumer_group_name": "scorers"}
DIGITS = {"model": "digits", "version": "3"}


def test_traffic_has_the_names_of_opentelemetry() -> None:
    assert value("messaging_client_sent_messages_total", **REQUESTS, messaging_operation_name="publish") == 7
    assert value("messaging_client_consumed_messages_total", **SCORERS, messaging_operation_name="commit") == 2
    seconds = value(
        "messaging_process_duration_seconds", **SCORERS, messaging_operation_name="process", quantile="0.99"
    )
    assert seconds == 0.004


def test_depth_is_lag_and_in_flight() -> None:
    assert value("headrace_group_lag", **SCORERS) == 3
    assert value("headrace_group_in_flight", **SCORERS) == 2
    assert value("headrace_group_depth", **SCORERS) == 5
    assert value("headrace_group_dead_total", **SCORERS) == 1
    assert value("headrace_group_oldest_age_seconds", **SCORERS) == 1.5


def test_models_show_traffic_and_quality() -> None:
    assert value("headrace_model_in_service", **DIGITS) == 1
    assert value("headrace_model_requests_total", **DIGITS) == 4
    assert value("headrace_model_rows_total", **DIGITS) == 6
    assert value("headrace_model_joined_total", **DIGITS) == 6
    assert value("headrace_model_correct_total", **DIGITS) == 5
    assert value("headrace_model_predicted_rows", **DIGITS, **{"class": "zero"}) == 5
    assert value("headrace_model_held_out_score", **DIGITS, score="accuracy") == 0.9
    assert value("headrace_model_duration_seconds", **DIGITS, quantile="0.5") == 0.003


def test_errors_of_a_regression_are_summed_and_it_has_no_right_or_wrong() -> None:
    found = samples(frame_metrics(FRAME, now=100.0))
    diabetes = (("model", "diabetes"), ("version", "1"))
    assert found["headrace_model_absolute_error_total", diabetes] == 1.5
    assert found["headrace_model_squared_error_total", diabetes] == 4.0
    assert ("headrace_model_correct_total", diabetes) not in found
    assert ("headrace_model_absolute_error_total", tuple(DIGITS.items())) not in found


def test_confidence_is_a_cumulative_histogram() -> None:
    text = frame_metrics(FRAME, now=100.0)
    lines = [line for line in text.splitlines() if line.startswith("headrace_model_confidence_bucket")]
    assert [line.rpartition(" ")[2] for line in lines] == ["1.0", "1.0", "3.0", "6.0"]
    assert [line.split('le="')[1].split('"')[0] for line in lines] == ["0.25", "0.5", "0.75", "+Inf"]


def test_workers_live_side_server_runs_and_alerts() -> None:
    assert value("headrace_workers", kind="scorer", state="late") == 1
    assert value("headrace_worker_events_total", worker="w1", kind="scorer") == 12
    assert value("headrace_worker_busy_ratio", worker="w1", kind="scorer") == 0.25
    assert value("headrace_live_events_total", outcome="healed") == 2
    assert value("headrace_live_events_total", outcome="lost") == 1
    assert value("headrace_publisher_dropped_total") == 4
    assert value("headrace_intake_refused_total") == 3
    assert value("headrace_server_info", product="valkey", version="9.1.2", durability="everysec") == 1
    assert value("headrace_runs", state="running") == 2
    assert value("headrace_alert", name="abandoned", subject="requests", severity="critical") == 1


def test_the_age_of_the_figures_is_among_them() -> None:
    assert value("headrace_frame_age_seconds") == 2.5


def test_label_values_from_outside_cannot_break_a_line() -> None:
    odd = 'x"\n} headrace_runs 99\\'
    frame = Frame(models=[ModelView(name=odd, version=1, requests_total=1)])
    found = samples(frame_metrics(frame, now=0.0))
    assert found["headrace_model_requests_total", (("model", odd), ("version", "1"))] == 1


def test_before_the_first_frame_there_is_nothing_to_scrape() -> None:
    body, content_type = exposition(FrameCollector(lambda: None))
    assert body == b""
    assert content_type.startswith("text/plain")


def test_a_scraper_may_ask_for_openmetrics() -> None:
    body, content_type = exposition(
        FrameCollector(lambda: FRAME, lambda: 100.0), "application/openmetrics-text; version=1.0.0"
    )
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
