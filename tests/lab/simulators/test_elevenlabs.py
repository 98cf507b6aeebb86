"""The simulated ElevenLabs, seen by raw sockets and by the official SDK."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import elevenlabs as sdk
import httpx
import numpy as np
import pytest

from lab.simulators import faults
from lab.simulators.elevenlabs.context import ElevenLabsAccount
from lab.simulators.elevenlabs.simulator import ElevenLabsSimulator
from lab.simulators.faults import Fault
from lab.simulators.instance import Core
from lab.simulators.schedule import Window

pytestmark = pytest.mark.virtual_time

SENTENCE = "Hello there, how are you?"
SECOND = "Fine thanks."
TEXT = f" {SENTENCE} {SECOND}"
WORDS = TEXT.split()
QUERY = "model_id=eleven_flash_v2_5&output_format=pcm_16000&auto_mode=true"
TIMEOUT_S = 5.0  # far longer than any healthy answer here takes, even on a busy machine
QUIET_S = 0.3  # long enough for anything that is on its way at these speeds


@pytest.fixture
async def lab() -> AsyncIterator[ElevenLabsSimulator]:
    instance = ElevenLabsSimulator("elevenlabs", core=Core(speed=10))
    await instance.start()
    yield instance
    await instance.stop()


def turn_messages(name: str = "a", *, close: bool = True) -> list[dict[str, Any]]:
    """Return two sentences in one context, in the order in which Pipecat sends them."""
    settings = {"stability": 0.5, "similarity_boost": 0.8}
    messages: list[dict[str, Any]] = [
        {"text": " ", "context_id": name, "voice_settings": settings},
        {"text": SENTENCE, "context_id": name},
        {"text": SECOND, "context_id": name},
        {"context_id": name, "flush": True},
    ]
    return [*messages, {"context_id": name, "close_context": True}] if close else messages


@dataclass
class Heard:
    """A client's messages on a socket."""

    audio: bytes = b""
    chars: str = ""
    starts_ms: list[int] = field(default_factory=list)
    aligned_ms: int = 0
    messages: list[dict[str, Any]] = field(default_factory=list)
    garbage: int = 0
    closed: int | None = None
    reason: str = ""
    broken: bool = False

    @property
    def audio_s(self) -> float:
        return len(self.audio) / 32000

    @property
    def last(self) -> dict[str, Any]:
        return self.messages[-1]

    def take(self, message: dict[str, Any]) -> None:
        self.messages.append(message)
        self.audio += base64.b64decode(message.get("audio") or "")
        if aligned := message.get("alignment"):
            starts, durations = aligned["charStartTimesMs"], aligned["charDurationsMs"]
            assert len(aligned["chars"]) == len(starts) == len(durations)
            assert all(duration >= 0 for duration in durations)
            self.chars += "".join(aligned["chars"])
            self.starts_ms += [self.aligned_ms + start for start in starts]
            self.aligned_ms += starts[-1] + durations[-1]

    def heard_at_s(self, text: str) -> float:
        return self.starts_ms[self.chars.index(text)] / 1000


@contextlib.asynccontextmanager
async def socket(
    lab: ElevenLabsSimulator, *, key: str | None = None, query: str = QUERY
) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    url = f"{lab.url}/v1/text-to-speech/VOICE/multi-stream-input?{query}"
    headers = {"xi-api-key": key or lab.api_key}
    async with aiohttp.ClientSession() as session, session.ws_connect(url, headers=headers) as ws:
        yield ws


async def listen(
    ws: aiohttp.ClientWebSocketResponse, *, first: bool = False, quiet_s: float = TIMEOUT_S
) -> Heard:
    """Collect until `isFinal`, the end of the socket or this much quiet; or one message."""
    heard = Heard()
    while True:
        try:
            message = await ws.receive(timeout=quiet_s)
        except TimeoutError:
            break
        if message.type is not aiohttp.WSMsgType.TEXT:
            heard.closed, heard.reason = ws.close_code, str(message.extra or "")
            heard.broken = message.type is not aiohttp.WSMsgType.CLOSE
            break
        try:
            heard.take(json.loads(message.data))
        except json.JSONDecodeError:
            heard.garbage += 1
            continue
        if first or heard.last.get("isFinal"):
            break
    return heard


