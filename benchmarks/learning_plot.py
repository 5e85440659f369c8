"""Curves of accuracy over reviews as an SVG picture, a panel for each set."""

from collections.abc import Mapping
from html import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 340, 230, 44, 30, 36
COLUMNS = 2
COLORS = ("#0b6472", "#b35900")
DASHES = ("", "5 4")
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)

Curves = Mapping[str, Mapping[int, float]]
"""Accuracy by reviews, by way to choose."""


def curves_svg(sets: Mapping[str, Curves]) -> str:
    """Return the picture."""
    rows = -(-len(sets) // COLUMNS)
    panels = "".join(
        f'<g transform="translate({WIDTH * (at % COLUMNS)} {HEIGHT * (at // COLUMNS)})">{_panel(*one)}</g>'
        for at, one in enumerate(sets.items())
    )
    width, height = WIDTH * min(COLUMNS, len(sets)), HEIGHT * rows
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11"><rect width="{width}" height="{height}" fill="#fff"/>{panels}</svg>\n'
    )


def _panel(name: str, curves: Curves) -> str:
    shares = [share for curve in curves.values() for share in curve.values()]
    step = next((one for one in STEPS if (max(shares) - min(shares)) / one <= 6), STEPS[-1])
    low, high = step * (min(shares) // step), step * -(-max(shares) // step)
    last = max(at for curve in curves.values() for at in curve)

    def x(reviews: float) -> float:
        return round(LEFT + reviews / last * (WIDTH - LEFT - 14), 1)

    def y(share: float) -> float:
        return round(TOP + (high - share) / max(high - low, step) * (HEIGHT - TOP - BOTTOM), 1)

    ticks = [low + number * step for number in range(round((high - low) / step) + 1)]
    parts = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(name.replace("_", " "))}</text>']
    parts += [
        f'<line x1="{LEFT}" x2="{WIDTH - 14}" y1="{y(tick)}" y2="{y(tick)}" stroke="#ddd"/>'
        f'<text x="{LEFT - 5}" y="{y(tick) + 4}" text-anchor="end">{100 * tick:.0f} %</text>'
        for tick in ticks
    ]
    parts += [
        f'<text x="{x(reviews)}" y="{HEIGHT - 20}" text-anchor="middle">{reviews}</text>'
        for reviews in sorted({0, last // 2, last})
    ]
    parts.append(f'<text x="{x(last / 2)}" y="{HEIGHT - 6}" text-anchor="middle">reviews</text>')
    for number, (way, curve) in enumerate(curves.items()):
        points = " ".join(f"{x(at)},{y(share)}" for at, share in sorted(curve.items()))
        color, dash = COLORS[number], DASHES[number]
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2" '
            f'stroke-dasharray="{dash}"/>'
            f'<text x="{WIDTH - 20}" y="{HEIGHT - BOTTOM - 10 - 15 * number}" text-anchor="end" '
            f'fill="{color}">{escape(way)}</text>'
        )
    return "".join(parts)
