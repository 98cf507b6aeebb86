"""The simulated Deepgram, seen by plain clients and by Deepgram's own SDK."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType
from deepgram import AsyncDeepgramClient, DeepgramClientEnvironment
from deepgram.core.events import EventType

from lab.simulators.deepgram.simulator import DeepgramSimulator
from lab.simulators.deepgram.socket import StreamLimits
from lab.simulators.faults import Fault, parse
from lab.simulators.instance import Core
from lab.simulators.schedule import Window
from tests.lab.simulators import synthetic_caller as caller
from tests.lab.simulators.near_ears import hear_near

pytestmark = pytest.mark.virtual_time

KEY = "the-key"
QUERY = "model=nova-3&encoding=linear16&sample_rate=16000&interim_results=true&punctuate=true"
BOOKING = "I would like to book an appointment for tomorrow."
UNCAPPED = StreamLimits(intake_cap=None)

Emit = dict[str, Any]


@asynccontextmanager
async def deepgram(**options: Any) -> AsyncIterator[DeepgramSimulator]:
    options.setdefault("limits", UNCAPPED)
    core = Core(speed=options.pop("speed", 10.0), seed=1)
    instance = DeepgramSimulator("deepgram", api_key=KEY, core=core, **options)
    hear_near(instance)
    await instance.start()
    try:
        yield instance
    finally:
        await instance.stop()


class Client:
    """One websocket to the simulator and its messages."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws
        self.told: list[Emit] = []
        self.texts: list[str] = []

    async def say(self, text: str, *, voice: str = "american") -> None:
        await self.send(caller.silence(0.3) + caller.say(text, voice=voice) + caller.silence(0.22))

    async def send(self, pcm: bytes) -> None:
        for at in range(0, len(pcm), 6400):
            await self.ws.send_bytes(pcm[at : at + 6400])

    async def order(self, kind: str) -> None:
        await self.ws.send_json({"type": kind})

    async def until(self, wanted: Callable[[Emit], bool], *, limit_s: float = 5.0) -> Emit:
        async with asyncio.timeout(limit_s):
            while True:
                told = await self.next()
                if wanted(told):
                    return told

    async def next(self) -> Emit:
        message = await self.ws.receive()
        if message.type is not WSMsgType.TEXT:
            raise ConnectionResetError(f"{message.type.name} {self.ws.close_code}")
        self.texts.append(message.data)
        told: Emit = json.loads(message.data)
        self.told.append(told)
        return told

    async def rest(self, *, limit_s: float = 5.0) -> str:
        """Read to the end; return how the connection ended."""
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    await self.next()
        except ConnectionResetError as end:
            return str(end)
        except TimeoutError:
            return "open"

    @property
    def transcripts(self) -> list[str]:
        results = (told for told in self.told if told["type"] == "Results" and told["is_final"])
        return [text for told in results if (text := transcript(told))]


@asynccontextmanager
async def listening(instance: DeepgramSimulator, query: str = QUERY) -> AsyncIterator[Client]:
    headers = {"Authorization": f"Token {KEY}"}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{instance.url}/v1/listen?{query}", headers=headers) as ws,
    ):
        yield Client(ws)


def transcript(told: Emit) -> str:
    return str(told["channel"]["alternatives"][0]["transcript"])


def finalized(told: Emit) -> bool:
    return bool(told.get("from_finalize"))


def ended(told: Emit) -> bool:
    return told["type"] == "Metadata"


def one(fault: Fault) -> tuple[Window, ...]:
    return (Window(fault=fault),)


async def settled(condition: Callable[[], bool], *, limit_s: float = 2.0) -> None:
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.005)


# -- a healthy stream


async def test_speech_becomes_interim_results_and_a_final_one_that_answers_finalize() -> None:
    async with deepgram() as instance, listening(instance) as client:
        await client.say(BOOKING)
        await client.order("Finalize")
        final = await client.until(finalized)

    interim = [told for told in client.told if told["type"] == "Results" and not told["is_final"]]
    assert any(transcript(told) for told in interim)
    assert transcript(final) == BOOKING
    assert final["is_final"]
    assert final["channel_index"] == [0, 1]
    alternative = final["channel"]["alternatives"][0]
    assert [word["word"] for word in alternative["words"]] == BOOKING.lower().strip(".").split()
    assert alternative["words"][-1]["punctuated_word"] == "tomorrow."
    assert all(0 <= word["confidence"] <= 1 for word in alternative["words"])
    assert 0 < alternative["confidence"] <= 1
    assert "languages" not in alternative


