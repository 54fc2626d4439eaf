"""The plots of dashboards, two in a row."""

from collections.abc import Sequence
from typing import Any

#: Title, metrics in CloudWatch's own form, statistic, period in seconds.
Plot = tuple[str, list[list[Any]], str, int]


def make_plot_widgets(plots: Sequence[Plot], region: str, *, top: int = 0) -> list[dict[str, Any]]:
    """Return a widget for each plot, from the row ``top`` of the dashboard's grid downwards."""
    return [
        {
            "type": "metric",
            "x": 12 * (number % 2),
            "y": top + 6 * (number // 2),
            "width": 12,
            "height": 6,
            "properties": {
                "title": title,
                "metrics": metrics,
                "stat": statistic,
                "period": period,
                "region": region,
                "view": "timeSeries",
            },
        }
        for number, (title, metrics, statistic, period) in enumerate(plots)
    ]
