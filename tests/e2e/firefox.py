"""Firefox for the tests: Debian's own, controlled over WebDriver BiDi, without a driver.

Playwright drives only a Firefox that it has patched, and geckodriver is not in Debian; but every
Firefox speaks BiDi by itself on the port that `--remote-debugging-port` opens: JSON over a
websocket (docs/decisions/0039).
"""

import asyncio
import itertools
import json
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from tests.absent import report_absent

FIREFOX: Final = shutil.which("firefox-esr") or shutil.which("firefox")
READY_S: Final = 60.0  # a guard: it takes two to five
ANSWERS: Final = re.compile(rb"WebDriver BiDi listening on (ws://\S+)")
NOWHERE: Final = 9  # the discard port, without a listener
PREFERENCES: Final[dict[str, Any]] = {
    "media.navigator.streams.fake": True,  # a microphone that hums one note
    "media.navigator.permission.disabled": True,  # "may this page use the microphone?" Yes.
    "media.autoplay.default": 0,
    # A machine with nothing but `lo` has no other address to offer.
    "media.peerconnection.ice.loopback": True,
    # Requests to other machines go to a proxy that does not exist.
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": NOWHERE,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": NOWHERE,
    "network.proxy.socks_remote_dns": True,
}


class Tab:
    """One page, and its errors."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.errors: list[str] = []
        self.foreign: list[str] = []  # requests beyond its own server
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._context = ""
        self._server = ""

    async def prepare(self, function: str) -> None:
        """Run a function in every page before its own scripts."""
        await self._order("script.addPreloadScript", functionDeclaration=function)

    async def open(self, url: str) -> None:
        """Load a page and wait until it is there."""
        self._server = "/".join(url.split("/")[:3])
        await self._order(
            "browsingContext.navigate", context=self._context, url=url, wait="complete"
        )

    async def evaluate(self, script: str) -> Any:
        """Return a script's value as JSON; it counts as a user gesture."""
        answer = await self._order(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({script})) ?? 'null')()",
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    async def until(self, script: str, *, within_s: float) -> Any:
        """Wait until a script's value is true, and return it."""
        try:
            async with asyncio.timeout(within_s):
                while not (worth := await self.evaluate(script)):  # noqa: ASYNC110 - nothing tells us
                    await asyncio.sleep(0.05)
        except TimeoutError:
            shown = await self.evaluate("document.body.innerText")
            raise AssertionError(f"never: {script}\n{shown}\n{self.errors}") from None
        return worth

    async def read(self) -> None:
        """Read what the browser says, until cancelled."""
        async for message in self._socket:
            said = json.loads(message.data)
            if waiting := self._answers.pop(said.get("id", 0), None):
                if not waiting.done():  # no waiter may hang any more
                    waiting.set_result(said)
            elif said.get("method") == "log.entryAdded":
                self._note(said["params"])
            elif said.get("method") == "network.beforeRequestSent":
                self._check(said["params"]["request"]["url"])

    async def begin(self) -> None:
        """Open a session and take its tab."""
        await self._order("session.new", capabilities={})
        events = ["log.entryAdded", "network.beforeRequestSent"]
        await self._order("session.subscribe", events=events)
        tree = await self._order("browsingContext.getTree")
        self._context = tree["contexts"][0]["context"]

    async def _order(self, method: str, **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        waiting = self._answers[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(READY_S):
            answer = await waiting
        if answer["type"] == "error":
            raise AssertionError(f"{method}: {answer['error']}: {answer['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _note(self, entry: dict[str, Any]) -> None:
        if entry["level"] in {"error", "warn"} and entry["source"].get("context") == self._context:
            self.errors.append(f"{entry['level']}: {entry['text']}")

    def _check(self, url: str) -> None:
        if not url.startswith((self._server, "data:", "blob:")):
            self.foreign.append(url)


@asynccontextmanager
async def firefox(folder: Path, *, sound: Mapping[str, str]) -> AsyncIterator[Tab]:
    """Run Firefox with a profile of its own, and stop all its processes after the block.

    Args:
        folder: For the profile.
        sound: Environment variables that select a sound card: without one, the page's microphone
            meter does not move.
    """
    program = FIREFOX or report_absent("firefox-esr")
    lines = (
        f"user_pref({json.dumps(key)}, {json.dumps(each)});" for key, each in PREFERENCES.items()
    )
    profile = folder / "profile"
    profile.mkdir()
    (profile / "user.js").write_text("\n".join(lines), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(program, "--headless", "--no-remote", "--remote-debugging-port", "0"),
        *("--profile", str(profile)),
        env={**sound, "HOME": str(profile)},
        stdout=DEVNULL,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(READY_S):
            url = await _url(process)
        async with asyncio.TaskGroup() as tasks:
            draining = tasks.create_task(_drain(process))
            async with aiohttp.ClientSession() as client, client.ws_connect(url) as socket:
                tab = Tab(socket)
                reading = tasks.create_task(tab.read())
                await tab.begin()
                yield tab
                reading.cancel()
            draining.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _url(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    said: list[bytes] = []
    async for line in process.stderr:
        if found := ANSWERS.search(line):
            return f"{found[1].decode()}/session"
        said.append(line)
    raise AssertionError(f"Firefox ended without an address: {b''.join(said).decode()}")


async def _drain(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    while await process.stderr.read(65_536):
        pass
