"""The simulated Cartesia, seen by raw HTTP and by the official SDK."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import cartesia as sdk
import numpy as np
import pytest

from lab.simulators import faults
from lab.simulators.cartesia.context import CartesiaAccount
from lab.simulators.cartesia.simulator import CartesiaSimulator
from lab.simulators.faults import Fault
from lab.simulators.instance import Core
from lab.simulators.schedule import Window

pytestmark = pytest.mark.virtual_time

VERSION = "2026-03-01"
SENTENCE = "Hello there, how are you?"
SECOND = "Fine thanks."
WORDS = [*SENTENCE.split(), *SECOND.split()]
TIMEOUT_S = 5.0  # far longer than any healthy answer here takes, even on a busy machine
QUIET_S = 0.2  # long enough for anything that is on its way at these speeds


@pytest.fixture
async def lab() -> AsyncIterator[CartesiaSimulator]:
    instance = CartesiaSimulator(
        "cartesia", core=Core(speed=10), plan=CartesiaAccount(contexts=3, expiry_s=0.1)
    )
    await instance.start()
    yield instance
    await instance.stop()


def say(text: str, *, context_id: str = "a", more: bool = True, **fields: Any) -> dict[str, Any]:
    output = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16000}
    return {
        "transcript": text,
        "continue": more,
        "context_id": context_id,
        "model_id": "sonic-3.6",
        "voice": {"mode": "id", "id": "VOICE"},
        "output_format": output,
        "add_timestamps": True,
        "max_buffer_delay_ms": 0,
        "language": "en",
    } | fields


TURN = (say(SENTENCE + " "), say(SECOND), say("", more=False))


@dataclass
class Heard:
    """A client's messages on a socket."""

    audio: bytes = b""
    words: list[str] = field(default_factory=list)
    starts: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    garbage: int = 0
    closed: int | None = None
    broken: bool = False

    @property
    def kinds(self) -> list[str]:
        return [event["type"] for event in self.events]

    @property
    def audio_s(self) -> float:
        return len(self.audio) / 32000

    def take(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        if event["type"] == "chunk":
            self.audio += base64.b64decode(event["data"])
        if event["type"] == "timestamps":
            self.words += event["word_timestamps"]["words"]
            self.starts += event["word_timestamps"]["start"]
            self.ends += event["word_timestamps"]["end"]


@contextlib.asynccontextmanager
async def socket(
    lab: CartesiaSimulator, *, key: str | None = None, version: str = VERSION
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    headers = {"X-API-Key": key or lab.api_key, "Cartesia-Version": version}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(lab.url, headers=headers) as ws,
    ):
        yield ws


async def listen(
    ws: aiohttp.ClientWebSocketResponse,
    *,
    until: tuple[str, ...] = ("done", "error"),
    quiet_s: float = TIMEOUT_S,
) -> Heard:
    """Collect until an event of these kinds, the end of the socket or this much quiet."""
    heard = Heard()
    while True:
        try:
            message = await ws.receive(timeout=quiet_s)
        except TimeoutError:
            break
        if message.type is not aiohttp.WSMsgType.TEXT:
            heard.closed = ws.close_code
            heard.broken = message.type is not aiohttp.WSMsgType.CLOSE
            break
        try:
            heard.take(json.loads(message.data))
        except json.JSONDecodeError:
            heard.garbage += 1
        if heard.events and heard.events[-1]["type"] in until:
            break
    return heard


async def turn(
    lab: CartesiaSimulator, fault: Fault | None = None, *, quiet_s: float = TIMEOUT_S
) -> Heard:
    """Say two sentences in one context, Pipecat's way, under a fault."""
    lab.set_faults([Window(fault=fault)] if fault else [])
    async with socket(lab) as ws:
        for message in TURN:
            await ws.send_json(message)
        return await listen(ws, quiet_s=quiet_s)


def wrong(what: str) -> Fault:
    return faults.Mistaken(what=what)


# -- a healthy context


async def test_a_context_streams_audio_words_and_its_end(lab: CartesiaSimulator) -> None:
    heard = await turn(lab)

    assert heard.words == WORDS
    assert heard.starts == sorted(heard.starts)
    assert all(a < b for a, b in zip(heard.starts, heard.ends, strict=True))
    assert heard.ends[-1] <= heard.audio_s + 0.01
    assert heard.kinds.count("flush_done") == 2
    assert heard.kinds[-2:] == ["flush_done", "done"]
    chunks = [event for event in heard.events if event["type"] == "chunk"]
    assert {event["status_code"] for event in chunks} == {206}
    assert {event["flush_id"] for event in chunks} == {1, 2}
    assert all(0.02 <= len(base64.b64decode(e["data"])) / 32000 <= 0.1001 for e in chunks[:5])


async def test_every_word_is_recorded_where_it_is_in_the_audio(lab: CartesiaSimulator) -> None:
    heard = await turn(lab)

    spoken = lab.record.words("cartesia")
    assert [word.text for word in spoken] == WORDS
    assert [word.start_s for word in spoken] == pytest.approx(heard.starts, abs=0.001)
    upgrade, context = lab.record.requests("cartesia")
    assert {word.request for word in spoken} == {context.number}
    assert context.details["text"] == f"{SENTENCE} {SECOND}"
    assert (upgrade.ok_auth, upgrade.well_formed, context.outcome) == (True, True, "done")


async def test_one_context_too_many_is_refused_and_accepted_later(lab: CartesiaSimulator) -> None:
    async with socket(lab) as ws:
        for name in ("a", "b", "c", "d"):
            await ws.send_json(say(SENTENCE, context_id=name, more=False))
        refused = await listen(ws, until=("error",))
        for _ in "abc":
            await listen(ws)
        await ws.send_json(say(SENTENCE, context_id="d", more=False))
        later = await listen(ws)

    assert refused.events[-1]["context_id"] == "d"
    assert refused.events[-1]["status_code"] == 429
    assert refused.events[-1]["error_code"] == "concurrency_limited"
    assert later.words == SENTENCE.split()


async def test_a_cancel_drops_unstarted_sound_and_lets_the_rest_finish(
    lab: CartesiaSimulator,
) -> None:
    async with socket(lab) as ws:
        for message in TURN:
            await ws.send_json(message)
        first = await listen(ws, until=("chunk",))
        await ws.send_json({"context_id": "a", "cancel": True})
        rest = await listen(ws, quiet_s=QUIET_S)

    assert first.words + rest.words == SENTENCE.split()
    assert rest.kinds[-1] == "chunk"
    assert lab.plan.open_contexts == 0


async def test_a_cancelled_context_may_continue_too_long(lab: CartesiaSimulator) -> None:
    lab.set_faults([Window(fault=faults.LateAfterCancel(delay_s=0.2))])
    async with socket(lab) as ws:
        await ws.send_json(say(SENTENCE))
        first = await listen(ws, until=("chunk",))
        await ws.send_json({"context_id": "a", "cancel": True})
        rest = await listen(ws, quiet_s=QUIET_S)

    assert (first.words + rest.words)[:7] == [*SENTENCE.split(), "Hello", "there,"]


async def test_a_context_expires_after_its_audio_and_starts_over(lab: CartesiaSimulator) -> None:
    async with socket(lab) as ws:
        await ws.send_json(say(SENTENCE))
        await listen(ws, quiet_s=QUIET_S)
        await ws.send_json(say(SECOND, more=False))
        anew = await listen(ws)

    assert anew.starts[0] == 0.0
    assert lab.record.requests("cartesia")[1].outcome == "expired"


# -- refusals


@pytest.mark.parametrize(
    ("message", "why"),
    [
        ("{", "Expecting property name"),
        ("[]", "must be a JSON object"),
        (say("x", context_id=""), "context_id is required"),
        (say("x", model_id=None), "model_id is required"),
        (say("x", voice={"mode": "id"}), "voice must be"),
        (say("x", output_format={"container": "raw", "sample_rate": 11}), "sample_rate"),
        (say("x", output_format={"container": "wav", "encoding": "pcm_s16le", "sample_rate": 8000}),
         "must be raw on the websocket"),
        (say("x", max_buffer_delay_ms=9000), "max_buffer_delay_ms"),
        (say("x", generation_config={"speed": 9}), "speed"),
        (say("x", language="qq"), 'no voice for "qq"'),
    ],
)  # fmt: skip
async def test_an_invalid_message_gets_400_and_the_socket_stays_open(
    lab: CartesiaSimulator, message: Any, why: str
) -> None:
    async with socket(lab) as ws:
        await ws.send_str(message if isinstance(message, str) else json.dumps(message))
        wrong = await listen(ws)
        await ws.send_json(say(SECOND, context_id="b", more=False))
        right = await listen(ws)

    assert wrong.events[-1]["status_code"] == 400
    assert why in wrong.events[-1]["message"]
    assert right.words == SECOND.split()
    assert not all(request.well_formed for request in lab.record.requests("cartesia"))


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, None),
        (402, "quota_exceeded"),
        (404, "voice_not_found"),
        (429, "concurrency_limited"),
        (503, None),
    ],
)
async def test_a_status_comes_at_the_upgrade_and_as_an_event_in_the_same_words(
    lab: CartesiaSimulator, status: int, code: str | None
) -> None:
    event = (await turn(lab, faults.ErrorEvent(status=status))).events[-1]
    lab.set_faults([Window(fault=faults.Http(status=status))])
    headers = {"X-API-Key": lab.api_key, "Cartesia-Version": VERSION}
    url = lab.url.replace("ws:", "http:")
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        body = await answer.json()

    assert answer.status == event["status_code"] == status
    assert body["error_code"] == event["error_code"] == code
    assert (body["title"], body["message"]) == (event["title"], event["message"])
    assert event["context_id"] == "a"
    assert event["done"] is True


