"""Moments inside a request, as the record has them."""

import asyncio

import aiohttp
import pytest

from lab.simulators.lab import Lab
from lab.simulators.record import MARKS_KEPT, Request

pytestmark = pytest.mark.virtual_time


def request() -> Request:
    return Request(number=1, instance="openai", at_s=0.0, method="POST", path="/")


def test_the_oldest_moment_is_dropped_when_there_are_too_many() -> None:
    entry = request()

    for number in range(MARKS_KEPT + 3):
        entry.mark("flush", float(number))

    assert len(entry.marks) == MARKS_KEPT
    assert entry.marks[0].at_s == 3.0


async def test_a_streamed_answer_marks_the_end_of_each_sentence_and_the_next_word() -> None:
    asked = {
        "model": "gpt-4.1-mini",
        "stream": True,
        "messages": [{"role": "user", "content": "Good morning, where are you?"}],
    }
    async with Lab(speed=50.0) as lab, aiohttp.ClientSession() as http:
        openai = lab.instance("openai")
        key = {"Authorization": f"Bearer {openai.api_key}"}
        url = f"{openai.url}/chat/completions"
        async with http.post(url, json=asked, headers=key) as answer:
            await answer.read()
        (entry,) = lab.record.requests("openai")

    told = [mark.what for mark in entry.marks]
    assert told == ["sentence", "next", "next", "next", "sentence", "next"]
    assert entry.marks[0].words == 6  # We are at twelve Market Street.
    assert entry.at_s < entry.marks[0].at_s <= entry.marks[1].at_s


@pytest.mark.parametrize("name", ["cartesia", "elevenlabs"])
async def test_a_voice_marks_its_text_and_its_first_sound(name: str) -> None:
    async with Lab(speed=50.0) as lab, aiohttp.ClientSession() as http:
        await spoken(http, lab, name=name)
        entries = [item for item in lab.record.requests(name) if item.marks]

    assert [mark.what for mark in entries[0].marks] == ["text", "audio"]
    assert entries[0].marks[0].words == 2


async def spoken(http: aiohttp.ClientSession, lab: Lab, *, name: str) -> None:
    voice = lab.instance(name)
    at = {
        "cartesia": f"{voice.url}?api_key={voice.api_key}&cartesia_version=2026-03-01",
        "elevenlabs": f"{voice.url}/v1/text-to-speech/v/multi-stream-input"
        "?model_id=eleven_flash_v2_5&output_format=pcm_16000",
    }[name]
    text = {
        "cartesia": {
            "context_id": "a",
            "model_id": "sonic-3",
            "transcript": "Good morning.",
            "voice": {"mode": "id", "id": "v"},
            "output_format": {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 16000},
            "continue": False,
        },
        "elevenlabs": {"context_id": "a", "text": "Good morning. ", "flush": True},
    }[name]
    async with http.ws_connect(at, headers={"xi-api-key": voice.api_key}) as line:
        await line.send_json(text)
        async with asyncio.timeout(5):
            await line.receive()
            await line.receive()
