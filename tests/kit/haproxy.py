"""A real HAProxy in front of two machines, with `deploy/haproxy.cfg`."""

import asyncio
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import aiohttp

from tests.absent import report_absent
from tests.share_servers import free_port

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "haproxy.cfg"
MACHINES = ("a", "b")


@contextmanager
def haproxy(ports: Mapping[str, int], checks: Mapping[str, int], *, port: int = 0) -> Iterator[str]:
    """Run HAProxy with the documented configuration, on loopback and without TLS; yield its URL."""
    program = shutil.which("haproxy")
    if program is None:
        report_absent("Debian's haproxy")
    port = port or free_port()
    text = CONFIGURATION.read_text(encoding="utf-8")
    text = re.sub(r"bind :443 \S+ crt \S+ ", f"bind 127.0.0.1:{port} ", text)
    for number, name in enumerate(MACHINES, start=1):
        there = re.escape(f"10.0.0.{number}:8080")
        text = re.sub(rf"({there}.*agent-port )\d+", rf"\g<1>{checks[name]}", text)
        text = re.sub(there, f"127.0.0.1:{ports[name]}", text)
    with tempfile.TemporaryDirectory(prefix="holdline-haproxy-") as folder:
        file = Path(folder) / "haproxy.cfg"
        file.write_text(text, encoding="utf-8")
        with subprocess.Popen([program, "-db", "-f", file]) as process:  # noqa: S603 - ours
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                process.kill()


async def answers(url: str) -> None:
    """Wait until the balancer answers."""
    async with asyncio.timeout(10), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"{url}/m/a/twilio/media") as answer:
                    if answer.status != 503:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.02)
