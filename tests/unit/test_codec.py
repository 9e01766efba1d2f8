"""Codec: every event survives both codecs, and no bytes whatever raise anything but CodecError."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import codec
from headrace.codec import codec_of, decode, encode, transcode, type_of
from headrace.errors import CodecError, UnknownTypeError
from headrace.events import Matrix, PredictionLabelled, PredictionRequested, RunAlive, RunMetrics
from tests.unit.shapes import KINDS, structs

CODECS: list[codec.Name] = ["msgpack", "json"]


events = st.one_of([structs(kind) for kind in KINDS])


@given(events, st.sampled_from(CODECS))
def test_every_event_survives(event: Any, name: codec.Name) -> None:
    payload = encode(event, name)
    assert codec_of(payload) == name
    assert type_of(payload) == type(event).__struct_config__.tag
    assert decode(payload) == event


@given(events, st.sampled_from(CODECS), st.sampled_from(CODECS))
def test_transcoding_keeps_the_event(event: Any, before: codec.Name, after: codec.Name) -> None:
    payload = transcode(encode(event, before), after)
    assert codec_of(payload) == after
    assert decode(payload) == event


@given(st.floats())
def test_msgpack_carries_every_float(value: float) -> None:
    again = decode(encode(RunMetrics(run="r", step=1, metrics={"loss": value})))
    assert isinstance(again, RunMetrics)
    got = again.metrics["loss"]
    assert got is not None
    assert got == value or (math.isnan(got) and math.isnan(value))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_says_null_for_what_is_not_finite(value: float) -> None:
    payload = encode(RunMetrics(run="r", step=1, metrics={"loss": value}), "json")
    assert json.loads(payload)["metrics"] == {"loss": None}
    assert decode(payload) == RunMetrics(run="r", step=1, metrics={"loss": None})


@pytest.mark.parametrize("name", CODECS)
def test_defaults_are_not_sent_and_come_back(name: codec.Name) -> None:
    payload = encode(RunAlive(run=""), name)
    assert len(payload) < 40
    assert decode(payload) == RunAlive(run="")


@pytest.mark.parametrize("name", CODECS)
def test_text_of_any_script_survives(name: codec.Name) -> None:
    event = RunAlive(run="Zeile\n\x00 \U0001f9ea \u202e ünï", subject="観測")
    assert decode(encode(event, name)) == event


@pytest.mark.parametrize("name", CODECS)
def test_text_that_is_no_unicode_is_refused(name: codec.Name) -> None:
    with pytest.raises(CodecError, match="RunAlive cannot be sent"):
        encode(RunAlive(run="\ud800"), name)


@pytest.mark.parametrize("name", CODECS)
def test_a_field_of_a_wrong_type_is_refused(name: codec.Name) -> None:
    with pytest.raises(CodecError, match="RunAlive cannot be sent"):
        encode(RunAlive(run=object()), name)  # type: ignore[arg-type]


def test_arrays_are_raw_in_msgpack_and_lists_are_accepted_in_json() -> None:
    matrix = Matrix("<f8", (1, 2), b"\x00" * 16)
    assert encode(PredictionRequested(model="m", inputs=matrix)).count(b"\x00" * 16) == 1
    listed = decode(b'{"type":"prediction.requested","model":"m","inputs":[[1,2.5,null]]}')
    assert listed == PredictionRequested(model="m", inputs=[[1.0, 2.5, None]])


def test_labels_keep_their_kinds() -> None:
    event = PredictionLabelled(prediction="0-1-1", labels=["seven", 7, 7.5])
    again = decode(encode(event, "json"))
    assert isinstance(again, PredictionLabelled)
    assert [type(label) for label in again.labels] == [str, int, float]


def test_unknown_fields_are_ignored() -> None:
    assert decode(b'{"type":"run.alive","run":"r","colour":{"deep":[1]}}') == RunAlive(run="r")


@pytest.mark.parametrize(
    "payload", [b'{"type":"run.paused","run":"r"}', msgspec.msgpack.encode({"type": "run.paused"})]
)
def test_an_unknown_type_is_told_apart_from_broken_bytes(payload: bytes) -> None:
    assert type_of(payload) == "run.paused"
    with pytest.raises(UnknownTypeError, match="update headrace or the sender") as caught:
        decode(payload)
    assert caught.value.type == "run.paused"


@pytest.mark.parametrize(
    ("stated", "seconds"),
    [
        ('"2026-01-02T03:04:05Z"', 1767323045.0),
        ('"2026-01-02T04:04:05.5+01:00"', 1767323045.5),
        ('"2026-01-02T03:04:05"', 1767323045.0),
        ("1767323045", 1767323045.0),
    ],
)
def test_time_may_be_a_number_or_a_date(stated: str, seconds: float) -> None:
    payload = f'{{"type":"run.metrics","run":"r","step":1,"metrics":{{"a":1}},"time":{stated}}}'.encode()
    event = decode(payload)
    assert event == RunMetrics(run="r", step=1, metrics={"a": 1.0}, time=seconds)


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (b"", "nothing"),
        (b"hello", "5 bytes that begin with"),
        (b"\xc1\xc1", "2 bytes that begin with"),
        (b"[1,2]", "an event is a JSON object or a msgpack map"),
        (b"{", "truncated"),
        (b"{}", "type"),
        (b'{"type":7}', "type"),
        (b'{"type":"run.alive"}', "missing required field `run`"),
        (b'{"type":"run.alive","run":7}', r"\$\.run"),
        (b'{"type":"run.alive","run":"r","time":"soon"}', r"\$\.time|Invalid isoformat"),
        (b'{"type":"run.alive","run":"r","time":{}}', r"\$\.time|must be str"),
        (b'{"type":"run.alive","run":"r","time":"2026-01-02","\xcb":1}', "utf-8|UTF-8"),
        (b'{"type":"run.alive","run":"r","time":"2026-01-02","more":' + b"[" * 100_000, "."),
        (b'{"type":"run.alive","run":"r"}x', "trailing|malformed"),
        (b'{"type":"run.alive","run":"\xff"}', "utf-8|UTF-8"),
        (encode(RunAlive(run="r"))[:-1], "truncated"),
        (encode(RunAlive(run="r")) + b"\x00", "trailing"),
        (b'{"type":"prediction.requested","model":"m","inputs":' + b"[" * 100_000, "."),
        (b"\x81\xa4type" + b"\x91" * 100_000, "."),
    ],
)
def test_what_is_wrong_is_said(payload: bytes, says: str) -> None:
    with pytest.raises(CodecError, match=says) as caught:
        decode(payload)
    assert not isinstance(caught.value, UnknownTypeError)


def survives(payload: bytes) -> None:
    for call in (decode, type_of, codec_of, lambda given: transcode(given, "json")):
        try:
            call(payload)
        except CodecError:
            continue


@given(st.binary())
def test_random_bytes_raise_nothing_else(payload: bytes) -> None:
    survives(payload)


@given(st.sampled_from([b"{", b"\x81\xa4type", b"\xde\x00\x01", b'{"type":"run.alive","time":']), st.binary())
def test_random_bytes_behind_a_plausible_beginning_raise_nothing_else(begin: bytes, rest: bytes) -> None:
    survives(begin + rest)


@given(events, st.sampled_from(CODECS), st.data())
def test_a_damaged_event_raises_nothing_else(event: Any, name: codec.Name, data: st.DataObject) -> None:
    payload = bytearray(encode(event, name))
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    survives(bytes(payload[: data.draw(st.integers(0, len(payload)))]))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(KINDS), st.data())
def test_json_of_other_shapes_raises_nothing_else(kind: type[Any], data: st.DataObject) -> None:
    names = [field.name for field in msgspec.structs.fields(kind)]
    body = data.draw(st.dictionaries(st.sampled_from(names), json_values, max_size=6))
    survives(json.dumps({"type": kind.__struct_config__.tag, **body}).encode())