# -- faults on the open stream


@pytest.mark.parametrize(
    ("after", "how"), [(0, "reset"), (5, "reset"), (7, "reset"), (5, "close"), (5, "error")]
)
async def test_a_cut_leaves_whole_words(lab: CartesiaSimulator, after: int, how: str) -> None:
    whole = await turn(lab)
    heard = await turn(lab, faults.Cut(after_words=after, how=how))

    assert heard.words[:after] == WORDS[:after]
    assert len(heard.words) == after
    expected_s = whole.ends[after - 1] if after else 0.0
    assert heard.audio_s == pytest.approx(expected_s, abs=0.03)
    assert heard.broken == (how == "reset")
    assert heard.closed == (1000 if how == "close" else 1006 if how == "reset" else None)
    assert ("error" in heard.kinds) == (how == "error")
    assert "done" not in heard.kinds
    context = lab.record.requests("cartesia")[-1]
    assert context.outcome == f"cut after {after} words"
    spoken = [word for word in lab.record.words() if word.request == context.number]
    assert [word.text for word in spoken] == WORDS[:after]


async def test_a_cut_inside_a_word_ends_in_the_middle_of_the_next_one(
    lab: CartesiaSimulator,
) -> None:
    whole = await turn(lab)
    heard = await turn(lab, faults.Cut(after_words=5, inside_word=True))

    assert heard.words == WORDS[:6]
    assert whole.starts[5] + 0.05 < heard.audio_s < whole.ends[5] - 0.05


