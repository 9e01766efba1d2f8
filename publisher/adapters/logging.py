"""Numbers in log records as metrics of a run: `logging.getLogger().addHandler(Handler(run))`.

https://docs.python.org/3/library/logging.html#handler-objects
"""

from __future__ import annotations

import logging

from headrace.publisher.adapters.hook import Reporter, hook
from headrace.publisher.lines import Pattern, reader
from headrace.publisher.run import Run


class Handler(logging.Handler):
    """Logs what a record says: `extra={"metrics": {"loss": 0.5}}`, or its text by a pattern, `loss=0.5 step=3`.

    Warnings and errors are counted, as the metrics `warnings` and `errors`. Records of headrace itself pass by.
    """

    def __init__(self, run: Run, pattern: Pattern | str = "key-value", level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self._records = _Records(run, reader(pattern))

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record; raises nothing."""
        self._records.take(record)


class _Records(Reporter):
    def __init__(self, run: Run, pattern: Pattern) -> None:
        super().__init__(run)
        self._pattern = pattern
        self._counts = {"warnings": 0, "errors": 0}

    @hook
    def take(self, record: logging.LogRecord) -> None:
        if str(record.name).partition(".")[0] == "headrace":
            return
        step, found = None, {}
        given = getattr(record, "metrics", None)
        if isinstance(given, dict):
            found = dict(given)
            step = found.pop("step", None)
        elif (reading := self._pattern(record.getMessage())) is not None:
            step, found = reading.step, dict(reading.metrics)
        if record.levelno >= logging.WARNING:
            kind = "errors" if record.levelno >= logging.ERROR else "warnings"
            self._counts[kind] += 1
            found[kind] = self._counts[kind]
        if found:
            self.tell(found, step)
