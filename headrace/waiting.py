"""A prediction that waits for its label: bytes that the scorer's commit leaves and the label's commit takes away."""

from __future__ import annotations

from typing import Literal

import msgspec

from headrace.errors import CodecError


class Waiting(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was predicted for the rows of one request: `kind` c (classification) or r (regression).

    `predicted` has one entry a row: a class index or a value; `confidence` the probability of each predicted class,
    empty for regression. `request` is the event id of the request.
    """

    model: str
    version: int
    kind: Literal["c", "r"]
    predicted: list[float]
    confidence: list[float] = []
    request: str = ""

    def encode(self) -> bytes:
        """The bytes to keep; about 40 for one row."""
        return _encoder.encode(self)

    @staticmethod
    def decode(payload: bytes) -> Waiting:
        """Read what `encode` made. Raises CodecError."""
        try:
            return _decoder.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CodecError(f"not a waiting prediction: {error}") from None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Waiting)
