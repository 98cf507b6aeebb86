"""Measures the duration and the peak memory of imports of 10,000 and 100,000 contacts."""

import argparse
import asyncio
import csv
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from campaigns.importing import ImportPlan, import_contacts
from campaigns.model import Campaign
from campaigns.store.contacts import Contacts
from operations.database.database import Database

MAX_S: Final = 20.0  # for 100,000 rows
MAX_GROWTH_MB: Final = 10.0  # of the peak memory, with ten times the rows
NOW: Final = 1_800_000_000.0
BAD_SHARE: Final = 0.02


def write_file(path: Path, rows: int) -> None:
    """Write this many contacts, all different and most of them valid."""
    chance = random.Random(7)  # noqa: S311 - a sample
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("number", "name", "consent_kind", "consent_date", "consent_source", "city"))
        for index in range(rows):
            area, rest = divmod(index, 7_000_000)
            number = f"({212 + area}) {200 + rest // 10_000:03}-{rest % 10_000:04}"
            bad = chance.random() < BAD_SHARE
            consent = ("", "", "") if bad else ("written", "2026-11-01", f"form {index}")
            table.writerow((number, f"Contact {index}, Jr.", *consent, "New York"))


async def measure(url: str, file: Path) -> str:
    """Import a file; return the counts, the duration and the peak memory as text."""
    refused = 0

    def count(_: object) -> None:
        nonlocal refused
        refused += 1

    plan = ImportPlan(file=file, campaign=Campaign(name="spring", region="US"), now=NOW)
    began = time.perf_counter()
    async with Database(url) as database:
        tally = await import_contacts(plan, Contacts(database), count)
        took_s, used_s = time.perf_counter() - began, time.process_time()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{tally.rows} {tally.added} {refused} {took_s:.3f} {used_s:.3f} {peak_mb:.1f}"


def in_process(url: str, file: Path) -> tuple[int, int, int, float, float, float]:
    """Measure in a new process, so that its memory is that of the import alone."""
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, __file__, "--url", url, "--file", str(file)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    rows, added, refused, took_s, used_s, peak_mb = done.stdout.split()
    return int(rows), int(added), int(refused), float(took_s), float(used_s), float(peak_mb)


def compare(urls: dict[str, tuple[str, str]], folder: Path) -> bool:
    """Print a line for each database; return whether all targets were met."""
    small, large = folder / "small.csv", folder / "large.csv"
    write_file(small, 10_000)
    write_file(large, 100_000)
    met = True
    for name, (first, second) in urls.items():
        *_, few_s, _, few_mb = in_process(first, small)
        rows, added, refused, took_s, used_s, peak_mb = in_process(second, large)
        *_, again_s, _, _ = in_process(second, large)
        print(
            f"{name}: {rows} rows in {took_s:.1f} s ({used_s:.1f} s of a processor; "
            f"{added} added, {refused} refused), "
            f"the same again in {again_s:.1f} s; 10,000 in {few_s:.1f} s; "
            f"most memory {peak_mb:.0f} MB, with a tenth of the rows {few_mb:.0f} MB"
        )
        met = met and took_s < MAX_S and peak_mb - few_mb < MAX_GROWTH_MB
    print("met" if met else f"missed: under {MAX_S:.0f} s, and {MAX_GROWTH_MB:.0f} MB more")
    return met


def main() -> int:
    """Measure SQLite and PostgreSQL; return 0, or 1 if a target was missed.

    With `--url` and `--file`, only import that file, and print the counts for `in_process`.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url")
    parser.add_argument("--file", type=Path)
    options = parser.parse_args()
    if options.url:
        print(asyncio.run(measure(options.url, options.file)))
        return 0
    from tests.share_servers import running_postgres  # noqa: PLC0415 - starts a server

    with tempfile.TemporaryDirectory() as place, running_postgres() as server:
        folder = Path(place)
        files = [f"sqlite+aiosqlite:///{folder}/{name}.db" for name in ("few", "many")]
        fresh = [asyncio.run(server.fresh_url()) for _ in range(2)]
        servers = [url.replace("postgresql://", "postgresql+asyncpg://") for url in fresh]
        urls = {"SQLite": (files[0], files[1]), "PostgreSQL": (servers[0], servers[1])}
        return 0 if compare(urls, folder) else 1


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    sys.exit(main())
