"""A simulated voice that speaks the protocol of `own_voices.SocketVoice`, with the lab's faults."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from lab.simulators.aura.simulator import AuraSimulator, AuraSocket
from lab.simulators.instance import ADMISSION, Core
from lab.simulators.lab import Lab
from providers.facts import RungFacts
from providers.provider import RungSpec
from tests.providers.adapter.own_voices import HERE


class OwnSocket(AuraSocket):
    """Texts and flushes in JSON, sound in binary messages, and `end`."""

    async def send(self, message: Mapping[str, Any] | str) -> None:
        if isinstance(message, Mapping) and message["type"] == "Flushed":
            await self.ws.send_str("end")

    async def _obey_message(self, asked: dict[str, Any], tasks: Any) -> None:
        said = {"type": "Speak", **asked} if "text" in asked else {"type": "Flush"}
        await super()._obey_message(said, tasks)


class OwnSimulator(AuraSimulator):
    """Its account; it never falls silent before its text is spoken."""

    def is_authorised(self, request: web.Request) -> bool:
        return request.headers.get("x-key") == self.api_key

    async def _serve_socket(self, request: web.Request) -> web.StreamResponse:
        await self.admit(request)
        assert request[ADMISSION]
        rate_hz = int(request.headers["x-rate"])
        return await OwnSocket(self, self.voice, request, rate_hz=rate_hz).serve()


@asynccontextmanager
async def own_voice(lab: Lab) -> AsyncIterator[tuple[OwnSimulator, RungSpec]]:
    """Run the voice beside a lab; yield it and its rung, as the configuration names it."""
    peer = OwnSimulator("own", core=Core(record=lab.record))
    await peer.start()
    try:
        yield (
            peer,
            RungSpec(
                name="own",
                stage="tts",
                kind="pipecat",
                service=f"{HERE}:SocketVoice",
                url=f"{peer.url}/v1/speak",
                api_key=peer.api_key,
                sample_rate_hz=8000,
                rate_hz=16000,
                facts=RungFacts(),
            ),
        )
    finally:
        await peer.stop()