async def turn(
    lab: ElevenLabsSimulator, fault: Fault | None = None, *, quiet_s: float = TIMEOUT_S
) -> Heard:
    """Say two sentences in one context, Pipecat's way, under a fault."""
    lab.set_faults([Window(fault=fault)] if fault else [])
    async with socket(lab) as ws:
        for message in turn_messages():
            await ws.send_json(message)
        return await listen(ws, quiet_s=quiet_s)


def wrong(what: str) -> Fault:
    return faults.Mistaken(what=what)


# -- a healthy context


async def test_the_alignment_covers_the_text_and_the_audio(lab: ElevenLabsSimulator) -> None:
    heard = await turn(lab)

    assert heard.chars == TEXT
    assert heard.starts_ms == sorted(heard.starts_ms)
    assert heard.aligned_ms / 1000 == pytest.approx(heard.audio_s, abs=0.02)
    assert heard.last == {"isFinal": True, "contextId": "a"}
    assert len(heard.messages) > 5
    assert all(message["isFinal"] is None for message in heard.messages[:-1])


async def test_every_word_is_recorded_where_it_is_in_the_audio(lab: ElevenLabsSimulator) -> None:
    heard = await turn(lab)

    spoken = lab.record.words("elevenlabs")
    assert [word.text for word in spoken] == WORDS
    for word in spoken:
        assert word.start_s == pytest.approx(heard.heard_at_s(word.text), abs=0.01)
    upgrade, context = lab.record.requests("elevenlabs")
    assert {word.request for word in spoken} == {context.number}
    assert (upgrade.ok_auth, upgrade.well_formed, context.outcome) == (True, True, "done")


async def test_contexts_of_one_socket_stream_side_by_side(lab: ElevenLabsSimulator) -> None:
    async with socket(lab) as ws:
        for message in [*turn_messages("a"), *turn_messages("b")]:
            await ws.send_json(message)
        both = [await listen(ws), await listen(ws)]

    names = {message["contextId"] for message in both[0].messages}
    messages = [message for heard in both for message in heard.messages if message.get("alignment")]
    texts = {
        name: "".join(
            char for m in messages if m["contextId"] == name for char in m["alignment"]["chars"]
        )
        for name in "ab"
    }
    assert names == {"a", "b"}
    assert texts == {"a": TEXT, "b": TEXT}


async def test_the_sixth_context_is_an_error_and_ends_the_socket(lab: ElevenLabsSimulator) -> None:
    async with socket(lab) as ws:
        for name in "abcdef":
            await ws.send_json({"text": " ", "context_id": name})
        heard = await listen(ws)

    assert heard.messages[0]["error"] == "max_active_conversations"
    assert (heard.closed, heard.messages[0]["code"]) == (1008, 1008)
    assert heard.reason.startswith("Maximum simultaneous contexts per WebSocket connection")


async def test_a_closed_context_frees_its_place_and_its_name(lab: ElevenLabsSimulator) -> None:
    chars: list[str] = []
    async with socket(lab) as ws:
        for _ in range(8):
            for message in turn_messages("again"):
                await ws.send_json(message)
            chars.append((await listen(ws)).chars)

    assert chars == [TEXT] * 8


async def test_a_context_without_text_expires_and_a_keepalive_holds_it(
    lab: ElevenLabsSimulator,
) -> None:
    async with socket(lab, query=f"{QUERY}&inactivity_timeout=0.2") as ws:
        for name in ("idle", "kept"):
            await ws.send_json({"text": " ", "context_id": name})
        await asyncio.sleep(0.12)
        await ws.send_json({"text": "", "context_id": "kept"})
        await ws.send_json({"text": ""})
        ended = await listen(ws)

    assert ended.messages == [{"isFinal": True, "contextId": "idle"}]
    assert ended.closed is None