async def test_the_ranges_of_final_results_follow_one_another_without_a_gap() -> None:
    async with deepgram() as instance, listening(instance) as client:
        for text in ("Yes, please.", "Goodbye."):
            await client.say(text)
            await client.order("Finalize")
            await client.until(finalized)

    finals = [told for told in client.told if told["is_final"]]
    for before, after in itertools.pairwise(finals):
        assert after["start"] == pytest.approx(before["start"] + before["duration"])
    assert client.transcripts == ["Yes please.", "Goodbye."]


async def test_close_stream_brings_the_last_words_the_metadata_and_a_clean_end() -> None:
    async with deepgram() as instance, listening(instance) as client:
        await client.say("Goodbye.")
        await client.order("CloseStream")
        metadata = await client.until(ended)
        end = await client.rest()

        assert client.transcripts == ["Goodbye."]
        assert metadata["channels"] == 1
        assert metadata["duration"] > 0.9
        assert end == "CLOSE 1000"
        (request,) = instance.record.requests("deepgram")
        await settled(lambda: request.outcome == "done")
        assert request.ok_auth
        assert request.well_formed
        assert request.details["finals"] == ["goodbye"]


async def test_a_pause_ends_an_utterance_and_is_reported_later() -> None:
    query = f"{QUERY}&endpointing=300&utterance_end_ms=1000&vad_events=true"
    async with deepgram() as instance, listening(instance, query) as client:
        await client.say("What are your opening hours?")
        await client.send(caller.silence(3))
        end = await client.until(lambda told: told["type"] == "UtteranceEnd")

    started = next(told for told in client.told if told["type"] == "SpeechStarted")
    assert 0.2 < started["timestamp"] < 0.6
    (final,) = (told for told in client.told if told.get("is_final") and transcript(told))
    assert final["speech_final"]
    assert transcript(final) == "What are your opening hours?"
    words = final["channel"]["alternatives"][0]["words"]
    assert end["last_word_end"] == words[-1]["end"]


async def test_audio_comes_in_at_no_more_than_its_cap() -> None:
    limits = StreamLimits(intake_cap=1.25)
    async with deepgram(speed=10, limits=limits) as instance, listening(instance) as client:
        loop = asyncio.get_running_loop()
        before = loop.time()
        await client.send(caller.silence(5))
        await client.order("Finalize")
        await client.until(finalized)

    assert loop.time() - before == pytest.approx((5 - 0.25) / 12.5, abs=0.01)


# -- what it refuses


@pytest.mark.parametrize(
    "query",
    [
        "model=nova-9",
        "model=nova-3&language=xx",
        "model=base&language=multi",
        "model=nova-3&keywords=haircut",
        "model=nova-3&alternatives=3",
        "model=nova-2-phonecall&alternatives=2",
        "model=base&alternatives=0",
        "model=base&alternatives=many",
        "model=nova-3&encoding=linear16",
        "model=nova-3&encoding=linear16&sample_rate=fast",
        "model=nova-3&encoding=smoke&sample_rate=8000",
        "model=nova-3&interim_results=perhaps",
        "model=nova-3&endpointing=-5",
        "model=nova-3&utterance_end_ms=500&interim_results=true",
        "model=nova-3&detect_language=true",
    ],
)
async def test_a_meaningless_query_is_refused_before_the_stream(query: str) -> None:
    async with deepgram() as instance:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with listening(instance, query):
                pass

        assert refusal.value.status == 400
        headers = refusal.value.headers
        assert headers is not None
        assert headers["dg-error"]
        assert headers["dg-request-id"]
        assert not instance.record.requests("deepgram")[0].well_formed