async def test_a_stall_can_be_lifted_and_no_word_is_lost(lab: CartesiaSimulator) -> None:
    lab.set_faults([Window(fault=faults.Stall(after_words=2))])
    async with socket(lab) as ws:
        for message in TURN:
            await ws.send_json(message)
        stalled = await listen(ws, quiet_s=QUIET_S)
        lab.clear()
        rest = await listen(ws)

    assert stalled.words == WORDS[:2]
    assert stalled.words + rest.words == WORDS
    assert rest.kinds[-1] == "done"
    assert stalled.audio_s + rest.audio_s >= rest.ends[-1]


async def test_heartbeats_are_silent_samples_without_words(lab: CartesiaSimulator) -> None:
    lab.set_faults([Window(fault=faults.Alive())])
    async with socket(lab) as ws:
        await ws.send_json(say(SENTENCE))
        heard = await listen(ws, until=("chunk",))

    assert heard.audio_s > 0.05
    assert not np.frombuffer(heard.audio, np.int16).any()
    assert heard.words == []


async def test_garbage_cannot_be_parsed(lab: CartesiaSimulator) -> None:
    heard = await turn(lab, faults.Garbage())

    assert heard.garbage > 5
    assert heard.audio == b""


@pytest.mark.parametrize("where", ["request", "event"])
async def test_an_account_without_credit_is_refused_on_an_open_socket(
    lab: CartesiaSimulator, where: str
) -> None:
    async with socket(lab) as ws:
        await ws.send_json(say(SECOND, more=False))
        await listen(ws)
        lab.set_faults([Window(fault=faults.Quota(where=where))])
        await ws.send_json(say(SENTENCE, context_id="b"))
        refused = await listen(ws)

    assert refused.events[-1]["status_code"] == 402
    assert refused.events[-1]["error_code"] == "quota_exceeded"


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (wrong("odd_pcm"), lambda heard: len(base64.b64decode(first_chunk(heard)["data"])) % 2),
        (wrong("wrong_context"), lambda heard: first_chunk(heard)["context_id"] != "a"),
        (wrong("error_without_context"), lambda heard: "context_id" not in heard.events[-1]),
        (wrong("no_final"), lambda heard: "done" not in heard.kinds and heard.words == WORDS),
        (wrong("no_audio"), lambda heard: "done" in heard.kinds and heard.audio_s == 0),
        (wrong("null_alignment"), lambda heard: not heard.words and heard.audio_s > 1),
        (faults.Garbage(), lambda heard: heard.garbage > 5 and heard.audio == b""),
        (faults.Duplicate(), lambda heard: sorted(heard.words) == sorted(WORDS * 2)),
        (faults.Silent(), lambda heard: heard.events == [] and heard.closed is None),
    ],
)
async def test_a_fault_is_seen_by_the_client(
    lab: CartesiaSimulator, fault: Fault, seen: Callable[[Heard], bool]
) -> None:
    assert seen(await turn(lab, fault))


