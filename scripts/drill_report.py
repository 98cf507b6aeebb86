"""Writes docs/drill-report.md from docs/drill-results.json, which has every pass of the drill.

    .venv/bin/python scripts/drill_report.py

To add a pass: copy docs/drill-results.json to DIR/results.json, run `holdline drill --out DIR`,
copy DIR/figures.json back, and run this.
"""

from pathlib import Path
from typing import Final

from lab.drill.markdown import render
from lab.drill.matrix import FULL
from lab.drill.results import Results

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
FIGURES: Final = "drill-results.json"
REPORT: Final = "drill-report.md"


def main() -> None:
    """Write the report."""
    text = render(FULL, Results(DOCS, file=FIGURES))
    (DOCS / REPORT).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