@pytest.mark.parametrize("keeps", [False, True], ids=["silent client", "keep-alives only"])
async def test_a_stream_without_audio_is_closed(keeps: bool) -> None:  # noqa: FBT001 - a case
    limits = StreamLimits(idle_s=0.15, first_audio_s=0.3)
    async with deepgram(limits=limits) as instance, listening(instance) as client:

        async def keep_alive() -> None:
            while keeps:
                await client.order("KeepAlive")
                await asyncio.sleep(0.05)

        keeping = asyncio.get_running_loop().create_task(keep_alive())
        before = asyncio.get_running_loop().time()
        assert await client.rest() == "CLOSE 1011"
        keeping.cancel()

    took_s = asyncio.get_running_loop().time() - before
    assert took_s == pytest.approx(0.3 if keeps else 0.15, abs=0.05)


# -- faults


async def spoken_to(instance: DeepgramSimulator, client: Client) -> str:
    await client.say(BOOKING)
    await client.order("CloseStream")
    return await client.rest(limit_s=1.0)


@pytest.mark.parametrize(
    ("how", "end"), [("reset", "CLOSED 1006"), ("close", "CLOSE 1000"), ("error", "CLOSE 1011")]
)
async def test_a_cut_comes_after_the_given_words(how: str, end: str) -> None:
    async with deepgram() as instance, listening(instance) as client:
        instance.set_faults(one(parse({"fault": "cut", "after_words": 4, "how": how})))

        ended_as = await spoken_to(instance, client)

    shown = [transcript(told) for told in client.told if told["type"] == "Results"]
    assert max(len(text.split()) for text in shown) == 4
    assert client.transcripts == []
    assert ended_as in (end, end.replace("CLOSED 1006", "ERROR 1006"))


async def test_duplicated_results_are_sent_twice() -> None:
    async with deepgram() as instance, listening(instance) as client:
        instance.set_faults(one(parse({"fault": "duplicate"})))
        await client.say("Goodbye.")
        await client.order("Finalize")
        await client.until(finalized)
        await client.until(finalized)

    assert client.transcripts == ["Goodbye."] * 2
    assert client.texts[-1] == client.texts[-2]


# -- the official SDK, unmodified


def official(instance: DeepgramSimulator, *, key: str = KEY) -> AsyncDeepgramClient:
    http = f"{instance.server.base_url('http')}"
    environment = DeepgramClientEnvironment(
        base=http, production=instance.url, agent=instance.url, agent_rest=http
    )
    return AsyncDeepgramClient(api_key=key, environment=environment)


async def test_the_official_sdk_streams_and_understands_every_message() -> None:
    messages: list[Any] = []
    async with deepgram() as instance:
        async with official(instance).listen.v1.connect(
            model="nova-3",
            encoding="linear16",
            sample_rate="16000",
            interim_results="true",
            vad_events="true",
            punctuate="true",
        ) as connection:
            connection.on(EventType.MESSAGE, messages.append)
            listening_task = asyncio.get_running_loop().create_task(connection.start_listening())
            await connection.send_media(caller.silence(0.3) + caller.say(BOOKING))
            await connection.send_keep_alive()
            await connection.send_media(caller.silence(0.22))
            await connection.send_finalize()
            await connection.send_close_stream()
            async with asyncio.timeout(5):
                await listening_task

        kinds = {type(message).__name__ for message in messages}
        assert kinds == {"ListenV1Results", "ListenV1SpeechStarted", "ListenV1Metadata"}
        final = next(m for m in messages if getattr(m, "from_finalize", False))
        assert final.channel.alternatives[0].transcript == BOOKING
        assert instance.record.requests("deepgram")[0].well_formed


async def test_the_official_sdk_transcribes_a_file_and_lists_projects() -> None:
    pcm = caller.silence(0.3) + caller.say("Goodbye.") + caller.silence(0.5)
    async with deepgram() as instance:
        client = official(instance)
        heard = await client.listen.v1.media.transcribe_file(
            request=caller.as_wav(pcm), model="nova-3"
        )
        projects = await client.manage.v1.projects.list()

    (channel,) = heard.model_dump()["results"]["channels"]
    assert channel["alternatives"][0]["transcript"] == "goodbye"
    assert len(projects.projects or []) == 1
