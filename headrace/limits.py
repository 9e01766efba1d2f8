"""How often somebody may: a rate for each caller, with bounded memory however many callers there are. Pure."""

from __future__ import annotations

from collections import OrderedDict

MOST = 4096


class Limiter:
    """Lets each key do `burst` things at once and `rate` a second in the long run; `now` is monotonic seconds.

    One number a key is kept, for the `most` keys seen last: a key that was forgotten begins anew. The method is the
    generic cell rate algorithm (ITU-T I.371): the number is when the key will have paid for all it did.
    """

    def __init__(self, rate: float, burst: float, most: int = MOST) -> None:
        self._each_s = 1 / rate
        self._ahead_s = (max(burst, 1) - 1) * self._each_s
        self._most = most
        self._paid: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._paid)

    def wait_s(self, key: str, now: float) -> float:
        """Seconds until the key may do one more thing; 0 means now."""
        return max(0.0, self._paid.get(key, now) - now - self._ahead_s)

    def take(self, key: str, now: float) -> float:
        """Count one thing if the key may do it, and return 0; else count nothing and return the seconds to wait."""
        if wait_s := self.wait_s(key, now):
            return wait_s
        self._paid[key] = max(now, self._paid.get(key, now)) + self._each_s
        self._paid.move_to_end(key)
        if len(self._paid) > self._most:
            self._paid.popitem(last=False)
        return 0.0
