"""Lines over logarithmic axes as SVG: few, plain, and readable on light and dark pages alike. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

Point = tuple[float, float]

WIDTH, HEIGHT = 460, 300
LEFT, RIGHT, TOP, BOTTOM = 66, 16, 34, 44
INK = "#7a7f87"
"""Text and axes: legible on white and on black."""
COLOURS = ("#2f81c4", "#d9822b", "#3f9d62", "#b04a9a")


@dataclass(frozen=True, slots=True)
class Panel:
    """One drawing: lines by name over a common axis."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Sequence[Point]]


def svg(*panels: Panel) -> str:
    """Panels side by side."""
    width = WIDTH * len(panels)
    body = "\n".join(f'<g transform="translate({WIDTH * at},0)">\n{_panel(p)}\n</g>' for at, p in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" width="{width}" height="{HEIGHT}" '
        f'font-family="system-ui, sans-serif" font-size="11" fill="{INK}">\n{body}\n</svg>\n'
    )


def _panel(panel: Panel) -> str:
    points = [point for line in panel.lines.values() for point in line]
    across = _Axis([x for x, _ in points], LEFT, WIDTH - RIGHT)
    up = _Axis([y for _, y in points], HEIGHT - BOTTOM, TOP)
    parts = [f'<text x="{LEFT}" y="18" font-size="13" font-weight="600">{escape(panel.title)}</text>']
    for value in across.ticks():
        x = across.at(value)
        parts.append(_line(x, HEIGHT - BOTTOM, x, TOP, 0.18) + _text(x, HEIGHT - BOTTOM + 15, short(value), "middle"))
    for value in up.ticks():
        y = up.at(value)
        parts.append(_line(LEFT, y, WIDTH - RIGHT, y, 0.18) + _text(LEFT - 6, y + 4, short(value), "end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, panel.x, "middle"))
    parts.append(_text(WIDTH - RIGHT, 18, panel.y, "end"))
    for turn, (name, line) in enumerate(panel.lines.items()):
        colour = COLOURS[turn % len(COLOURS)]
        places = [(across.at(x), up.at(y)) for x, y in line]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        if len(panel.lines) > 1:
            parts.append(f'<text x="{LEFT + 8}" y="{TOP + 14 + 14 * turn}" fill="{colour}">{escape(name)}</text>')
    return "\n".join(parts)


class _Axis:
    """Logarithmic, over whole tens unless the values lie close together."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        logs = [math.log10(value) for value in values if value > 0] or [0.0, 1.0]
        self._low, self._high = math.floor(min(logs)), math.ceil(max(logs))
        if self._low == self._high:
            self._high += 1
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """Where a value lies; those that are not above 0 lie at the beginning."""
        share = (math.log10(value) - self._low) / (self._high - self._low) if value > 0 else 0.0
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        return [10.0**power for power in range(self._low, self._high + 1)]


def short(value: float) -> str:
    """A round number in few signs: 1k, 10M, 0.1."""
    for limit, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= limit:
            return f"{value / limit:g}{sign}"
    return f"{value:g}"


def _line(x1: float, y1: float, x2: float, y2: float, opacity: float) -> str:
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} stroke="{INK}" stroke-opacity="{opacity}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
