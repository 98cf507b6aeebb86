import asyncio
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.absent import report_absent
from tests.e2e.browser import ALLOWED, Watch, chromium, need_chromium
from tests.e2e.demo_server import Demo, running_demo
from tests.e2e.stand_in import StandIn

# WebRTC never uses 127.0.0.1, so a machine with only `lo` needs one more address.
ADD_ADDRESS = "/sbin/ip addr add 10.99.0.1/32 dev lo"

# Elements may appear late on a busy machine; the default of 5 s was too short.
expect.set_options(timeout=15_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The stand-in server and its URL."""

    stand_in: StandIn
    url: str


@pytest.fixture(scope="session")
def network() -> None:
    """Add an address for WebRTC if the machine has none; skip if that is not permitted."""
    if own_address() is not None:
        return
    try:
        added = subprocess.run(  # noqa: S603 - our own constant
            ADD_ADDRESS.split(), check=False, capture_output=True, text=True
        )
    except OSError:
        report_absent("address but 127.0.0.1, and `ip` to add one")
    if added.returncode != 0 and "exists" not in added.stderr:
        report_absent(f"address but 127.0.0.1 (as root: `{ADD_ADDRESS}`)")


def own_address() -> str | None:
    """Return this machine's address for outgoing connections, if it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: it only asks for the route
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


@pytest_asyncio.fixture(loop_scope="module")
async def served() -> AsyncIterator[Served]:
    stand_in = StandIn()
    config = uvicorn.Config(
        stand_in.app, log_level="warning", timeout_graceful_shutdown=1, lifespan="off"
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve([listener]))
        yield Served(stand_in=stand_in, url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        await stand_in.leave()
        server.should_exit = True
    listener.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(network: None) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright, chromium(playwright, ALLOWED) as started:
        yield started


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context()
    yield await context.new_page()
    await context.close()


@pytest.fixture
def watch(page: Page, served: Served) -> Watch:
    return Watch(page, server=served.url)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(network: None, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    need_chromium()
    async with running_demo(tmp_path_factory.mktemp("demo")) as running:
        yield running
