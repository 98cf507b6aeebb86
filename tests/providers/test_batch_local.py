"""The local recogniser and voice with whole recordings and whole texts."""

import io

import numpy as np
import pytest
import soundfile

from fallbacks.failure import Kind, ServiceError
from providers.batch import local_stt, local_tts
from providers.provider import RungSpec, WholeRecording
from tests.faultlab.synthetic_caller import as_wav
from tests.faultlab.synthetic_caller import say as spoken_by_a_caller
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


async def test_what_cannot_be_read_is_no_fault_of_the_recogniser() -> None:
    with pytest.raises(ServiceError, match="cannot read that recording") as wrong:
        await local_stt.transcribe(rung("stt"), WholeRecording(content=b"no sound"))

    assert wrong.value.failure.kind is Kind.BAD_REQUEST


async def test_a_language_without_models_is_told() -> None:
    german = WholeRecording(content=as_wav(spoken_by_a_caller("hello")), language="de")

    with pytest.raises(ServiceError, match="brings English only"):
        await local_stt.transcribe(rung("stt"), german)


async def test_a_whole_text_is_spoken_on_this_machine() -> None:
    pcm = await local_tts.synthesise(rung("tts"), "Good morning. We are open.")

    samples = np.frombuffer(pcm, "<i2")
    assert 1.0 < samples.size / 8000 < 5.0
    assert np.abs(samples.astype(int)).max() > 1000


async def test_a_voice_that_does_not_exist_is_told() -> None:
    with pytest.raises(ServiceError) as wrong:
        await local_tts.synthesise(rung("tts", voice="xx-none"), "Hello.")

    assert wrong.value.failure.kind is Kind.NOT_FOUND
