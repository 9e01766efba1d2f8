"""What a browser can ask to see, by name, and the bytes of it: each section is made once, for all browsers.

    status               the dashboard itself: the bus, its viewers
    clock                the server's clock against the dashboard's
    overview             everything on the overview page but the curves
    model:NAME@VERSION   one model version: confusion matrix, confidence, class mix, errors of regression
    training             the runs of the newest frame, for the table of runs
    runs                 the runs that are in no frame any more (looked up)
    run:RUN              all that is known of one run; of one that is in no frame also its curves (looked up)
    search:RUN           the candidates of a search (looked up)
    models               a line for each model version
    quality:NAME@VERSION one model version closely, for the page of models
    trail:SECONDS:NAME@VERSION   its rates, times and class mix over a window of time
    worst:NAME@VERSION   its worst mistakes, with their inputs
    versions:NAME        the versions of a model in the registry
    events               which channels there are, and how much flows in each
    tail:CHANNEL         the newest entries of a channel (looked up)
    dead                 whether there is anything new about dead letters (looked up)
    queues               what waits, who works and how much room is left
    batches              the batches of the last minute that scorers gave as samples
    cleared              alerts that are over (looked up)

A section is made from the state by the maker of the word before the colon, or is what a look found (`looks/`). One that
says the same as before is the same object as before, so that a socket need not send it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from headrace.curves import LIMIT
from headrace.dashboard.sections.events import events
from headrace.dashboard.sections.models import model_quality, model_trail, models
from headrace.dashboard.sections.overview import model_detail, overview
from headrace.dashboard.sections.queues import batches, queues
from headrace.dashboard.sections.rows import drawn_curve, moment_row, sample_rows, truth_texts
from headrace.dashboard.sections.training import training
from headrace.dashboard.state import Moment, State

Maker = Callable[[State, str], msgspec.Struct | None]
"""Makes a section from the state and what stands after the colon; None if there is no such thing (yet)."""

MAKERS: dict[str, Maker] = {
    "overview": lambda state, _: overview(state),
    "model": model_detail,
    "training": training,
    "models": lambda state, _: models(state),
    "quality": model_quality,
    "trail": model_trail,
    "queues": lambda state, _: queues(state),
    "batches": lambda state, _: batches(state),
    "events": lambda state, _: events(state),
}


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The section about the dashboard's own process. `bus`: starting, up, down."""

    bus: str
    reason: str
    viewers: int
    prefix: str
    server: str
    live: int
    healed: int
    lost: int
    unknown: int


class Sections:
    """The bytes of sections and moments, made when first asked for and shared by all sockets."""

    def __init__(
        self,
        state: Callable[[], State],
        status: Callable[[], Status],
        found: Mapping[str, msgspec.Struct] | None = None,
    ) -> None:
        self._current = state
        self._found: Mapping[str, msgspec.Struct] = {} if found is None else found
        self._status = status
        self._of: State | None = None
        self._made: dict[str, tuple[int, bytes]] = {}
        self._made_of: dict[str, msgspec.Struct] = {}
        """What a look found and its bytes were made of: what is found once a second need not be made four times."""
        self._moments: dict[int, bytes] = {}
        self._history: tuple[int, bytes] = (-1, b"")
        self._encoder = msgspec.json.Encoder()

    def section(self, name: str) -> bytes | None:
        """JSON of a section, the same object while it says the same; None if there is no such thing (yet)."""
        state = self._state()
        made = self._made.get(name)
        if name == "status":
            return self._keep(name, state.number, self._status())
        if (found := self._found.get(name)) is not None:
            if made is None or self._made_of.get(name) is not found:
                self._made_of[name] = found
                return self._keep(name, state.number, found)
            return made[1]
        if made is not None and made[0] == state.number:
            return made[1]
        word, _, rest = name.partition(":")
        maker = MAKERS.get(word)
        view = None if maker is None else maker(state, rest)
        return None if view is None else self._keep(name, state.number, view)

    def moment(self, moment: Moment) -> bytes:
        """JSON of a moment."""
        state = self._state()
        made = self._moments.get(moment.number)
        if made is None:
            made = self._moments[moment.number] = self._encoder.encode(moment_row(moment, state))
            for number in [number for number in self._moments if number < state.moments[0].number]:
                del self._moments[number]
        return made

    def history(self) -> bytes:
        """JSON of what a browser that knows nothing needs: the tiers, the curves, the tail and its truths."""
        state = self._state()
        if self._history[0] != state.number:
            past = {
                "tiers": state.history.columns(),
                "curves": {
                    run: {metric: drawn_curve(metric, curve) for metric, curve in metrics.items()}
                    for run, metrics in state.curves.items()
                },
                "limit": LIMIT,
                "tail": sample_rows(state.tail, state),
                "truths": truth_texts(state.truths, state),
            }
            self._history = (state.number, self._encoder.encode(past))
        return self._history[1]

    def _state(self) -> State:
        state = self._current()
        if state is not self._of:
            self._of = state
            self._made, self._moments, self._history = {}, {}, (-1, b"")
        return state

    def _keep(self, name: str, number: int, view: msgspec.Struct) -> bytes:
        made = self._encoder.encode(view)
        before = self._made.get(name)
        if before is not None and before[1] == made:
            made = before[1]
        self._made[name] = (number, made)
        return made
