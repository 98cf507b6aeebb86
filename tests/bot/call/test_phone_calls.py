"""Whole telephone calls through Twilio's webhook, and how they end when their server stops."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr

from bot.server.server import bind_socket
from calls.events import AgentSaid
from fallbacks.events import AttemptWon
from lab.process import RunningLab
from lab.simulators.carrier.carrier import Carrier
from lab.simulators.carrier.webhook import NotConnectedError, PhoneCall
from lab.simulators.lab import Lab
from lab.simulators.voices.voices import speak, voice_of
from tests.bot.serving import AUTH_TOKEN, serving
from tests.kit.journal import entries_in
from tests.kit.near import Notes, near_server, steady_lab, url_of

pytestmark = pytest.mark.slow

RATE_HZ = 8_000
CALLER = voice_of("a caller")
GREETING = "Hello, this is Holdline. How can I help?"
QUESTIONS = {
    "What are your opening hours?": ("open", "nine"),
    "How much does it cost?": ("cost", "euros"),
    "Where are you?": ("street", "station"),
    "I would like to book an appointment.": ("book", "day", "like"),
    "When are you open?": ("open", "nine"),
    "Hello.": ("help", "hello"),
}


async def caller_says(text: str) -> NDArray[np.int16]:
    """Return a caller's words at telephone rate, on the noise floor that every line has."""
    speech = await speak(text, voice=CALLER, rate_hz=RATE_HZ)
    dice = np.random.default_rng(7)
    padded = np.concatenate([speech.samples, np.zeros(RATE_HZ // 5, np.int16)])
    floor = dice.normal(0, 10, padded.size)
    return (padded + floor).clip(-32768, 32767).astype(np.int16)


def said_in(calls: Path) -> dict[str, list[str]]:
    """Return what the agent said in each call, from the calls' own records."""
    said: dict[str, list[str]] = {}
    for entry in entries_in(calls):
        texts = said.setdefault(entry["call_id"], [])
        if entry["event"] == "AgentSaid":
            texts.append(entry["text"])
    return said


def ends_in(calls: Path) -> list[str]:
    """Return why each call ended, from the calls' own records."""
    return [entry["reason"] for entry in entries_in(calls) if entry["event"] == "CallEnded"]


def likeness(expected: NDArray[np.int16], heard: NDArray[np.int16]) -> float:
    """Return how surely the expected sound is in what was heard, 0..1.

    Quarter-second pieces are looked for by normalised cross-correlation; the synthesiser's breath
    differs by a few samples from one time to the next, so the whole would not match as one.
    """
    size = RATE_HZ // 4
    pieces = [expected[at : at + size] for at in range(0, expected.size - size, size)]
    loud = [piece for piece in pieces if np.abs(piece.astype(np.int32)).mean() > 300]
    return float(np.median([_best(piece.astype(float), heard.astype(float)) for piece in loud]))


def _best(piece: NDArray[np.float64], heard: NDArray[np.float64]) -> float:
    if heard.size < piece.size:
        return 0.0
    length = 1 << (heard.size + piece.size).bit_length()
    spectrum = np.fft.rfft(heard, length) * np.conj(np.fft.rfft(piece, length))
    matches = np.fft.irfft(spectrum, length)[: heard.size - piece.size + 1]
    energy = np.cumsum(np.concatenate([[0.0], heard**2]))
    local = np.sqrt(np.maximum(energy[piece.size :] - energy[: -piece.size], 1.0))
    return float((matches / (local * np.sqrt((piece**2).sum()))).max())


@asynccontextmanager
async def answering(folder: Path, notes: Notes, **tree: Any) -> AsyncIterator[tuple[str, Lab]]:
    """Run a server in this process; yield its address and its lab."""
    listener = bind_socket("127.0.0.1", 0)
    sections = {
        "server": {"admission": "seats"},
        "transports": {"twilio": {"enabled": True, "auth_token": SecretStr(AUTH_TOKEN)}},
        **tree,
    }
    async with (
        asyncio.timeout(120),
        steady_lab() as lab,
        near_server(listener, notes, lab=lab, folder=folder, tree=sections),
    ):
        yield url_of(listener), lab


@pytest.mark.virtual_time
async def test_a_caller_has_a_conversation_and_every_request_was_well_formed(
    tmp_path: Path,
) -> None:
    notes = Notes()
    async with answering(tmp_path, notes) as (url, lab), Carrier(url, AUTH_TOKEN) as call:
        greeting = await call.listen()
        await call.say(await caller_says("What are your opening hours?"))
        hours = await call.listen(within_s=20)
        await call.say(await caller_says("Where are you?"))
        where = await call.listen(within_s=20)
        await call.say(await caller_says("Goodbye."))
        await asyncio.wait_for(call.ended.wait(), 15)

    assert call.ended_by == "agent"
    assert call.complaints == []
    assert min(item.size for item in (greeting, hours, where)) > RATE_HZ
    said = [event.text for event in notes.of(AgentSaid)]
    assert said[0] == GREETING
    assert "nine" in said[1]
    assert "Street" in said[2]
    assert "oodbye" in said[3]
    told = [request for name in lab.instances for request in lab.record.requests(name)]
    assert all(request.ok_auth and request.well_formed for request in told), told
    working = {event.provider for event in notes.of(AttemptWon)}
    assert working == {"deepgram", "openai", "cartesia"}


@pytest.mark.virtual_time
async def test_six_callers_at_once_each_hear_their_own_agent_only(tmp_path: Path) -> None:
    agents: dict[str, Any] = {
        f"agent{number}": {"numbers": [f"+1555010{number}"], "greeting": text}
        for number, text in enumerate(GREETINGS)
    }
    async with answering(tmp_path, Notes(), agents=agents) as (url, _):
        heard = await asyncio.gather(*(one_call(url, number) for number in range(len(GREETINGS))))

    expected = [
        (await speak(text, voice=voice_of("cartesia"), rate_hz=RATE_HZ)).samples
        for text in GREETINGS
    ]
    for number, sound in enumerate(heard):
        alike = [likeness(voice, sound) for voice in expected]
        assert alike[number] > 0.8, alike
        assert all(each < 0.7 for other, each in enumerate(alike) if other != number), alike
    said = said_in(tmp_path / "logs" / "calls")
    for number, (question, words) in enumerate(QUESTIONS.items()):
        (own,) = (texts for texts in said.values() if texts[0] == GREETINGS[number])
        assert any(word in own[1].lower() for word in words), (question, own)
        assert len(own) == 2, own


GREETINGS: Sequence[str] = (
    "Good morning, you have reached the barber at the corner.",
    "Welcome to the harbour hotel, what may I do for you?",
    "City library speaking, which book are you looking for?",
    "This is the garden centre, all our roses are in bloom.",
    "Thank you for calling the bicycle workshop on Mill Lane.",
    "Hello from the swimming pool, the water is warm today.",
)


async def one_call(url: str, number: int) -> NDArray[np.int16]:
    """Hear the greeting, ask this caller's own question, hear the answer; return it all."""
    phone = PhoneCall(called=f"+1555010{number}")
    async with Carrier(url, AUTH_TOKEN, phone=phone) as call:
        await call.listen(within_s=15)
        await call.say(await caller_says(list(QUESTIONS)[number]))
        await call.listen(within_s=30)
        assert call.complaints == []
        return call.heard()


async def test_sigterm_lets_the_call_in_progress_end_and_takes_no_new_one(
    tmp_path: Path, lab: RunningLab
) -> None:
    changes = {"shutdown": {"drain_s": 30}}
    async with (
        asyncio.timeout(90),
        serving(lab, tmp_path, changes=changes) as served,
    ):
        async with Carrier(served.url, AUTH_TOKEN) as call:
            await call.listen(within_s=15)
            served.process.send_signal(signal.SIGTERM)
            await asyncio.sleep(0.2)
            with pytest.raises(NotConnectedError) as refused:
                async with Carrier(served.url, AUTH_TOKEN):
                    pass
            await call.say(await caller_says("Where are you?"))
            answer = await call.listen(within_s=20)
            assert served.process.returncode is None

        assert await asyncio.wait_for(served.process.wait(), 15) == 0

    assert refused.value.status == 503  # so that the carrier uses the number's fallback
    assert answer.size > 2 * RATE_HZ


async def test_a_call_that_outlasts_the_drain_hears_a_goodbye_before_the_end(
    tmp_path: Path, lab: RunningLab
) -> None:
    agent = {"farewell": "We have to close the line now. Goodbye."}
    changes = {"shutdown": {"drain_s": 0.5}, "agent": agent}
    async with (
        asyncio.timeout(90),
        serving(lab, tmp_path, changes=changes) as served,
    ):
        async with Carrier(served.url, AUTH_TOKEN) as call:
            await call.listen(within_s=15)
            asked_s = call.now_s
            served.process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(call.ended.wait(), 15)
        assert await asyncio.wait_for(served.process.wait(), 15) == 0

    assert call.ended_by == "agent"
    assert call.heard_at[-1] > asked_s
    (said,) = said_in(tmp_path / "logs" / "calls").values()
    assert said == [GREETING, agent["farewell"]]
    assert ends_in(tmp_path / "logs" / "calls") == ["shutdown"]


async def test_a_second_signal_ends_the_call_and_the_process_at_once(
    tmp_path: Path, lab: RunningLab
) -> None:
    changes = {"shutdown": {"drain_s": 600}}
    async with (
        asyncio.timeout(90),
        serving(lab, tmp_path, changes=changes) as served,
        Carrier(served.url, AUTH_TOKEN) as call,
    ):
        await call.listen(within_s=15)
        served.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert served.process.returncode is None

        served.process.send_signal(signal.SIGINT)

        assert await asyncio.wait_for(served.process.wait(), 15) == 0
        await asyncio.wait_for(call.ended.wait(), 5)

    (said,) = said_in(tmp_path / "logs" / "calls").values()
    assert said == [GREETING]
    assert ends_in(tmp_path / "logs" / "calls") == ["shutdown"]
