"""Recovery: whatever pushes get lost, every event is seen once and in order, or exactly accounted for."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from headrace.positions import START, Entry, Position
from headrace.recovery import Lost, Notice, Replaced, Seen, Snapshot, WentBack, arrived, resumed


def entry(ms: int, number: int) -> Entry:
    return Entry(Position(ms, number), b"%d" % ms)


@dataclass
class Log:
    """A log as the server keeps it."""

    epoch: str = ""
    entries: list[Entry] = field(default_factory=list)
    newest: Position = START
    ms: int = 1

    def append(self, count: int, epoch: str = "first") -> list[Entry]:
        self.epoch = self.epoch or epoch
        self.ms += 1
        fresh = [entry(self.ms, self.newest.number + n) for n in range(1, count + 1)]
        self.entries += fresh
        self.newest = fresh[-1].position
        return fresh

    def trim(self, keep: int) -> None:
        self.entries = self.entries[-max(1, keep) :]

    def cut(self, count: int) -> None:
        """A power cut takes the newest events; never all of them, as the log was on disk long ago."""
        count = min(count, len(self.entries) - 1)
        if count > 0:
            self.entries = self.entries[:-count]
            self.newest = self.entries[-1].position

    def replace(self, epoch: str) -> None:
        self.epoch, self.entries, self.newest = epoch, [], START

    def snapshot(self, last: Position, count: int) -> Snapshot:
        older = [e.position for e in self.entries if e.position <= last]
        newer = [e for e in self.entries if e.position > last]
        return Snapshot(
            self.epoch,
            self.newest,
            self.entries[0].position if self.entries else None,
            older[-1] if older else None,
            newer[:count],
        )


@dataclass
class Watcher:
    """A subscriber: the rules, driven as headrace.bus.subscribe drives them, and what it makes of the notices."""

    seen: Seen = field(default_factory=Seen)
    view: list[Entry] = field(default_factory=list)
    lost: int = 0
    notices: list[Notice] = field(default_factory=list)

    def push(self, log: Log, epoch: str, entries: list[Entry]) -> None:
        verdict = arrived(self.seen, epoch, entries)
        if verdict is None:
            self.heal(log)
        else:
            self.seen, fresh = verdict
            self.view += fresh

    def heal(self, log: Log, count: int = 3) -> None:
        while True:
            before = self.seen
            self.seen, notices, entries = resumed(before, log.snapshot(before.last, count))
            for notice in notices:
                self.notices.append(notice)
                match notice:
                    case Lost(missing):
                        self.lost += missing
                    case WentBack(position):
                        self.view = [e for e in self.view if e.position <= position]
                    case Replaced():
                        self.view, self.lost = [], 0
            self.view += entries
            if self.seen == before:
                return


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans(), st.booleans())))
def test_whatever_pushes_are_lost_every_event_is_seen_once_in_order(steps: list[tuple[int, bool, bool]]) -> None:
    log, watcher = Log(), Watcher()
    for count, heard, checked in steps:
        fresh = log.append(count)
        if heard:
            watcher.push(log, log.epoch, fresh)
        if checked:
            watcher.heal(log)
    watcher.heal(log)
    assert watcher.view == log.entries
    assert watcher.notices == []


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans(), st.one_of(st.none(), st.integers(1, 6)))))
def test_what_was_trimmed_unseen_is_counted_exactly(steps: list[tuple[int, bool, int | None]]) -> None:
    log, watcher = Log(), Watcher()
    for count, heard, keep in steps:
        fresh = log.append(count)
        if keep is not None:
            log.trim(keep)
        if heard:
            watcher.push(log, log.epoch, fresh)
    watcher.heal(log)
    numbers = [e.position.number for e in watcher.view]
    assert numbers == sorted(set(numbers))
    assert len(numbers) + watcher.lost == log.newest.number
    assert all(isinstance(notice, Lost) for notice in watcher.notices)


step = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 5)),
    st.tuples(st.just("unheard"), st.integers(1, 5)),
    st.tuples(st.just("repeat"), st.integers(1, 5)),
    st.tuples(st.just("cut"), st.integers(1, 8)),
    st.tuples(st.just("replace"), st.just(0)),
)


@given(st.lists(step))
def test_who_heeds_the_notices_ends_with_what_the_log_holds(steps: list[tuple[str, int]]) -> None:
    log, watcher = Log(), Watcher()
    for at, (what, count) in enumerate(steps):
        match what:
            case "append":
                watcher.push(log, "first" if not log.epoch else log.epoch, log.append(count))
            case "unheard":
                log.append(count)
            case "repeat" if log.entries:
                watcher.push(log, log.epoch, log.entries[-count:])
            case "cut":
                log.cut(count)
                watcher.heal(log)  # a server that was cut off has cut its connections: a confirmation follows
            case "replace":
                log.replace(f"epoch-{at}")
                log.append(1)
    watcher.heal(log)
    assert watcher.view == log.entries
    assert watcher.lost == 0


def test_the_first_push_of_a_new_log_is_taken() -> None:
    assert arrived(Seen(), "e", [entry(1, 1)]) == (Seen("e", Position(1, 1)), [entry(1, 1)])


def test_a_later_push_of_an_unknown_log_is_left_to_the_log() -> None:
    assert arrived(Seen(), "e", [entry(1, 2)]) is None


def test_a_push_of_another_epoch_is_left_to_the_log() -> None:
    assert arrived(Seen("e", Position(1, 1)), "f", [entry(2, 2)]) is None


def test_of_a_push_that_straddles_the_last_event_the_rest_is_new() -> None:
    pushed = [entry(5, 3), entry(5, 4), entry(5, 5)]
    assert arrived(Seen("e", Position(5, 4)), "e", pushed) == (Seen("e", Position(5, 5)), pushed[2:])


def test_a_push_of_nothing_new_changes_nothing() -> None:
    seen = Seen("e", Position(5, 4))
    assert arrived(seen, "e", [entry(5, 3), entry(5, 4)]) == (seen, [])


def test_a_next_number_from_an_earlier_time_is_left_to_the_log() -> None:
    assert arrived(Seen("e", Position(5, 4)), "e", [entry(4, 5)]) is None


def test_no_log_yet_is_nothing_to_say() -> None:
    assert resumed(Seen(), Snapshot("", START, None, None, [])) == (Seen(), [], [])


def test_a_removed_log_is_replaced_by_nothing() -> None:
    gone = resumed(Seen("e", Position(5, 4)), Snapshot("", START, None, None, []))
    assert gone == (Seen(), [Replaced("")], [])


def test_a_log_found_for_the_first_time_is_begun_at_its_beginning_without_a_notice() -> None:
    log = Snapshot("e", Position(5, 4), Position(5, 4), None, [entry(5, 4)])
    assert resumed(Seen(), log) == (Seen("e", START), [], [])


def test_numbers_that_come_again_though_their_place_was_trimmed_are_a_replacement() -> None:
    log = Snapshot("e", Position(9, 7), Position(9, 6), None, [entry(9, 6), entry(9, 7)])
    seen, notices, entries = resumed(Seen("e", Position(5, 8)), log)
    assert (seen, notices, entries) == (Seen("e", Position(9, 7)), [Replaced("e")], log.entries)
