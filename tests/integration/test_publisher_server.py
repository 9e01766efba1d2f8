"""Publishers, a real server that is killed, restarted and loses its last second, and processes that fork and end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from pathlib import Path

import pytest

from headrace.bus.connection import connect_sync
from headrace.bus.sync import Link
from headrace.channels import REQUESTS, RESULTS, RUNS
from headrace.codec import decode, encode
from headrace.embedded import EmbeddedServer
from headrace.events import AnyEvent, PredictionRequested, PredictionScored, RunFinished, RunMetrics, RunStarted
from headrace.publisher import AsyncPublisher, Publisher, Run
from headrace.settings import Settings
from headrace.testing import wait_until_sync


def metrics(count: int, start: int = 0) -> list[RunMetrics]:
    return [RunMetrics(run="r", step=step, metrics={"loss": 0.5}) for step in range(start, start + count)]


def log(settings: Settings, channel: str) -> list[AnyEvent]:
    return [decode(entry.payload) for entry in Link(settings).read(channel, 0, count=1_000_000)]


def steps(settings: Settings, channel: str = "custom") -> list[int]:
    return [event.step for event in log(settings, channel) if isinstance(event, RunMetrics)]


def on(server: EmbeddedServer, folder: Path) -> Settings:
    return Settings(redis_url=server.url, prefix="test", spill=folder / "spill")


def test_nothing_is_missing_or_doubled_when_the_server_is_killed_and_restarted(
    own_server: EmbeddedServer, tmp_path: Path
) -> None:
    settings = on(own_server, tmp_path)
    with Publisher(settings) as publisher:
        feeding = threading.Thread(target=publisher.publish, args=("custom", iter(metrics(60_000))))
        feeding.start()
        for part in (1, 2):
            wait_until_sync(lambda part=part: publisher.accepted > part * 10_000, 20)  # type: ignore[misc]
            own_server.kill()
            own_server.restart()
        feeding.join(30)
        publisher.flush(30)
        assert (publisher.accepted, publisher.lost) == (60_000, 0)
    assert steps(settings) == list(range(60_000))


async def test_the_twin_survives_a_restart_too(own_server: EmbeddedServer, tmp_path: Path) -> None:
    settings = on(own_server, tmp_path)
    async with AsyncPublisher(settings) as publisher:
        feeding = asyncio.create_task(publisher.publish("custom", metrics(30_000)))
        while publisher.accepted < 5_000:
            await publisher._move()
        await asyncio.to_thread(own_server.kill)
        await asyncio.to_thread(own_server.restart)
        await feeding
        await publisher.flush(30)
    assert steps(settings) == list(range(30_000))


def test_a_power_cut_loses_nothing_that_the_publisher_still_keeps(tmp_path: Path, own_server: EmbeddedServer) -> None:
    """The end of the server's log of writes is cut off, as when a disk had not written it."""
    settings = on(own_server, tmp_path)
    with Publisher(settings) as publisher:
        publisher.publish("custom", metrics(20_000))
        publisher.flush()
        own_server.kill()
        (written,) = own_server.data_dir.rglob("*.incr.aof")
        content = written.read_bytes()
        written.write_bytes(content[: len(content) * 2 // 3])
        own_server.restart()
        assert len(steps(settings)) < 20_000
        publisher.publish("custom", metrics(500, start=20_000))
        publisher.flush()
        assert (publisher.accepted, publisher.lost) == (20_500, 0)
    assert steps(settings) == list(range(20_500))


def test_a_power_cut_after_the_last_event_is_found_without_a_next_one(
    tmp_path: Path, own_server: EmbeddedServer
) -> None:
    settings = on(own_server, tmp_path).with_(resend_s=0.5)
    with Publisher(settings) as publisher:
        publisher.publish("custom", metrics(1_000))
        publisher.publish("custom", metrics(1_000, start=1_000))
        publisher.flush()
        own_server.kill()
        (written,) = own_server.data_dir.rglob("*.incr.aof")
        content = written.read_bytes()
        written.write_bytes(content[: len(content) // 2])
        own_server.restart()
        wait_until_sync(lambda: steps(settings) == list(range(2_000)), 10)


def test_scripts_that_the_server_forgot_are_sent_again(server_settings: Settings, tmp_path: Path) -> None:
    client = connect_sync(server_settings)
    with Publisher(server_settings.with_(spill=tmp_path)) as publisher:
        for start in range(3):
            publisher.publish("custom", metrics(1, start=start))
            publisher.flush()
            client.script_flush()
    client.close()
    assert steps(server_settings) == [0, 1, 2]


def test_predictions_survive_cut_connections(server_settings: Settings, tmp_path: Path) -> None:
    """Every subscription is cut again and again while results are pushed; none is missed."""
    link = Link(server_settings)
    stop, done, cuts = threading.Event(), set[str](), Counter[str]()

    def score() -> None:
        with Publisher(server_settings.with_(spill=tmp_path)) as scorer:
            while not stop.is_set():
                for position, payload in link.read(REQUESTS, 0, count=10_000):
                    request = decode(payload)
                    if isinstance(request, PredictionRequested) and request.id not in done:
                        done.add(request.id)
                        result = PredictionScored(
                            model="m", version=1, positions=str(position), ids=[request.id], values=[float(len(done))]
                        )
                        scorer.publish(RESULTS, result)
                        scorer.flush()
                        link._client.publish(request.reply_to, encode(result))
                        if len(done) % 20 == 0:
                            cuts["pubsub"] += int(link._client.client_kill_filter(_type="pubsub", skipme=True))

    thread = threading.Thread(target=score)
    thread.start()
    try:
        with Publisher(server_settings.with_(spill=tmp_path)) as publisher:
            predictions = [publisher.submit("m", [float(at)]) for at in range(200)]
            values = [prediction.result(20).values for prediction in predictions]
    finally:
        stop.set()
        thread.join()
    assert sorted(value[0] for value in values if value) == [float(at) for at in range(1, 201)]
    assert cuts["pubsub"] >= 1


def run_script(settings: Settings, folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    """Run a training script in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(body)],
        env={
            "REDIS_URL": settings.redis_url,
            "HEADRACE_PREFIX": settings.prefix,
            "HEADRACE_SPILL": str(folder / "spill"),
            "PATH": "",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("ending", "status"),
    [("pass", "crashed"), ("sys.exit(3)", "crashed"), ("1 / 0", "crashed"), ("run.finish()", "finished")],
)
def test_the_end_of_a_process_ends_its_runs_and_sends_everything(
    server_settings: Settings, tmp_path: Path, ending: str, status: str
) -> None:
    run_script(
        server_settings,
        tmp_path,
        f"""
        import sys
        from headrace.publisher import Run
        run = Run("script")
        for step in range(1, 1001):
            run.log(step=step, loss=1.0)
        {ending}
        """,
    )
    found = log(server_settings, RUNS)
    assert isinstance(found[0], RunStarted)
    assert steps(server_settings, RUNS) == list(range(1, 1001))
    assert isinstance(found[-1], RunFinished)
    assert found[-1].status == status


def test_forked_children_publish_for_themselves(server_settings: Settings, tmp_path: Path) -> None:
    """Each has its own producer, sends what it buffered when it ends, and leaves the parent's events and run alone."""
    done = run_script(
        server_settings,
        tmp_path,
        """
        import multiprocessing, os, warnings
        warnings.simplefilter("ignore")
        from headrace.publisher import Publisher, Run
        from headrace.events import RunMetrics

        def child(name, run, publisher):
            for step in range(300):
                run.log(step=step, loss=1.0)
            publisher.publish("custom", [RunMetrics(run=name, step=step, metrics={}) for step in range(300)])

        publisher = Publisher()
        with Run("parent", publisher=publisher) as run:
            publisher.publish("custom", [RunMetrics(run="parent", step=step, metrics={}) for step in range(300)])
            context = multiprocessing.get_context("fork")
            children = [context.Process(target=child, args=(f"c{n}", run, publisher)) for n in range(3)]
            for one in children:
                one.start()
            for one in children:
                one.join()
            assert [one.exitcode for one in children] == [0, 0, 0]
        publisher.close()
        """,
    )
    assert done.returncode == 0, done.stderr
    custom = Counter(event.run for event in log(server_settings, "custom") if isinstance(event, RunMetrics))
    assert custom == {"parent": 300, "c0": 300, "c1": 300, "c2": 300}, done.stderr
    found = log(server_settings, RUNS)
    assert len(steps(server_settings, RUNS)) == 900
    assert [type(event) for event in found if not isinstance(event, RunMetrics)] == [RunStarted, RunFinished]
    assert isinstance(found[-1], RunFinished)
    assert found[-1].status == "finished"


def test_a_pool_of_workers_logs_into_one_run(server_settings: Settings, tmp_path: Path) -> None:
    """As joblib does: the run is pickled into processes that were started anew."""
    script = tmp_path / "pool.py"
    script.write_text(
        textwrap.dedent(
            """
            import multiprocessing
            from headrace.publisher import Run

            def work(run):
                for step in range(100):
                    run.log(step=step, loss=1.0)

            if __name__ == "__main__":
                with Run("pool") as run, multiprocessing.get_context("spawn").Pool(2) as pool:
                    pool.map(work, [run] * 4, chunksize=1)
                    pool.close()
                    pool.join()
            """
        )
    )
    done = run_script(server_settings, tmp_path, f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')")
    assert done.returncode == 0, done.stderr
    found = log(server_settings, RUNS)
    assert len({event.run for event in found if isinstance(event, RunMetrics | RunStarted | RunFinished)}) == 1
    assert len(steps(server_settings, RUNS)) == 400


def test_a_script_without_a_server_ends_soon_and_its_run_is_told_later(
    server_settings: Settings, tmp_path: Path
) -> None:
    nowhere = server_settings.with_(redis_url="redis://127.0.0.1:1/0")
    done = run_script(
        nowhere,
        tmp_path,
        """
        from headrace.publisher import Run
        with Run("lonely") as run:
            run.log(loss=1.0)
        """,
    )
    assert done.returncode == 0
    assert "2 kept on disk" in done.stderr
    (spilled,) = (tmp_path / "spill").iterdir()
    tag = Link(server_settings)  # the same events, for the server that is there
    from headrace.publisher.spill import Spill

    spilled.rename(spilled.with_name(Spill(server_settings.with_(spill=tmp_path))._tag + "-moved.spill"))
    with Publisher(server_settings.with_(spill=tmp_path / "spill")) as publisher:
        Run("next", publisher=publisher).finish()
        wait_until_sync(lambda: len(tag.read(RUNS, 0)) == 4)
    names = [event.name for event in log(server_settings, RUNS) if isinstance(event, RunStarted)]
    assert sorted(names) == ["lonely", "next"]
