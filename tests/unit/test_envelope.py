"""Live envelopes: what the server writes is read back, and nothing else is taken for one."""

from __future__ import annotations

import json
from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.bus.envelope import opened
from headrace.codec import encode
from headrace.errors import CodecError
from headrace.events import RunAlive
from headrace.positions import Entry, Position

entries = st.lists(
    st.builds(
        lambda ms, number, run: (Position(ms, number), RunAlive(run=run)),
        st.integers(0, 10**14 - 1),
        st.integers(1, 10**15),
        st.text(),
    ),
    min_size=1,
    max_size=40,
)


@given(st.text("0123456789abcdef", min_size=10, max_size=10), entries)
def test_msgpack_is_read_back(epoch: str, told: list[tuple[Position, RunAlive]]) -> None:
    items: list[object] = []
    for position, event in told:
        items += [str(position), msgspec.Raw(encode(event))]
    payload = msgspec.msgpack.encode([epoch, items])
    assert opened(payload) == (epoch, [Entry(position, encode(event)) for position, event in told])


@given(st.text("0123456789abcdef", min_size=10, max_size=10), entries)
def test_json_is_read_back(epoch: str, told: list[tuple[Position, RunAlive]]) -> None:
    parts = ",".join(f'"{position}",{encode(event, "json").decode()}' for position, event in told)
    payload = f'["{epoch}",[{parts}]]'.encode()
    assert json.loads(payload)[0] == epoch
    assert opened(payload) == (epoch, [Entry(position, encode(event, "json")) for position, event in told])


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b'["epoch"]',
        b'["epoch",{}]',
        b'["epoch",["1-1"]]',
        b'["epoch",["x",{}]]',
        b'["epoch",[7,{}]]',
        b'[7,["1-1",{}]]',
        b"\x92\xa1e\x91\xa31-1",
        b"\x92\xa1e\x92\xa1x\x80",
        b"[" * 100_000,
    ],
)
def test_nothing_else_is_an_envelope(payload: bytes) -> None:
    with pytest.raises(CodecError, match="not a live envelope"):
        opened(payload)


@given(st.binary())
def test_random_bytes_raise_nothing_else(payload: bytes) -> None:
    with suppress(CodecError):
        opened(payload)
