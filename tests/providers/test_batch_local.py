"""The local recogniser and voice with whole recordings and whole texts."""

import asyncio
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fallbacks.failure import Kind, ServiceError
from providers import local_stt, local_tts, sphinx_process
from providers.provider import RungSpec, WholeRecording
from providers.sphinx_process import SphinxProcess
from tests.lab.simulators.synthetic_caller import as_wav, silence
from tests.lab.simulators.synthetic_caller import say as spoken_by_a_caller
from tests.providers.near_sphinx import NearSphinx

pytestmark = pytest.mark.virtual_time


def rung(stage: str, **changes: object) -> RungSpec:
    fields = {"name": "here", "stage": stage, "kind": "local", "url": "", "sample_rate_hz": 8000}
    return RungSpec(**{**fields, **changes})


@pytest.fixture(autouse=True)
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_stt, "SphinxProcess", NearSphinx)


async def test_a_recording_is_heard_on_this_machine() -> None:
    wav = as_wav(spoken_by_a_caller("hello how are you"))

    found = await local_stt.transcribe(rung("stt"), WholeRecording(content=wav))

    assert found.text.endswith("you")
    assert (found.provider, found.language) == ("here", "en")
    assert found.confidence is not None
    assert found.duration_s == pytest.approx(soundfile.info(io.BytesIO(wav)).duration, abs=0.01)


TALKATIVE = """
import json, struct, sys
heard = {"text": "so it goes on and on " * 10, "alternatives": []}
while header := sys.stdin.buffer.read(5):
    kind, length = struct.unpack("<BI", header)
    sys.stdin.buffer.read(length)
    answers = {2: ["interim"] * 3, 4: ["final"]}.get(kind, [])  # to sound, and to its end
    for what in answers:
        print(json.dumps({**heard, "what": what, "finished": kind == 4}), flush=True)
"""


@pytest.mark.real_time  # it is a process of its own
async def test_text_of_a_long_recording_is_read_while_that_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "providers").mkdir()
    (tmp_path / "providers" / "__init__.py").touch()
    (tmp_path / "providers" / "sphinx_worker.py").write_text(TALKATIVE)
    monkeypatch.setattr(sphinx_process, "_ROOT", tmp_path)
    monkeypatch.setattr(local_stt, "SphinxProcess", SphinxProcess)
    recording = WholeRecording(content=as_wav(silence(600.0)))

    async with asyncio.timeout(20.0):
        found = await local_stt.transcribe(rung("stt"), recording)

    assert found.text.startswith("so it goes on")


async def test_an_unreadable_recording_is_not_the_recognisers_fault() -> None:
    with pytest.raises(ServiceError, match="recording cannot be read") as wrong:
        await local_stt.transcribe(rung("stt"), WholeRecording(content=b"no sound"))

    assert wrong.value.failure.kind is Kind.BAD_REQUEST


async def test_a_language_without_models_is_reported() -> None:
    german = WholeRecording(content=as_wav(spoken_by_a_caller("hello")), language="de")

    with pytest.raises(ServiceError, match="includes only English models"):
        await local_stt.transcribe(rung("stt"), german)


async def test_a_whole_text_is_spoken_on_this_machine() -> None:
    pcm = await local_tts.synthesise(rung("tts"), "Good morning. We are open.")

    samples = np.frombuffer(pcm, "<i2")
    assert 1.0 < samples.size / 8000 < 5.0
    assert np.abs(samples.astype(int)).max() > 1000


async def test_a_voice_that_does_not_exist_is_reported() -> None:
    with pytest.raises(ServiceError) as wrong:
        await local_tts.synthesise(rung("tts", voice="xx-none"), "Hello.")

    assert wrong.value.failure.kind is Kind.NOT_FOUND
