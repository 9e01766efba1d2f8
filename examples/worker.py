"""A group of your own: every entry of a channel gets exactly one outcome, however many of these run or are killed.

This one watches finished runs and raises an alert for each that failed. It ends when nothing is waiting; take
`async for batch in consumer` to go on for ever.
"""

from __future__ import annotations

import asyncio
import os

from headrace import Bus, CodecError, Settings
from headrace.codec import decode
from headrace.events import Alert, RunFinished, stamped

worker = f"failed-runs-{os.getpid()}"


async def main() -> None:
    async with Bus(Settings.load()) as bus, bus.consume("runs", "failed-runs", worker=worker) as consumer:
        while batch := await consumer.next():
            work = consumer.commit(batch)
            for position, payload in batch.entries:
                try:
                    event = decode(payload)
                except CodecError as error:
                    work.dead(position, str(error))
                    continue
                if isinstance(event, RunFinished) and event.status != "finished":
                    alert = Alert(name="run failed", subject=event.run, state="raised", text=event.error)
                    work.append("alerts", [stamped(alert, worker)])
            await consumer.finish(work)  # acknowledgements, alerts and dead letters: all of them, or none
            print(f"decided {len(batch)} entries")


asyncio.run(main())
