"""The contract of every provider; a provider's test class inherits the suite of its stage.

The suites are `stt_conformance`, `llm_conformance` and `tts_conformance`.

A test class defines how its rung is built (`kind`, and for a simulated one the lab's options) and
how to break its far end (`break_peer`, `wait_until_mended`); the behaviour is tested here, once for
all providers.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from pipecat.frames.frames import (
    ErrorFrame,
)

from lab.simulators import faults
from lab.simulators.instance import Core, Instance
from lab.simulators.lab import Lab, Spec
from lab.simulators.schedule import Window
from providers.catalog import provider
from providers.provider import ProbeFailedError, Provider, RungSpec, Stage
from tests.kit.bench import Bench, running
from tests.lab.simulators.near_ears import bring_near

RATE_HZ = 16_000
PHONE_HZ = 8_000


class Conformance:
    """The contract of all stages."""

    stage: ClassVar[Stage]
    kind: ClassVar[str]
    model: ClassVar[str]  # the model in its measurements when the rung names none
    adapted: ClassVar[str] = ""  # of `kind: pipecat`: the service

    def rung(self, peer: Any, **changes: Any) -> RungSpec:
        """Return a rung at `peer`."""
        entry = self.entry
        given = {"name": "it", "stage": self.stage, "kind": self.kind, "sample_rate_hz": RATE_HZ}
        given |= {"facts": entry.facts, "service": entry.service}
        return RungSpec(**{**given, "url": "", **changes})

    @property
    def entry(self) -> Provider:
        """Its entry in the catalogue."""
        return provider(self.stage, self.kind, self.adapted)

    def service(self, peer: Any, **changes: Any) -> Any:
        """Return the service, built as a call builds it."""
        rung = self.rung(peer, **changes)
        return provider(rung.stage, rung.kind).build(rung)

    async def probe(self, peer: Any, *, timeout_s: float = 5.0, **changes: Any) -> None:
        """Send the cheap probe, as `holdline doctor` does, or else the real one."""
        rung = self.rung(peer, **changes)
        entry = self.entry
        ask = entry.probe if entry.facts.asks_cheaply or not entry.url else entry.probe_for_real
        await ask(rung, timeout_s=timeout_s)

    async def break_peer(self, peer: Any, bench: Bench) -> None:
        """Break the far end while the service is in use."""
        raise NotImplementedError

    async def wait_until_mended(self, peer: Any, bench: Bench) -> None:
        """Wait until it is healthy again."""

    async def check_nothing_left(self, peer: Any, bench: Bench) -> None:
        """Check that the service holds no resource any more."""
        raise NotImplementedError

    async def give_work(self, bench: Bench) -> None:
        """Give the service work, without waiting for its completion."""
        raise NotImplementedError

    async def finish_work(self, bench: Bench) -> None:
        """Give the service work and wait until it is done."""
        raise NotImplementedError

    async def test_a_probe_of_a_healthy_rung_succeeds(self, peer: Any) -> None:
        await self.probe(peer)


class Simulated(Conformance):
    """A provider that the lab simulates."""

    speed: ClassVar[float] = 20.0
    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    async def peer(self) -> AsyncIterator[Instance]:
        spec = Spec(name="it", kind=self.kind, options=self.options)
        core = Core(uncapped=True)  # utterances come faster than people speak
        async with bring_near(Lab([spec], speed=self.speed, core=core)) as lab:
            yield lab.instance("it")

    def rung(self, peer: Instance, **changes: Any) -> RungSpec:
        return super().rung(peer, **{"url": peer.url, "api_key": peer.api_key, **changes})

    async def break_peer(self, peer: Instance, bench: Bench) -> None:
        del bench
        peer.drop_connections()

    async def check_nothing_left(self, peer: Instance, bench: Bench) -> None:
        del bench
        async with asyncio.timeout(3.0):
            while any(request.outcome == "open" for request in peer.record.requests("it")):  # noqa: ASYNC110 - nothing tells us
                await asyncio.sleep(0.02)

    async def test_its_requests_carry_the_key_as_the_provider_wants_it(
        self, peer: Instance
    ) -> None:
        async with running(self.service(peer)) as bench:
            await self.finish_work(bench)

        requests = peer.record.requests("it")
        assert requests
        assert all(request.ok_auth and request.well_formed for request in requests)

    async def test_a_wrong_key_is_refused_and_reported(self, peer: Instance) -> None:
        async with running(self.service(peer, api_key="not-the-key")) as bench:
            await self.give_work(bench)
            await bench.first(ErrorFrame)

        assert not bench.service.is_usable
        assert "not-the-key" not in "".join(bench.errors())

    async def test_a_probe_with_a_wrong_key_says_so_in_one_line(self, peer: Instance) -> None:
        with pytest.raises(ProbeFailedError, match="401: it rejects our key") as refused:
            await self.probe(peer, api_key="not-the-key")

        assert "not-the-key" not in str(refused.value)
        assert "\n" not in str(refused.value)

    async def test_a_probe_of_a_silent_server_ends_in_time(self, peer: Instance) -> None:
        peer.set_faults([Window(fault=faults.Silent(where="handshake"))])

        with pytest.raises(ProbeFailedError, match=r"did not answer within 0\.2 s"):
            async with asyncio.timeout(2.0):
                await self.probe(peer, timeout_s=0.2)

    async def test_a_probe_of_a_closed_port_names_the_host(self, peer: Instance) -> None:
        peer.set_faults([Window(fault=faults.Refuse())])

        with pytest.raises(ProbeFailedError, match=f"127.0.0.1:{peer.server.port}"):
            await self.probe(peer)
