"""A real SIP phone, baresip, and the person at it, who dials, speaks, presses keys and listens."""

import asyncio
import contextlib
import json
import signal
import socket
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from tests.peers.children import Child, UnprovenError, free_ports, port_range, program

RATE_HZ: Final = 8_000
HEADER_BYTES: Final = 44
LOOK_S: Final = 0.01
# A file that has ended sends no RTP, and a phone without RTP counts as vanished.
SILENCE_AFTER_S: Final = 120.0
WAIT_S: Final = 30.0  # a guard
RTP_FROM: Final = 16_000
RTP_PORTS: Final = 20
MODULES: Final = Path("/usr/lib/baresip/modules")
CONFIG: Final = """
module_path {modules}
sip_listen 127.0.0.1:{sip_port}
net_interface 127.0.0.1
rtp_ports {rtp_first}-{rtp_last}
audio_source aufile,{silence}
audio_player aubridge,sink
audio_alert aubridge,alert
ctrl_tcp_listen 127.0.0.1:{control_port}
snd_path {folder}
call_max_calls {lines}
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module_tmp uuid.so
module_tmp account.so
module_app menu.so
module_app ctrl_tcp.so
"""

Pcm = NDArray[np.int16]
Answer = Literal["at_once", "busy", "never"]
"""The person's reaction when it rings."""


