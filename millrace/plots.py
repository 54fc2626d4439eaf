"""Plots as SVG text, for pages without external resources: lines, calibration, bars and histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

#: Colours: text and axes, what only informs, an ordinary value, a warning, an alarm.
INK, GREY, CALM, LOUD, ALARM = "#1f2933", "#9aa5b1", "#2f6f9f", "#d9822b", "#c23030"
#: The share of an alarm's bound from which a bar is coloured as a warning.
WARN = 0.4

#: One colour per line; further lines share the last colour.
COLOURS = (CALM, LOUD, "#4a9d6f", "#7b5ea7", "#8a6d3b", GREY)
#: Maximum number of labels with which a line has dots.
_DOTS = 60
_LEFT, _TOP, _RIGHT, _BOTTOM = 54, 10, 16, 40


def plot_lines(
    labels: Sequence[str],
    series: Mapping[str, Sequence[float | None]],
    text: str,
    *,
    bounds: Mapping[str, float] | None = None,
    width: int = 460,
    height: int = 190,
) -> str:
    """Return a plot of series over labels, one line each; an unknown value is a gap, and a bound is a dashed line.

    Args:
        labels: The labels of the x axis, evenly spaced.
        series: One value per label, by the name of the line; None if unknown.
        text: The alternative text for readers who cannot see the plot.
        bounds: The values of the bounds by their names.
        width: Pixels.
        height: Pixels, without the legend.
    """
    limits = dict(bounds or {})
    known = [value for values in series.values() for value in values if value is not None]
    if not known:
        return ""
    low, high = _range([*known, *limits.values()])

    def at(place: int, value: float) -> tuple[float, float]:
        x = _LEFT + (width - _LEFT - _RIGHT) * (place / (len(labels) - 1) if len(labels) > 1 else 0.5)
        return x, _TOP + (height - _TOP - _BOTTOM) * (1 - (value - low) / (high - low))

    parts = [_axes(low, high, labels, width, height)]
    for name, value in limits.items():
        _, y = at(0, value)
        parts.append(
            f'<line x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{ALARM}" '
            f'stroke-dasharray="4 3"/><text x="{width - _RIGHT}" y="{y - 4:.1f}" text-anchor="end">'
            f"{escape(name)} {value:g}</text>"
        )
    for number, (name, values) in enumerate(series.items()):
        colour = COLOURS[min(number, len(COLOURS) - 1)]
        for piece in _split_at_gaps(values):
            points = [at(place, value) for place, value in piece]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            # Hundreds of dots hide the line.
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"><title>{escape(name)} '
                f"{escape(labels[place])}: {value:.4g}</title></circle>"
                for (place, value), (x, y) in zip(piece, points, strict=True)
                if len(labels) <= _DOTS or len(piece) == 1
            ]
    if len(series) > 1:
        parts.append(_legend(list(series), height))
    return _svg(width, height + (18 if len(series) > 1 else 0), text, "".join(parts))


class CalibrationPoint(NamedTuple):
    """One bin of a calibration plot."""

    predicted: float
    observed: float
    rows: int


def plot_calibration(bins: Sequence[CalibrationPoint], text: str, side: int = 220) -> str:
    """Return a plot of the observed rate over the mean prediction, one dot per bin; the diagonal is perfect.

    Args:
        bins: The bins, by increasing prediction.
        text: The alternative text for readers who cannot see the plot.
        side: Pixels of a side of the square.
    """
    pad = 40
    top = max(max(each.predicted, each.observed) for each in bins) * 1.1 or 1.0
    points = [(pad + each.predicted / top * side, 8 + side - each.observed / top * side) for each in bins]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{CALM}"><title>{each.rows} rows: predicted '
        f"{each.predicted:.3f}, observed {each.observed:.3f}</title></circle>"
        for each, (x, y) in zip(bins, points, strict=True)
    )
    body = (
        f'<line x1="{pad}" y1="{side + 8}" x2="{pad + side}" y2="8" stroke="{GREY}" stroke-dasharray="4 3"/>'
        f'<path d="M{pad} 8V{side + 8}H{pad + side}" fill="none" stroke="{INK}"/>'
        f'<polyline points="{path}" fill="none" stroke="{CALM}" stroke-width="2"/>{dots}'
        f'<text x="{pad}" y="{side + 24}">0</text><text x="{pad + side}" y="{side + 24}" text-anchor="end">'
        f'{top:.2f} predicted</text><text x="{pad + 4}" y="18">{top:.2f} observed</text>'
    )
    return _svg(side + pad + 10, side + 32, text, body)


class Bar(NamedTuple):
    """One bar of a plot of bars."""

    name: str
    value: float
    informational: bool


def plot_bars(bars: Sequence[Bar], bound: float, text: str) -> str:
    """Return a plot with one bar per value, longest first; informational bars are grey.

    Args:
        bars: The bars.
        bound: The alarm's bound, a dashed line; a bar is cut at twice the bound, with its value next to it.
        text: The alternative text for readers who cannot see the plot.
    """
    ordered = sorted(bars, key=lambda bar: -bar.value)
    left, width, height = 20 + 8 * max(len(bar.name) for bar in bars), 420, 20
    scale = width / (2 * bound)
    parts = []
    for row, bar in enumerate(ordered):
        y, length = row * height, min(bar.value, 2 * bound) * scale
        loud = ALARM if bar.value >= bound else LOUD if bar.value >= WARN * bound else CALM
        parts.append(
            f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(bar.name)}</text>'
            f'<rect x="{left}" y="{y + 3}" width="{length:.1f}" height="{height - 6}" '
            f'fill="{GREY if bar.informational else loud}"/>'
            f'<text x="{left + length + 5:.1f}" y="{y + 14}">{bar.value:.3f}</text>'
        )
    x, bottom = left + bound * scale, len(bars) * height
    parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{bottom}" stroke="{ALARM}" stroke-dasharray="4 3"/>')
    return _svg(left + width + 60, bottom, text, "".join(parts))


def plot_histograms(before: Sequence[float], after: Sequence[float], edges: Sequence[float], text: str) -> str:
    """Return a plot of two histograms with the same bins: the first in grey, the second next to it.

    Args:
        before: The share of each bin in the first histogram.
        after: The share of each bin in the second one.
        edges: The bounds between the bins.
        text: The alternative text for readers who cannot see the plot.
    """
    width, height, pad = 40, 220, 24
    top = max([*before, *after]) or 1.0
    bars = []
    for place, pair in enumerate(zip(before, after, strict=True)):
        for offset, value, colour in ((3, pair[0], GREY), (20, pair[1], CALM)):
            tall = value / top * height
            bars.append(
                f'<rect x="{pad + place * width + offset}" y="{height - tall + 5:.1f}" width="16" height="{tall:.1f}" '
                f'fill="{colour}"><title>{value:.1%}</title></rect>'
            )
    labels = "".join(
        f'<text x="{pad + (place + 1) * width}" y="{height + 20}" text-anchor="middle">{edge:.2g}</text>'
        for place, edge in enumerate(edges)
    )
    axis = f'<path d="M{pad} {height + 5}H{pad + len(before) * width}" stroke="{INK}"/>'
    return _svg(pad + len(before) * width + 10, height + 26, text, "".join(bars) + axis + labels)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of the y axis, which starts at zero if that is near and has some room above."""
    low, high = min(values), max(values)
    low = 0.0 if 0 <= low <= (high - low) * 2 or high == low >= 0 else low - (high - low) * 0.1
    high += (high - low) * 0.1
    return (low, high) if high > low else (min(low, 0.0), low + 1)


