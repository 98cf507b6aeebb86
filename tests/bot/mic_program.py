"""`holdline mic` against a fault lab; run by a test in an environment with its own sound card."""

import asyncio
import sys
from pathlib import Path

from bot.programs.mic import talk
from lab.process import lab_process, with_lab


async def main(logs: Path, *, headphones: bool) -> None:
    async with lab_process() as lab:
        tree = {
            "logs": {"dir": logs},
            "storage": {"url": f"sqlite+aiosqlite:///{logs}/holdline.db"},
            "transports": {"local": {"headphones": headphones}},
        }
        await talk(with_lab(lab, tree))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), headphones="--headphones" in sys.argv))
