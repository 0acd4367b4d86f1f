"""The results as a picture: a bar for each client, a panel for each workload, a column for each hub protocol. SVG."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from tests.benchmarks.results import Results, Row, amount, ours_of
from tests.benchmarks.workloads import OURS

__all__ = ["chart"]

_COLOURS = {OURS: "#2f6fde", "pysignalr": "#e0a030", "aiosignalr": "#b55d4c", "javascript": "#8a8f98"}
_BAR = 15
_GAP = 3
_HEAD = 26
_PANEL_WIDTH = 520
_LABEL_WIDTH = 175
_VALUE_WIDTH = 135
_MARGIN = 24

_STYLE = """\
text { font: 12px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 13px }
.soft { fill: #6e7781 }
.spread { stroke: #24292f; stroke-width: 1; opacity: .55 }
svg { background: #ffffff }"""


def chart(results: Results) -> str:
    """Return an SVG document."""
    parts: list[str] = []
    y = float(_MARGIN)
    for line in _lines(results):
        drawn = [_panel(rows, _MARGIN + i * (_PANEL_WIDTH + _MARGIN), y) for i, rows in enumerate(line)]
        parts += [text for text, _ in drawn]
        y += max(height for _, height in drawn)
    width = 2 * _PANEL_WIDTH + 3 * _MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y:.0f}" width="{width}" height="{y:.0f}">'
    return "\n".join([head, f"<style>{_STYLE}</style>", *parts, "</svg>\n"])


def _lines(results: Results) -> Iterator[list[list[Row]]]:
    """What to draw side by side: a workload by both protocols, or two workloads that have but one."""
    groups = list(results.groups())
    while groups:
        first, *rest = groups
        beside = [rows for rows in rest[:1] if _kind(rows) == _kind(first)]
        yield [first, *beside]
        groups = rest[len(beside) :]


def _kind(rows: list[Row]) -> object:
    workload = rows[0].task.workload
    return workload if len(workload.protocols) > 1 else "one protocol"


def _panel(rows: list[Row], x: float, y: float) -> tuple[str, float]:
    """One workload by one protocol: what to draw, and how high it is."""
    workload = rows[0].task.workload
    protocol = f", {rows[0].task.protocol}" if len(workload.protocols) > 1 else ""
    better = "" if workload.more_is_better else " (less is better)"
    parts = [_text(x, y + 14, f"{workload.title}{protocol}{better}", "title")]
    top = max((value for row in rows for value in row.values), default=1.0) or 1.0
    ours = ours_of(rows)
    for index, row in enumerate(rows):
        parts += _bar(row, ours, top, x, y + _HEAD + index * (_BAR + _GAP))
    return "\n".join(parts), _HEAD + len(rows) * (_BAR + _GAP) + _MARGIN


def _bar(row: Row, ours: Row | None, top: float, x: float, y: float) -> list[str]:
    middle = y + _BAR - 3.5
    parts = [_text(x + _LABEL_WIDTH - 8, middle, row.label, anchor="end")]
    start = x + _LABEL_WIDTH
    if not row.samples:
        return [*parts, _text(start + 4, middle, _shortened(row.failure or "not measured"), "soft")]
    scale = (_PANEL_WIDTH - _LABEL_WIDTH - _VALUE_WIDTH) / top
    length = max(row.median, 0) * scale
    shade = 1.0 if not row.task.way else 0.6
    colour = _COLOURS[row.task.client]
    parts.append(
        f'<rect x="{start:.1f}" y="{y:.1f}" width="{max(length, 1):.1f}" height="{_BAR}" rx="2" fill="{colour}" '
        f'opacity="{shade}"/>'
    )
    low, high = (start + max(value, 0) * scale for value in (min(row.values), max(row.values)))
    line = y + _BAR / 2
    parts.append(f'<line class="spread" x1="{low:.1f}" x2="{high:.1f}" y1="{line:.1f}" y2="{line:.1f}"/>')
    ratio = f' <tspan class="soft">({row.times(ours):.2f} ×)</tspan>' if ours is not None and row is not ours else ""
    return [*parts, _text(max(start + length, high) + 6, middle, amount(row.median, row.task.workload), more=ratio)]


def _shortened(text: str, limit: int = 56) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start", more: str = "") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(text)}{more}</text>'