async def test_more_contexts_than_the_plan_allows_are_refused() -> None:
    lab = ElevenLabsSimulator("elevenlabs", plan=ElevenLabsAccount(concurrent=1))
    await lab.start()
    async with socket(lab) as ws:
        for message in [*turn_messages("a"), *turn_messages("b")]:
            await ws.send_json(message)
        heard = await listen(ws)
    await lab.stop()

    assert heard.last["error"] == "too_many_concurrent_requests"
    assert lab.plan.generating == 0


# -- refusals


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (faults.Http(status=400), 400, "invalid_parameters"),
        (faults.Http(status=401), 401, "invalid_api_key"),
        (faults.Http(status=401, code="missing_permissions"), 401, "missing_permissions"),
        (faults.Quota(), 401, "quota_exceeded"),
        (faults.Http(status=402), 402, "payment_required"),
        (faults.Http(status=403), 403, "only_for_creator+"),
        (faults.Http(status=404), 404, "voice_not_found"),
        (faults.Http(status=429), 429, "too_many_concurrent_requests"),
        (faults.Http(status=429, code="system_busy"), 429, "system_busy"),
        (faults.Http(status=503), 503, "service_unavailable"),
    ],
)  # fmt: skip
async def test_the_upgrade_is_refused_in_the_providers_own_words(
    lab: ElevenLabsSimulator, fault: Fault, status: int, code: str
) -> None:
    lab.set_faults([Window(fault=fault)])
    url = f"{lab.server.base_url('http')}/v1/text-to-speech/V/multi-stream-input?{QUERY}"
    async with aiohttp.ClientSession(headers={"xi-api-key": lab.api_key}) as session:
        answer = await session.get(url)
        detail = (await answer.json())["detail"]

    assert answer.status == status
    assert detail["code"] == detail["status"] == code
    assert detail["message"]


# -- faults on the open stream


@pytest.mark.parametrize(
    ("after", "how"), [(0, "reset"), (5, "reset"), (7, "reset"), (5, "close"), (5, "error")]
)
async def test_a_cut_leaves_whole_words(lab: ElevenLabsSimulator, after: int, how: str) -> None:
    whole = await turn(lab)
    heard = await turn(lab, faults.Cut(after_words=after, how=how))

    assert heard.chars.split() == WORDS[:after]
    following = [*WORDS, ""][after]
    if after < len(WORDS):
        assert heard.audio_s <= whole.heard_at_s(following) + 0.03
    assert heard.broken == (how == "reset")
    assert heard.closed == {"reset": 1006, "close": 1000, "error": 1011}[how]
    assert not any(message.get("isFinal") for message in heard.messages)
    context = lab.record.requests("elevenlabs")[-1]
    assert context.outcome == f"cut after {after} words"
    spoken = [word for word in lab.record.words() if word.request == context.number]
    assert [word.text for word in spoken] == WORDS[:after]


async def test_a_cut_inside_a_word_ends_in_the_middle_of_the_next_one(
    lab: ElevenLabsSimulator,
) -> None:
    whole = await turn(lab)
    heard = await turn(lab, faults.Cut(after_words=5, inside_word=True))

    assert whole.heard_at_s("Fine") + 0.05 < heard.audio_s < whole.heard_at_s("thanks") - 0.05
    assert heard.chars.split()[-1] in ("F", "Fi", "Fin", "Fine")


async def test_heartbeats_are_silent_samples_without_characters(
    lab: ElevenLabsSimulator,
) -> None:
    lab.set_faults([Window(fault=faults.Alive())])
    async with socket(lab) as ws:
        for message in turn_messages():
            await ws.send_json(message)
        heard = await listen(ws, first=True)

    assert heard.audio_s > 0.05
    assert not np.frombuffer(heard.audio, np.int16).any()
    assert heard.last["alignment"] is None