class SipPhone:
    """A phone and the person at it.

        async with sip_phone(folder) as phone:
            await phone.dial(media_server.uri())
            await phone.until("CALL_ESTABLISHED")
            await phone.say(caller_says("Where are you?"))
            phone.heard()

    Attributes:
        uri: What others dial to reach it.
        events: What baresip told of its calls, as it told it: `type`, `param`, ...
    """

    def __init__(
        self,
        folder: Path,
        child: Child,
        writer: asyncio.StreamWriter,
        *,
        uri: str,
        answer: Answer,
    ) -> None:
        self.folder, self.uri = folder, uri
        self.events: list[dict[str, Any]] = []
        self._child, self._writer, self._answer = child, writer, answer
        self._replies: asyncio.Queue[dict[str, Any]] = asyncio.Queue(maxsize=100)
        self._changed = asyncio.Event()
        self._said = 0
        self._grown: dict[str, list[tuple[float, int]]] = {"dec": [], "enc": []}

    @property
    def address(self) -> str:
        """Host and port of it, as a trunk has them."""
        return self.uri.rpartition("@")[2]

    # -- what a person does

    async def dial(self, uri: str) -> None:
        """Call an address; the phone's `CALL_ESTABLISHED` tells that it was answered."""
        await self.command("dial", uri)

    async def hang_up(self) -> None:
        """Hang up."""
        await self.command("hangup")

    async def press(self, keys: str) -> None:
        """Press keys, one after the other, as RFC 4733 events."""
        for key in keys:
            await self.command("sndcode", key)
            await asyncio.sleep(0.15)  # as fast as a person
            await self.command("sndcode", "\x04")  # baresip's word for letting go

    async def say(self, samples: Pcm, *, then_s: float = SILENCE_AFTER_S) -> float:
        """Speak, and return when the last sample has left: that moment, on the loop's clock.

        Args:
            samples: 8000 Hz.
            then_s: Seconds of silence that follow; afterwards no RTP leaves this phone.
        """
        loop = asyncio.get_running_loop()
        self._said += 1
        path = self.folder / f"say-{self._said}.wav"
        after = np.zeros(round(then_s * RATE_HZ), np.int16)
        write_wav(path, np.concatenate([samples, after]))
        began = loop.time()
        await self.command("ausrc", f"aufile,{path}")
        await asyncio.sleep(samples.size / RATE_HZ)
        return began + samples.size / RATE_HZ

    async def fall_silent(self) -> None:
        """Send no more RTP, as a phone that is muted or saves bandwidth."""
        await self.say(np.zeros(RATE_HZ // 50, np.int16), then_s=0.0)

    def freeze(self) -> None:
        """Send and receive nothing, as a phone without a network."""
        self._child.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Continue where it was frozen."""
        self._child.signal(signal.SIGCONT)

    def vanish(self) -> None:
        """Vanish, as a phone whose battery is empty: no BYE, no RTP."""
        self._child.kill()

    # -- what a person notices

    def heard(self) -> Pcm:
        """Return all that was heard in its calls so far, 8000 Hz."""
        return self._dump("dec")

    def spoken(self) -> Pcm:
        """Return all that left its microphone so far, 8000 Hz."""
        return self._dump("enc")

    def heard_at(self, sample: int) -> float:
        """Return when a sample was heard, on the loop's clock, to within some 10 ms."""
        return self._at("dec", sample)

    def spoken_at(self, sample: int) -> float:
        """Return when a sample left, on the loop's clock, to within some 10 ms."""
        return self._at("enc", sample)

    def grown(self, kind: Literal["dec", "enc"]) -> list[tuple[float, int]]:
        """Return the times at which numbers of samples had been heard (`dec`) or said (`enc`)."""
        return list(self._grown[kind])

    def told(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of a kind, such as `CALL_CLOSED`."""
        return [event for event in self.events if event.get("type") == kind]

    async def until(self, kind: str, *, count: int = 1, within_s: float = WAIT_S) -> dict[str, Any]:
        """Return the first event of a kind, or the one that completes the count."""
        async with asyncio.timeout(within_s):
            while len(found := self.told(kind)) < count:
                self._changed.clear()
                await self._changed.wait()
        return found[count - 1]

    async def until_heard(self, true: Callable[[Pcm], object], *, within_s: float = WAIT_S) -> Pcm:
        """Return the heard sound once `true` holds for it."""
        async with asyncio.timeout(within_s):
            while not true(sound := self.heard()):  # noqa: ASYNC110 - a file grows
                await asyncio.sleep(0.05)
        return sound

    # -- the wire to baresip

    async def command(self, name: str, params: str = "") -> dict[str, Any]:
        """Send baresip a command; return its answer."""
        self._send(name, params)
        await self._writer.drain()
        async with asyncio.timeout(WAIT_S):
            while (reply := await self._replies.get()).get("token") != name:
                pass
        return reply

    def _send(self, name: str, params: str = "") -> None:
        content = json.dumps({"command": name, "params": params, "token": name}).encode()
        self._writer.write(b"%d:%s," % (len(content), content))

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Read baresip's messages until it closes."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int((await reader.readuntil(b":"))[:-1])
                self._take(json.loads((await reader.readexactly(length + 1))[:-1]))

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("response"):
            self._replies.put_nowait(message)
            return
        self.events.append(message)
        self._changed.set()
        if message.get("type") == "CALL_INCOMING" and self._answer == "busy":
            self._send("hangup")

    # -- what baresip writes of each call

    async def watch_dumps(self) -> None:
        """Record when how much heard and said sound was written."""
        loop = asyncio.get_running_loop()
        while True:
            for kind, grown in self._grown.items():
                size = sum(map(_samples, self._dumps(kind)))
                if size > (grown[-1][1] if grown else 0):
                    grown.append((loop.time(), size))
            await asyncio.sleep(LOOK_S)

    def _dumps(self, kind: str) -> list[Path]:
        return sorted(self.folder.glob(f"dump-*-{kind}.wav"))

    def _dump(self, kind: str) -> Pcm:
        """Return the sound known to be written, so that the time of each sample is known."""
        parts = [dump.read_bytes()[HEADER_BYTES:] for dump in self._dumps(kind)]
        sounds = [np.frombuffer(part[: len(part) // 2 * 2], "<i2") for part in parts]
        size = self._grown[kind][-1][1] if self._grown[kind] else 0
        return np.concatenate([np.zeros(0, np.int16), *sounds])[:size]

    def _at(self, kind: str, sample: int) -> float:
        """Return when a sample was written, by the piece that brought it."""
        at, size = next(item for item in self._grown[kind] if item[1] > sample)
        return at - (size - 1 - sample) / RATE_HZ


def _samples(path: Path) -> int:
    return max(0, path.stat().st_size - HEADER_BYTES) // 2


def write_wav(path: Path, samples: Pcm) -> None:
    """Write a recording as baresip's source wants it: 8000 Hz, mono, 16 bit."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE_HZ, samples.size, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


@contextlib.asynccontextmanager
async def sip_phone(
    folder: Path,
    *,
    answer: Answer = "at_once",
    codec: str = "PCMU/8000/1",
    lines: int = 1,
    login: tuple[str, str] | None = None,
) -> AsyncIterator[SipPhone]:
    """Run a phone until the block ends.

    Args:
        folder: Its own, for its configuration, its log and its recordings; may be missing.
        answer: The person's reaction when it rings.
        codec: As baresip writes it: PCMU/8000/1 or PCMA/8000/1.
        lines: One more call than that hears "busy" from the phone itself.
        login: The name and password that it shows when asked.

    Raises:
        UnprovenError: baresip is not here, or does not start.
    """
    baresip = program("baresip", "baresip-core")
    sip_port, (control_port,) = _adjoining_ports(), free_ports(1)
    mode = "auto" if answer == "at_once" else "manual"
    account = f"<sip:phone@127.0.0.1>;regint=0;audio_codecs={codec};ptime=20;answermode={mode}"
    if login:
        account += ";auth_user={};auth_pass={}".format(*login)
    _furnish(folder, account, sip_port=sip_port, control_port=control_port, lines=lines)
    child = Child([baresip, "-4", "-f", str(folder)], log=folder / "baresip.log", environment={})
    try:
        await asyncio.to_thread(child.until_listening, control_port)
        reader, writer = await asyncio.open_connection("127.0.0.1", control_port)
        uri = f"sip:phone@127.0.0.1:{sip_port}"
        phone = SipPhone(folder, child, writer, uri=uri, answer=answer)
        async with asyncio.TaskGroup() as tasks:
            ears = [tasks.create_task(item) for item in (phone.listen(reader), phone.watch_dumps())]
            try:
                yield phone
            finally:
                for ear in ears:
                    ear.cancel()
        writer.close()
    finally:
        await asyncio.to_thread(child.end)


def _furnish(folder: Path, account: str, *, sip_port: int, control_port: int, lines: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    silence = folder / "silence.wav"
    write_wav(silence, np.zeros(round(SILENCE_AFTER_S * RATE_HZ), np.int16))
    first, last = port_range(RTP_FROM, RTP_PORTS)
    config = CONFIG.format(
        modules=MODULES,
        sip_port=sip_port,
        rtp_first=first,
        rtp_last=last,
        silence=silence,
        control_port=control_port,
        folder=folder,
        lines=lines,
    )
    for name, content in {"config": config, "accounts": account, "contacts": ""}.items():
        (folder / name).write_text(content, encoding="utf-8")


def _adjoining_ports() -> int:
    """Return a port that is free with the one above it, on UDP and TCP: baresip takes both."""
    for _ in range(100):
        (port,) = free_ports(1, kind=socket.SOCK_DGRAM)
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                for item in (port, port + 1):
                    probe = held.enter_context(socket.socket(type=kind))
                    probe.bind(("127.0.0.1", item))
            return port
    raise UnprovenError("no two free ports in a row")
