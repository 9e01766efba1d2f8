"""Channels: every key is under the prefix, in the slot of its partition, and the name of one thing only."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import channels
from headrace.channels import BUILT_IN, PARTITIONED, Names, checked
from headrace.errors import SettingsError

NAMES = Names("demo", 3)


def keys(partition: int) -> Iterator[str]:
    """A key of each kind for each built-in channel."""
    for channel in BUILT_IN:
        yield NAMES.log(channel, partition)
        yield NAMES.head(channel, partition)
        yield NAMES.live(channel, partition)
        yield NAMES.fence(channel, partition, "producer")
        yield NAMES.seen(channel, partition) + "id"
    yield NAMES.second(partition) + "1700000000"
    yield NAMES.waiting(partition, 1_700_000_000_000)
    yield NAMES.state("fold", partition)
    yield NAMES.lease("leader", partition)


def test_all_keys_of_a_partition_share_its_hash_tag() -> None:
    for partition in range(3):
        for key in keys(partition):
            assert key.startswith("demo:")
            assert re.findall(r"\{([^}]*)\}", key) == [str(partition)]


def test_no_two_things_share_a_key() -> None:
    every = [key for partition in range(3) for key in keys(partition)]
    every += [NAMES.intake(channel) for channel in BUILT_IN] + [NAMES.reply(channel) for channel in BUILT_IN]
    assert len(every) == len(set(every))


def test_the_head_of_the_module_shows_every_key() -> None:
    said = channels.__doc__ or ""
    shown = {
        NAMES.log("C", 1): "PREFIX:{P}:C:log",
        NAMES.head("C", 1): "PREFIX:{P}:C:head",
        NAMES.live("C", 1): "PREFIX:{P}:C:live",
        NAMES.fence("C", 1, "PRODUCER"): "PREFIX:{P}:C:fence:PRODUCER",
        NAMES.seen("C", 1) + "ID": "PREFIX:{P}:C:seen:ID",
        NAMES.second(1) + "S": "PREFIX:{P}:second:S",
        NAMES.waiting(1, 60_000): "PREFIX:{P}:await:M",
        NAMES.state("NAME", 1): "PREFIX:{P}:state:NAME",
        NAMES.lease("NAME", 1): "PREFIX:{P}:lease:NAME",
        NAMES.intake("C"): "PREFIX:in:C",
        NAMES.reply("CLIENT"): "PREFIX:reply:CLIENT",
    }
    for key, line in shown.items():
        assert f"    {line} " in said
        spelled = line.replace("PREFIX", "demo").replace("{P}", "{1}")
        assert key == (spelled.removesuffix("M") + "1" if line.endswith("await:M") else spelled)


def test_one_environment_cannot_read_another() -> None:
    assert not {Names("a").log(c) for c in BUILT_IN} & {Names("b").log(c) for c in BUILT_IN}


def test_only_partitioned_channels_have_partitions() -> None:
    for channel in BUILT_IN:
        assert NAMES.partitions_of(channel) == range(3 if channel in PARTITIONED else 1)


@given(st.sampled_from(BUILT_IN), st.text(), st.integers(1, 64))
def test_a_key_has_one_partition_for_ever(channel: str, key: str, partitions: int) -> None:
    names = Names("demo", partitions)
    assert names.partition_for(channel, key) in names.partitions_of(channel)
    assert names.partition_for(channel, key) == Names("other", partitions).partition_for(channel, key)


def test_keys_spread_over_the_partitions() -> None:
    counts = [0, 0, 0]
    for number in range(3000):
        counts[NAMES.partition_for("requests", f"client-{number}")] += 1
    assert min(counts) > 800


def test_predictions_wait_by_the_minute() -> None:
    minutes = {NAMES.waiting(0, ms) for ms in (0, 59_999)}
    assert len(minutes) == 1
    assert NAMES.waiting(0, 60_000) not in minutes


@pytest.mark.parametrize("channel", ["runs", "my-runs", "team.a_1", "x" * 100, "größe"])
def test_names_that_can_be_channels(channel: str) -> None:
    assert checked(channel) == channel


@pytest.mark.parametrize("channel", ["", "a b", "a:b", "{a}", "a*", "a\n", "x" * 101, "a/b"])
def test_names_that_cannot(channel: str) -> None:
    with pytest.raises(SettingsError, match="use letters, digits, dash, underscore and dot"):
        NAMES.log(channel)


def test_built_in_names_can_be_channels() -> None:
    for channel, other in itertools.pairwise(BUILT_IN):
        assert checked(channel) != checked(other)
