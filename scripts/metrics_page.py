"""Writes the table in `docs/metrics.md` from the metrics' definitions."""

from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from operations.telemetry.meters import Meters

PAGE = Path(__file__).parents[1] / "docs" / "metrics.md"
BEGIN, END = "| Metric | Type | Labels | Description |\n| --- | --- | --- | --- |\n", "\n"


def table() -> str:
    """Return a row for each metric, in the order of their definition."""
    registry = CollectorRegistry()
    meters = Meters(registry)
    made = [*vars(meters).values(), *meters.process.values()]
    return BEGIN + "".join(_row(var) for var in made if isinstance(var, MetricWrapperBase))


def _row(metric: MetricWrapperBase) -> str:
    name = metric._name + ("_total" if metric._type == "counter" else "")  # noqa: SLF001 - not public
    labels = ", ".join(f"`{labelname}`" for labelname in metric._labelnames)  # noqa: SLF001
    what = metric._documentation  # noqa: SLF001
    return f"| `{name}` | {metric._type} | {labels} | {what} |\n"  # noqa: SLF001


def renew(text: str) -> str:
    """Return the page with the current table."""
    head, _, rest = text.partition(BEGIN)
    return head + table() + END + rest.partition("\n\n")[2]


if __name__ == "__main__":
    PAGE.write_text(renew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
