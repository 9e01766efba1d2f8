"""The frames of the charts that Plotly draws: axes, margins, units. Pure.

The lines are drawn in the browser from what its store holds (assets/charts.js), the colours are those of the theme, and
`uirevision` keeps what a reader zoomed. Only the time axis can be zoomed; a double click goes back to live.
"""

from __future__ import annotations

from typing import Any

UNSEEN = "rgba(0,0,0,0)"
"""Until the browser brings the colours of its theme."""

Figure = dict[str, Any]

CONFIG: Any = {"displayModeBar": False, "doubleClick": False, "responsive": True, "scrollZoom": False}


def throughput() -> Figure:
    """Events a second, in and out."""
    return _over_time()


def depth() -> Figure:
    """Entries that groups still have to commit."""
    return _over_time()


def latency() -> Figure:
    """Percentiles in milliseconds, on a logarithmic axis: a median of one and a tail of hundreds are both readable."""
    figure = _over_time()
    figure["layout"]["yaxis"] |= {
        "type": "log",
        "tickformat": ",~g",
        "rangemode": "normal",
        "dtick": 1,
        "minor": {"showgrid": False},
    }
    return figure


def training() -> Figure:
    """A metric by step."""
    figure = _framed()
    figure["layout"]["xaxis"] |= {"type": "linear", "tickformat": "~s", "hoverformat": ",d", "rangemode": "tozero"}
    figure["layout"]["yaxis"] |= {"tickformat": "~g", "hoverformat": ".4~g"}
    figure["layout"]["hovermode"] = "x unified"
    return figure


def over_time() -> Figure:
    """Any values over time, from zero."""
    return _over_time()


def few() -> Figure:
    """Values over time that are often below one."""
    figure = _over_time()
    figure["layout"]["yaxis"] |= {"tickformat": ",~g"}
    return figure


def bytes_() -> Figure:
    """Bytes over time."""
    figure = _over_time()
    figure["layout"]["yaxis"] |= {"tickformat": ".3~s", "ticksuffix": "B", "hoverformat": ".4~s"}
    figure["layout"]["yaxis"]["autorangeoptions"] = {"include": [1000]}  # no ticks between one byte and the next
    return figure


def times() -> Figure:
    """Percentiles in milliseconds of one model, which may all lie within one power of ten."""
    figure = latency()
    figure["layout"]["yaxis"] |= {"dtick": "D2"}
    return figure


def shares() -> Figure:
    """Parts of a whole over time."""
    figure = _over_time()
    figure["layout"]["yaxis"] |= {"tickformat": ".0%", "hoverformat": ".1%", "range": [0, 1]}
    return figure


def accuracy() -> Figure:
    """A share over time, as closely as it varies."""
    figure = _over_time()
    figure["layout"]["yaxis"] |= {"tickformat": ".1~%", "hoverformat": ".1%", "rangemode": "normal"}
    figure["layout"]["hovermode"] = "closest"
    return figure


def explained() -> Figure:
    """R2 over time: at most 1, and without a floor."""
    figure = _over_time()
    figure["layout"]["yaxis"] |= {"tickformat": ".2~f", "hoverformat": ".3f", "rangemode": "normal"}
    return figure


def reliability() -> Figure:
    """The share that was right by confidence."""
    return _against("confidence", "right", ".0%")


def scatter() -> Figure:
    """Predicted values by true ones."""
    return _against("true", "predicted", "~g")


def _against(across: str, up: str, ticks: str) -> Figure:
    figure = _framed()
    layout = figure["layout"]
    layout["margin"] |= {"l": 58, "b": 44}
    layout["hovermode"] = "closest"
    for axis, name in (("xaxis", across), ("yaxis", up)):
        layout[axis] |= {"title": {"text": name, "standoff": 6}, "tickformat": ticks, "showgrid": True, "nticks": 6}
    layout["xaxis"]["fixedrange"] = True
    return figure


def _over_time() -> Figure:
    figure = _framed()
    layout = figure["layout"]
    layout["xaxis"] |= {"type": "date", "tickformat": "%H:%M:%S", "hoverformat": "%H:%M:%S", "nticks": 6}
    layout["yaxis"] |= {"rangemode": "tozero", "tickformat": "~s", "hoverformat": ",.4~g"}
    layout["hovermode"] = "x unified"
    return figure


def _framed() -> Figure:
    axis = {"zeroline": False, "showline": False, "ticks": "", "automargin": False, "gridcolor": UNSEEN}
    return {
        "data": [],
        "layout": {
            "autosize": True,
            "margin": {"l": 48, "r": 14, "t": 10, "b": 30},
            "showlegend": False,
            "uirevision": "keep",
            "dragmode": "zoom",
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"size": 11, "color": UNSEEN},
            "xaxis": {
                **axis,
                "showgrid": False,
                "fixedrange": False,
                "ticklabelstandoff": 7,
                "spikethickness": -1,
                "spikedash": "dot",
            },
            "yaxis": {**axis, "showgrid": True, "fixedrange": True, "nticks": 5},
        },
    }