def _split_at_gaps(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Return the runs of known values, each value with its place."""
    pieces: list[list[tuple[int, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((place, value))
    return [piece for piece in pieces if piece]


def _axes(low: float, high: float, labels: Sequence[str], width: int, height: int) -> str:
    bottom = height - _BOTTOM
    parts = [f'<path d="M{_LEFT} {_TOP}V{bottom}H{width - _RIGHT}" fill="none" stroke="{INK}"/>']
    for share in (0.0, 0.5, 1.0):
        value, y = low + (high - low) * share, _TOP + (bottom - _TOP) * (1 - share)
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    shown = sorted({0, len(labels) // 2, len(labels) - 1})
    for place in shown:
        x = _LEFT + (width - _LEFT - _RIGHT) * (place / (len(labels) - 1) if len(labels) > 1 else 0.5)
        anchor = "middle" if len(shown) == 1 or place not in (0, len(labels) - 1) else "end" if place else "start"
        parts.append(f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="{anchor}">{escape(labels[place])}</text>')
    return "".join(parts)


def _legend(names: Sequence[str], height: int) -> str:
    parts, x = [], _LEFT
    for number, name in enumerate(names):
        colour = COLOURS[min(number, len(COLOURS) - 1)]
        parts.append(
            f'<rect x="{x}" y="{height - 12}" width="10" height="10" fill="{colour}"/>'
            f'<text x="{x + 14}" y="{height - 3}">{escape(name)}</text>'
        )
        x += 26 + 7 * len(name)
    return "".join(parts)


def _svg(width: int, height: int, text: str, body: str) -> str:
    return (
        f'<svg role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{escape(text)}</title>{body}</svg>'
    )