def first_chunk(heard: Heard) -> dict[str, Any]:
    return next(event for event in heard.events if event["type"] == "chunk")


# -- the official SDK, unmodified


@pytest.fixture
async def client(lab: CartesiaSimulator) -> AsyncIterator[sdk.AsyncCartesia]:
    base = f"{lab.server.base_url('http')}"
    async with sdk.AsyncCartesia(
        api_key=lab.api_key,
        base_url=base,
        websocket_base_url=f"{lab.server.base_url('ws')}",
        max_retries=0,
    ) as client:
        yield client


RAW: Any = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16000}
VOICE: Any = {"mode": "id", "id": "VOICE"}


async def test_the_sdk_streams_a_context(lab: CartesiaSimulator, client: sdk.AsyncCartesia) -> None:
    async with client.tts.websocket_connect() as connection:
        context = connection.context(
            model_id="sonic-3.6",
            voice=VOICE,
            output_format=RAW,
            language="en",
            add_timestamps=True,
        )
        for part in (SENTENCE + " ", SECOND):
            await context.push(part)
        await context.no_more_inputs()
        events = [event async for event in context.receive()]

    words = [w for e in events if e.type == "timestamps" and e.word_timestamps
             for w in e.word_timestamps.words]  # fmt: skip
    assert words == WORDS
    assert sum(len(e.audio or b"") for e in events if e.type == "chunk") > 32000
    assert events[-1].type == "done"
    assert all(request.well_formed for request in lab.record.requests("cartesia"))
