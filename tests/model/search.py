"""Breadth-first search of every state that a world can reach, with the shortest way to the first broken promise."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

S = TypeVar("S", bound=Hashable)

Step = tuple[str, S, bool]
"""What happened, the state after it, and whether that was a fault: nobody may count on faults to get on."""


class TooManyError(Exception):
    """The bounds do not keep the search small."""


@dataclass(frozen=True, slots=True)
class Broken(Generic[S]):
    """A broken promise and the shortest way there, as (what happened, state after it)."""

    promise: str
    way: list[tuple[str, S]]

    def __str__(self) -> str:
        steps = [f"{n:3}. {what}\n       {state}" for n, (what, state) in enumerate(self.way)]
        return "\n".join([f"broken: {self.promise}", *steps])


@dataclass(frozen=True, slots=True)
class Found(Generic[S]):
    """What a search came to: how many states there are, and the first broken promise, if any."""

    states: int
    broken: Broken[S] | None


def search(
    start: S,
    steps: Callable[[S], Iterable[Step[S]]],
    promise: Callable[[S], str | None],
    finished: Callable[[S], bool],
    limit: int = 1_000_000,
) -> Found[S]:
    """Look at every state once. `promise` says what is broken in a state; from each one a finished state must be in
    reach without any further fault. Raises TooManyError beyond `limit` states.
    """
    states = [start]
    index = {start: 0}
    parents: list[tuple[int, str]] = [(-1, "start")]
    before: list[list[int]] = [[]]
    done: list[int] = []

    def way(at: int) -> list[tuple[str, S]]:
        steps_: list[tuple[str, S]] = []
        while at >= 0:
            parent, what = parents[at]
            steps_.append((what, states[at]))
            at = parent
        return steps_[::-1]

    here = 0
    while here < len(states):
        state = states[here]
        if (said := promise(state)) is not None:
            return Found(len(states), Broken(said, way(here)))
        if finished(state):
            done.append(here)
        for what, after, fault in steps(state):
            there = index.get(after)
            if there is None:
                there = index[after] = len(states)
                if there >= limit:
                    raise TooManyError(f"more than {limit:,} states: lower the bounds")
                states.append(after)
                parents.append((here, what))
                before.append([])
            if not fault:
                before[there].append(here)
        here += 1

    reaching = bytearray(len(states))
    for at in done:
        reaching[at] = 1
    while done:
        for earlier in before[done.pop()]:
            if not reaching[earlier]:
                reaching[earlier] = 1
                done.append(earlier)
    stuck = reaching.find(0)
    if stuck >= 0:
        return Found(len(states), Broken("the work can be finished from here", way(stuck)))
    return Found(len(states), None)