async def test_audio_may_follow_the_end_of_a_context(lab: ElevenLabsSimulator) -> None:
    lab.set_faults([Window(fault=faults.LateAfterCancel(delay_s=0.2))])
    async with socket(lab) as ws:
        for message in turn_messages():
            await ws.send_json(message)
        whole = await listen(ws)
        late = await listen(ws, quiet_s=QUIET_S)

    assert whole.chars == TEXT
    assert late.audio_s > 0.1
    assert late.messages[0]["contextId"] == "a"


@pytest.mark.parametrize("status", [401, 500])
async def test_an_error_on_the_stream_is_a_frame_and_a_close(
    lab: ElevenLabsSimulator, status: int
) -> None:
    heard = await turn(lab, faults.ErrorEvent(status=status))

    code = 1011 if status == 500 else 1008
    assert heard.last["code"] == heard.closed == code
    assert heard.last["message"].startswith(heard.reason)
    assert heard.last["contextId"] == "a"


@pytest.mark.parametrize("where", ["request", "event"])
async def test_an_account_without_credit_is_refused_on_an_open_socket(
    lab: ElevenLabsSimulator, where: str
) -> None:
    async with socket(lab) as ws:
        for message in turn_messages("a"):
            await ws.send_json(message)
        await listen(ws)
        lab.set_faults([Window(fault=faults.Quota(where=where))])
        for message in turn_messages("b"):
            await ws.send_json(message)
        refused = await listen(ws)

    assert refused.last["error"] == "quota_exceeded"
    assert refused.closed == 1008


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        (wrong("odd_pcm"), lambda heard: len(base64.b64decode(heard.messages[0]["audio"])) % 2),
        (wrong("wrong_context"), lambda heard: heard.messages[0]["contextId"] != "a"),
        (wrong("error_without_context"), lambda heard: "contextId" not in heard.last),
        (wrong("no_final"), lambda heard: heard.chars == TEXT and heard.last["isFinal"] is None),
        (wrong("no_audio"), lambda heard: heard.last["isFinal"] and heard.audio_s == 0),
        (wrong("null_alignment"), lambda heard: heard.chars == "" and heard.audio_s > 1),
        (faults.Garbage(), lambda heard: heard.garbage > 3 and heard.audio == b""),
    ],
)
async def test_a_fault_is_seen_by_the_client(
    lab: ElevenLabsSimulator, fault: Fault, seen: Callable[[Heard], bool]
) -> None:
    assert seen(await turn(lab, fault))


async def test_a_newer_server_may_spell_its_keys_another_way(lab: ElevenLabsSimulator) -> None:
    lab.set_faults([Window(fault=wrong("snake_case"))])
    async with socket(lab) as ws:
        for message in turn_messages():
            await ws.send_json(message)
        first = json.loads((await ws.receive(timeout=TIMEOUT_S)).data)

    assert first["context_id"] == "a"
    assert set(first["alignment"]) == {"chars", "char_start_times_ms", "char_durations_ms"}


# -- the official SDK, unmodified


@pytest.fixture
async def client(lab: ElevenLabsSimulator) -> AsyncIterator[sdk.AsyncElevenLabs]:
    async with httpx.AsyncClient() as http:  # the SDK has no close of its own
        yield sdk.AsyncElevenLabs(
            api_key=lab.api_key, base_url=f"{lab.server.base_url('http')}", httpx_client=http
        )


@pytest.mark.parametrize("form", ["pcm_16000", "mp3_44100_128"])
async def test_the_sdk_streams_audio(
    lab: ElevenLabsSimulator, client: sdk.AsyncElevenLabs, form: Any
) -> None:
    parts = client.text_to_speech.stream("VOICE", text=SENTENCE, output_format=form)
    audio = b"".join([part async for part in parts])

    assert len(audio) > 8000
    assert [word.text for word in lab.record.words()] == SENTENCE.split()


async def test_the_subscription_shows_the_remaining_characters(
    lab: ElevenLabsSimulator, client: sdk.AsyncElevenLabs
) -> None:
    await turn(lab)
    used = (await client.user.subscription.get()).character_count
    lab.set_faults([Window(fault=faults.Quota())])
    gone = await client.user.subscription.get()

    assert used == len(TEXT)
    assert gone.character_count == gone.character_limit
