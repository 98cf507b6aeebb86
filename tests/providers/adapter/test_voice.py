"""Any Pipecat voice behind the adapter: what it reports to the stage, and when it reconnects."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import groupby
from typing import Any

import pytest
from pipecat.frames.frames import (
    AggregatedTextFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
)
from pipecat.utils.text.base_text_aggregator import TextType
from websockets.asyncio.server import ServerConnection, serve

from calls.voice import ATTEMPT
from configuration.agent import AgentSettings
from configuration.rungs import rung_of
from configuration.stages import RungSettings
from fallbacks.failure import Failure, Kind, ServiceError
from providers.adapter import voice
from providers.facts import RungFacts
from providers.provider import ProbeFailedError, RungSpec
from tests.kit.bench import Bench, running
from tests.kit.waiting import until
from tests.providers.adapter.own_voices import FILES, HERE, LoadedOnce, tone
from tests.providers.test_tapped_voice import Ear, change

pytestmark = pytest.mark.virtual_time
CAREFUL = RungFacts()


def rung(name: str = "InlineVoice", plan: str = "speak", **more: Any) -> RungSpec:
    given: dict[str, Any] = {"facts": CAREFUL, "sample_rate_hz": 8000, "api_key": "KEY", "url": ""}
    init = {} if name == "SocketVoice" else {"plan": plan}
    place = {"kind": "pipecat", "service": f"{HERE}:{name}", "init": init}
    return RungSpec(name="it", stage="tts", **{**given, **place, **more})


def attempt(number: int, *texts: str) -> list[Any]:
    start = LLMFullResponseStartFrame()
    start.metadata[ATTEMPT] = number
    spoken = [AggregatedTextFrame(text, TextType.SENTENCE, raw_text=text) for text in texts]
    return [start, *spoken, LLMFullResponseEndFrame()]


@asynccontextmanager
async def heard(spec: RungSpec) -> AsyncIterator[tuple[Bench, Ear]]:
    ear, service = Ear(), voice.build(spec)
    service.listen(ear)
    async with running(service, rate_hz=spec.sample_rate_hz) as bench:
        yield bench, ear
        await bench.worker.cancel()


async def told(ear: Ear, met: Any) -> None:
    await until(lambda: met(ear.told), within_s=5.0)


def failures(ear: Ear) -> list[Failure]:
    events = [item[1] for item in ear.told if isinstance(item, tuple)]
    return [event for event in events if isinstance(event, Failure)]


def sound_s(ear: Ear, number: int, rate_hz: int = 8000) -> float:
    sizes = [item[1] for item in ear.told if isinstance(item, tuple) and item[0] == number]
    return sum(size for size in sizes if isinstance(size, int)) / 2 / rate_hz


@pytest.mark.parametrize("rate_hz", [8000, 16000, 24000, 48000])
async def test_sound_comes_at_the_legs_rate_and_the_end_after_it(rate_hz: int) -> None:
    async with heard(rung(rate_hz=rate_hz)) as (bench, ear):
        await bench.put(*attempt(7, "One two.", "Three four."))
        await told(ear, lambda items: 7 in items)

    assert ear.told[0] == "connected"
    assert sound_s(ear, 7) == pytest.approx(2.0, abs=0.01)
    assert ear.told[-1] == 7
    assert ear.told.count((7, "text")) == 2  # each text has a request of its own
    assert not failures(ear)


async def test_samples_torn_between_two_pieces_are_put_together() -> None:
    async with heard(rung(plan="torn", rate_hz=16000)) as (bench, ear):
        await bench.put(*attempt(1, "One two."))
        await told(ear, lambda items: 1 in items)

    assert sound_s(ear, 1) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("reuses", [True, False])
async def test_word_times_count_from_the_beginning_of_their_context(reuses: bool) -> None:  # noqa: FBT001
    init = {"plan": "timed", "reuse_context_id_within_turn": reuses}
    spec = rung(facts=RungFacts(word_times=True), rate_hz=8000)
    async with heard(replace(spec, init=init)) as (bench, ear):
        await bench.put(
            *attempt(1, "One two.", "One two.") if not reuses else attempt(1, "One two.")
        )
        await told(ear, lambda items: 1 in items)

    starts = [item[2] for item in ear.told if isinstance(item, tuple) and len(item) == 4]
    assert starts == pytest.approx([0.0, 0.2] if reuses else [0.0, 0.2, 0.5, 0.7])


async def test_sound_that_a_service_pushes_itself_is_reported_once() -> None:
    async with heard(rung(plan="pushed", rate_hz=8000)) as (bench, ear):
        await bench.put(*attempt(1, "One two."))
        await told(ear, lambda _: sound_s(ear, 1))
        await asyncio.sleep(0.1)

    assert sound_s(ear, 1) == pytest.approx(0.5)


@pytest.mark.parametrize(
    "plan",
    [
        *("odd", "text", "output frame", "list", "stereo", "no rate", "backwards", "beyond"),
        *("ends", "cancelled"),
    ],
)
async def test_what_no_healthy_voice_produces_is_a_failure_of_the_protocol(plan: str) -> None:
    facts = RungFacts(word_times=True)
    async with heard(rung(plan=plan, facts=facts)) as (bench, ear):
        await bench.put(*attempt(1, "One two."))
        await told(ear, lambda _: failures(ear))

        assert [failure.kind for failure in failures(ear)] == [Kind.PROTOCOL]
        assert 1 not in ear.told
        bench.service.plan = "speak"  # type: ignore[attr-defined]
        await bench.put(*attempt(2, "One two."))
        await told(ear, lambda items: 2 in items)


@pytest.mark.parametrize("rate_hz", [8000, 16000])
@pytest.mark.parametrize("file", FILES)
async def test_a_sound_file_fails_before_it_is_played_as_samples(file: str, rate_hz: int) -> None:
    async with heard(rung(plan=file, rate_hz=rate_hz)) as (bench, ear):
        await bench.put(*attempt(1, "One two.", "Three."))
        await told(ear, lambda items: failures(ear) or 1 in items)

    assert [failure.kind for failure in failures(ear)] == [Kind.PROTOCOL]
    assert sound_s(ear, 1) == 0


@pytest.mark.parametrize(
    ("plan", "kind"),
    [
        ("error", Kind.OVERLOADED),
        ("cut", Kind.CUT),
        ("permanent", Kind.AUTH),
        ("exits", Kind.PROTOCOL),
        ("cancels", Kind.PROTOCOL),
    ],
)
async def test_every_error_is_a_failure_and_the_service_stays_usable(plan: str, kind: Kind) -> None:
    async with heard(rung(plan=plan)) as (bench, ear):
        await bench.put(*attempt(1, "One two."))
        await told(ear, lambda _: failures(ear))

        assert [failure.kind for failure in failures(ear)] == [kind]
        assert bench.service.is_usable  # type: ignore[attr-defined]
        assert not bench.errors()


@pytest.mark.parametrize("plan", ["swallow", "deaf"])
async def test_a_service_that_swallows_its_cancellation_is_abandoned(plan: str) -> None:
    async with heard(rung(plan=plan)) as (bench, ear):
        await bench.put(*attempt(1, "One two."))
        await told(ear, lambda _: sound_s(ear, 1))
        began = asyncio.get_running_loop().time()
        await bench.put(InterruptionFrame())
        await bench.first(InterruptionFrame)
        assert asyncio.get_running_loop().time() - began < 1.2
        before = sound_s(ear, 1)
        bench.service.plan = "speak"  # type: ignore[attr-defined]
        await bench.put(*attempt(2, "One two."))
        await told(ear, lambda items: 2 in items)

    assert bench.service.swallowed  # type: ignore[attr-defined]
    assert sound_s(ear, 1) == before
    assert sound_s(ear, 2) == pytest.approx(1.0, abs=0.01)


class OwnServer:
    """Speaks the protocol of `SocketVoice`; `late` goes on after the client has interrupted."""

    def __init__(self) -> None:
        self.connections = 0
        self.plan = "speak"
        self.texts: list[str] = []

    async def serve(self, socket: ServerConnection) -> None:
        self.connections += 1
        async for message in socket:
            asked = json.loads(message)
            if "text" in asked:
                self.texts.append(asked["text"])
            elif self.plan == "end":
                await socket.send("end")
            elif self.plan == "odd":
                await socket.send(tone(0.1)[:-1])
            elif self.plan == "close":
                await socket.send(tone(0.1))
                await socket.close(1011)
            else:
                await self.speak(socket)

    async def speak(self, socket: ServerConnection) -> None:
        for _ in range(10):
            await socket.send(tone(0.2))
            await asyncio.sleep(0.05)
        await socket.send("end")


@asynccontextmanager
async def own_server() -> AsyncIterator[tuple[OwnServer, RungSpec]]:
    own = OwnServer()
    async with serve(own.serve, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield own, rung("SocketVoice", url=f"ws://127.0.0.1:{port}", rate_hz=16000)


async def test_a_socket_voice_reports_its_connection_its_sound_and_its_end() -> None:
    async with own_server() as (_, spec), heard(spec) as (bench, ear):
        await bench.put(*attempt(1, "One two.", "Three."))
        await told(ear, lambda items: 1 in items)

    assert ear.told[:2] == ["connecting", "connected"]
    assert sound_s(ear, 1) == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("gap_s", [0.0, 0.05, 0.3])
async def test_no_late_sound_of_an_interrupted_attempt_gets_into_the_next(gap_s: float) -> None:
    async with own_server() as (own, spec), heard(spec) as (bench, ear):
        await bench.put(*attempt(1, "One two."))
        await told(ear, lambda _: sound_s(ear, 1))
        await bench.put(InterruptionFrame())
        await asyncio.sleep(gap_s)
        await bench.put(*attempt(2, "Three four."))
        await told(ear, lambda items: 2 in items)

    assert own.connections == 2
    assert sound_s(ear, 2) == pytest.approx(2.0, abs=0.01)


async def test_a_voice_that_hangs_when_interrupted_is_abandoned_and_its_socket_aborted() -> None:
    hangs = {"service": f"{HERE}:HangingVoice"}
    async with own_server() as (own, spec), heard(replace(spec, **hangs)) as (bench, ear):
        await bench.put(*attempt(1, "One two."))
        await told(ear, lambda _: sound_s(ear, 1))
        await bench.put(InterruptionFrame())
        await bench.put(*attempt(2, "Three four."))
        await told(ear, lambda items: 2 in items)

    assert own.connections == 2
    assert sound_s(ear, 2) == pytest.approx(2.0, abs=0.01)


async def test_a_voice_that_can_be_neither_silenced_nor_reconnected_is_out_for_the_call() -> None:
    async with heard(rung("GuessingVoice", rate_hz=8000)) as (bench, ear):
        await bench.put(*attempt(1, "One two."))
        await told(ear, lambda _: sound_s(ear, 1))
        await bench.put(InterruptionFrame())
        await told(ear, lambda items: isinstance(items[-1], Failure))
        await bench.service.revive()  # type: ignore[attr-defined]
        await bench.put(*attempt(2, "Three."))
        await told(ear, lambda _: failures(ear))

    assert sound_s(ear, 2) == 0
    ear.told.pop()
    assert [(item.kind, item.permanent) for item in ear.told[-2:]] == 2 * [(Kind.PROTOCOL, True)]


async def test_a_voice_that_cancels_keeps_its_connection() -> None:
    cancels = RungFacts(cancels=True)
    async with own_server() as (own, spec), heard(replace(spec, facts=cancels)) as (bench, ear):
        await bench.put(*attempt(1, "One two."))
        await told(ear, lambda _: sound_s(ear, 1))
        await bench.put(InterruptionFrame())
        await bench.first(InterruptionFrame)

    assert own.connections == 1


async def test_an_interruption_after_the_end_keeps_the_connection() -> None:
    async with own_server() as (own, spec), heard(spec) as (bench, ear):
        await bench.put(*attempt(1, "One two."))
        await told(ear, lambda items: 1 in items)
        await bench.put(InterruptionFrame())
        await bench.first(InterruptionFrame)
        await asyncio.sleep(0.1)

    assert own.connections == 1


@pytest.mark.parametrize("rate_hz", [8000, 16000])
@pytest.mark.parametrize("plan", ["end", "odd"])
async def test_an_end_before_the_sound_and_half_a_sample_are_failures(
    plan: str, rate_hz: int
) -> None:
    async with own_server() as (own, spec), heard(replace(spec, rate_hz=rate_hz)) as (bench, ear):
        own.plan = plan
        await bench.put(*attempt(1, "One two."))
        await told(ear, lambda _: failures(ear))

    assert [failure.kind for failure in failures(ear)] == [Kind.PROTOCOL]


async def test_a_lost_connection_is_reported_once_and_restored_only_by_the_stage() -> None:
    async with own_server() as (own, spec), heard(spec) as (bench, ear):
        own.plan = "close"
        await bench.put(*attempt(1, "One two."))
        await told(ear, lambda items: isinstance(items[-1], Failure))
        await bench.put(*attempt(2, "Three."))
        await told(ear, lambda _: failures(ear))
        assert own.connections == 1

        own.plan = "speak"
        await bench.service.revive()  # type: ignore[attr-defined]
        await bench.put(*attempt(3, "Three."))
        await told(ear, lambda items: 3 in items)

    assert [item.kind for item in ear.told if isinstance(item, Failure)] == [Kind.CUT]
    assert own.connections == 2


async def test_two_reconnections_at_once_follow_each_other() -> None:
    async with own_server() as (own, spec), heard(spec) as (bench, ear):
        await told(ear, lambda items: "connected" in items)
        ear.told.clear()
        await asyncio.gather(bench.service.reconnect(), bench.service.reconnect())  # type: ignore[attr-defined]
        await bench.put(*attempt(1, "One two."))
        await told(ear, lambda items: 1 in items)

    reports = [item for item in ear.told if isinstance(item, str)]
    # The service and its socket each report that they connect.
    assert [report for report, _ in groupby(reports)] == 2 * ["connecting", "connected"]
    assert own.connections == 3
    assert sound_s(ear, 1) == pytest.approx(2.0, abs=0.01)


async def test_a_voice_without_a_listener_keeps_its_connection() -> None:
    async with own_server() as (own, spec), running(voice.build(spec), rate_hz=8000) as bench:
        await until(lambda: own.connections, within_s=5.0)
        socket = bench.service._websocket  # type: ignore[attr-defined]
        await bench.service.reconnect()  # type: ignore[attr-defined]

        assert bench.service._websocket is socket  # type: ignore[attr-defined]
        assert own.connections == 1


async def test_a_refused_connection_is_unreachable() -> None:
    spec = rung("SocketVoice", url="ws://127.0.0.1:9")
    async with heard(spec) as (_, ear):
        await told(ear, lambda items: isinstance(items[-1], Failure))

    assert [type(item) for item in ear.told] == [str, Failure]
    assert ear.told[1].kind is Kind.NETWORK


async def test_a_local_voice_is_constructed_once_and_its_model_is_shared() -> None:
    LoadedOnce.loads = 0
    spec = rung("LoadedOnce", facts=RungFacts(is_local=True))
    loaded = voice.share(spec)
    shared = replace(spec, shared=loaded)
    calls = [voice.build(replace(shared, sample_rate_hz=rate)) for rate in (8000, 16000)]

    assert LoadedOnce.loads == 1
    assert calls[0] is not calls[1]
    assert calls[0]._voice_model is calls[1]._voice_model
    assert calls[0].settings is not calls[1].settings
    for call, rate_hz in zip(calls, (8000, 16000), strict=True):
        ear = Ear()
        call.listen(ear)
        async with running(call, rate_hz=rate_hz) as bench:
            await bench.put(*attempt(1, "One two."))
            await told(ear, lambda items: 1 in items)
            await bench.worker.cancel()
        assert sound_s(ear, 1, rate_hz) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(
    ("plan", "kind"),
    [("nothing", Kind.SILENT), ("error", Kind.OVERLOADED), ("deaf", None), ("text", Kind.PROTOCOL)],
)
async def test_a_real_probe_tells_the_kind_of_failure(plan: str, kind: Kind | None) -> None:
    spec = rung(plan=plan)
    if kind is None:  # two words of a voice that never ends are enough
        await voice.probe_real(spec, timeout_s=2.0)
        return
    with pytest.raises(ProbeFailedError) as failed:
        await voice.probe_real(spec, timeout_s=2.0)

    assert failed.value.failure(spec).kind is kind


@pytest.mark.parametrize("end", [InterruptionFrame, LLMFullResponseStartFrame])
async def test_changes_of_settings_during_a_reply_are_all_applied_after_it(
    end: type[Frame],
) -> None:
    async with heard(rung()) as (bench, _):
        await bench.put(LLMFullResponseStartFrame())
        await bench.put(change(language="es", voice="other"), change(voice="third"))
        await bench.put(change(language="de"))
        await asyncio.sleep(0.2)
        during = (bench.service._settings.voice, bench.service._settings.language)
        await bench.put(end())
        await asyncio.sleep(0.2)

    assert during == (None, None)
    assert (bench.service._settings.voice, str(bench.service._settings.language)) == ("third", "de")


async def test_a_change_after_a_reply_is_applied_after_those_during_it() -> None:
    async with heard(rung()) as (bench, ear):
        start, *rest = attempt(1, "One two.")
        await bench.put(start, change(voice="first"), *rest)
        await told(ear, lambda items: 1 in items)
        await bench.put(change(voice="second"), *attempt(2, "Three four."))
        await told(ear, lambda items: 2 in items)

    assert bench.service._settings.voice == "second"


async def test_a_whole_text_is_synthesised() -> None:
    pcm = await voice.synthesise(rung(rate_hz=24000), "One two.")

    assert len(pcm) == pytest.approx(16000, abs=100)


async def test_a_text_of_which_the_end_is_missing_is_a_failure() -> None:
    with pytest.raises(ServiceError) as failed:
        await voice.synthesise(rung(plan="cut"), "One two.")

    assert failed.value.failure.kind is Kind.CUT


@pytest.mark.parametrize(
    ("named", "rate_hz"),
    [
        ({"kind": "pipecat", "service": f"{HERE}:InlineVoice", "init": {"plan": "speak"}}, 8000),
        ({"kind": "pipecat", "service": f"{HERE}:InlineVoice", "rate_hz": 16000}, 16000),
        ({"kind": "aura"}, 8000),
        ({"kind": "openai"}, 24000),
    ],
    ids=["own", "own at its rate", "aura", "openai"],
)
def test_a_voice_needs_no_more_than_its_name_in_the_configuration(
    named: dict[str, Any], rate_hz: int
) -> None:
    settings = RungSettings.model_validate({"name": "it", **named})
    spec = rung_of(settings, "tts", agent=AgentSettings(), sample_rate_hz=8000)

    service = voice.build(replace(spec, api_key="KEY"))

    assert service._init_sample_rate == rate_hz
