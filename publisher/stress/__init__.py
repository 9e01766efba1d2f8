"""Stress: requests sent by a schedule, whatever becomes of the ones before, and a report that says what broke first.

    schedule (pure) ──> load (one asyncio loop: send, hear, watch) ──> recount ──> report (pure)

Everything is counted from the moment at which a request should have been sent.
"""

from headrace.publisher.stress.load import Plan, stress
from headrace.publisher.stress.ramp import Ramp
from headrace.publisher.stress.report import Books, Report
from headrace.publisher.stress.schedule import ARRIVALS

__all__ = ["ARRIVALS", "Books", "Plan", "Ramp", "Report", "stress"]
