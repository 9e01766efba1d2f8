"""Every order of events and faults, in small worlds: the promises hold in every state, and each rule is needed.

`HEADRACE_DEEP=1` searches larger worlds too, which takes some minutes.
"""

from __future__ import annotations

import os

import pytest

from tests.model.search import Found, search
from tests.model.server import Rules
from tests.model.world import Bounds, World, account, begin, promise, settled, steps

REAL = Rules()
WORLDS = {
    "publishing through two power cuts": Bounds(events=4, workers=0, cuts=2, forgets=2, wire=True),
    "two workers, three entries": Bounds(events=3, accepted=3),
    "retries": Bounds(events=2, accepted=2, retries=True),
    "requests that arrive late": Bounds(events=2, accepted=2, wire=True),
    "power cuts, and claims that fail half way": Bounds(events=2, accepted=2, cuts=2, isolates=True),
    "from publish to commit through a power cut": Bounds(events=2, accepted=1, cuts=1),
    "a deleted group": Bounds(events=2, accepted=2, deletions=1),
    "trimming beside the work": Bounds(events=3, accepted=2, trims=True),
}
DEEP = {
    "retries and requests that arrive late": Bounds(events=2, accepted=2, retries=True, wire=True),
    "three entries and a power cut": Bounds(events=3, accepted=3, cuts=1, isolates=True),
    "late requests and a power cut": Bounds(events=2, accepted=2, cuts=1, wire=True),
    "retries and a power cut": Bounds(events=2, accepted=2, cuts=1, retries=True),
    "a deleted group and a power cut": Bounds(events=2, accepted=2, cuts=1, deletions=1),
    "from an empty log through a power cut": Bounds(events=2, cuts=1),
    "events forgotten before a power cut": Bounds(events=2, cuts=1, forgets=1),
    "trimming and a power cut": Bounds(events=2, accepted=2, cuts=1, trims=True),
}
MUTATIONS = {
    "fence": (Bounds(events=2, workers=0), "an accepted event is in the log once, in order"),
    "ahead": (Bounds(events=2, workers=0, cuts=1), "what is not in the log is counted as lost"),
    "send_again": (Bounds(events=2, workers=0, cuts=1), "the work can be finished from here"),
    "numbered_by_head": (Bounds(events=3, accepted=2, trims=True), "no number is given twice"),
    "dated": (Bounds(events=2, batch=1, cuts=1, forgets=1), "an outcome is that of its entry"),
    "fresh_names": (Bounds(events=2, accepted=2), "an entry has at most one outcome"),
    "proof": (Bounds(events=2, accepted=2), "an entry has at most one outcome"),
    "parts_alone": (Bounds(events=2, accepted=2, cuts=1), "an entry has at most one outcome"),
    "one_script": (Bounds(events=2, accepted=2), "an entry has at most one outcome"),
    "claims": (Bounds(events=2, accepted=2), "the work can be finished from here"),
    "skip_decided": (Bounds(events=2, accepted=2, deletions=1), "an entry with an outcome is delivered to nobody"),
    "one_rebuild": (Bounds(events=2, accepted=2, deletions=1), "an entry with an outcome is delivered to nobody"),
    "keep_needed": (Bounds(events=2, accepted=2, trims=True), "nothing is trimmed before it has its outcome"),
}

LIMITS = {
    "trimming while the group is gone": Bounds(events=2, accepted=2, deletions=1, trims=True),
    "a group deleted again while it is made again": Bounds(events=2, accepted=2, deletions=2),
}
"""What deleting a group can still break; docs/operations.md says so."""


def look(bounds: Bounds, rules: Rules = REAL) -> Found[World]:
    def broken(world: World) -> str | None:
        return promise(rules, world) or (account(bounds, world) if settled(bounds, world) else None)

    return search(
        begin(bounds), lambda world: steps(rules, bounds, world), broken, lambda world: settled(bounds, world)
    )


@pytest.mark.parametrize("name", WORLDS)
def test_every_state_keeps_the_promises(name: str) -> None:
    found = look(WORLDS[name])
    assert found.broken is None, str(found.broken)
    assert found.states > 100, "a world without choices proves nothing"


@pytest.mark.skipif("HEADRACE_DEEP" not in os.environ, reason="HEADRACE_DEEP is not set")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", DEEP)
def test_every_state_of_larger_worlds_keeps_the_promises(name: str) -> None:
    found = look(DEEP[name])
    assert found.broken is None, str(found.broken)


@pytest.mark.parametrize("rule", MUTATIONS)
def test_the_search_finds_what_goes_wrong_without_a_rule(rule: str) -> None:
    bounds, expected = MUTATIONS[rule]
    found = look(bounds, REAL._replace(**{rule: False}))
    assert found.broken is not None, f"nothing goes wrong without the rule {rule!r}"
    assert found.broken.promise.startswith(expected), str(found.broken)


@pytest.mark.parametrize("name", LIMITS)
def test_the_limits_are_where_the_docs_say(name: str) -> None:
    assert look(LIMITS[name]).broken is not None, f"{name!r} does no harm any more: correct docs/operations.md"


def test_every_rule_is_known_to_be_needed() -> None:
    assert set(MUTATIONS) == set(Rules._fields)


def test_a_counter_example_reads_as_a_story() -> None:
    found = look(Bounds(events=2, accepted=2), REAL._replace(proof=False))
    story = str(found.broken)
    assert story.startswith("broken: an entry has at most one outcome\n  0. start\n")
    assert "worker A reads [1] as 1" in story
    assert story.count("written") == 2
    assert "outcomes [1=e1 1=e1]" in story
