"""The checks of a batch endpoint's answer."""

import numpy as np
import pytest

from fallbacks.failure import Kind, ServiceError
from providers.batch import AUDIBLE_LEVEL, BatchAnswer, checked_samples
from providers.provider import RungSpec

RATE_HZ = 8000
TEXT = "We open at nine."  # 0.3 s of speech at least
RUNG = RungSpec(
    name="voice", stage="tts", kind="own", url="wss://voice.example/v1", sample_rate_hz=RATE_HZ
)


def tone(seconds: float, level: int = 8000) -> bytes:
    return np.full(round(seconds * RATE_HZ), level, "<i2").tobytes()


def answer(body: bytes, content_type: str = "audio/pcm") -> BatchAnswer:
    return BatchAnswer(content_type=content_type, body=body)


@pytest.mark.parametrize(
    "body", [tone(1.0), tone(1.0, -8000), tone(1.0, AUDIBLE_LEVEL + 1), tone(0.5) + tone(1.0, 0)]
)
def test_speech_is_returned_unchanged(body: bytes) -> None:
    assert checked_samples(answer(body), RUNG, TEXT) == body


@pytest.mark.parametrize(
    ("wrong", "kind", "reason"),
    [
        (answer(b"{}", "application/json"), Kind.PROTOCOL, "the answer is not audio"),
        (answer(b"<html>", "text/html"), Kind.PROTOCOL, "the answer is not audio"),
        (answer(tone(1.0)[:-1]), Kind.PROTOCOL, "half a sample"),
        (answer(b""), Kind.SILENT, "no sound"),
        (answer(tone(1.0, 0)), Kind.SILENT, "silence"),
        (answer(tone(1.0, AUDIBLE_LEVEL)), Kind.SILENT, "silence"),
        (answer(tone(0.1)), Kind.CUT, "far too short for its text"),
        (answer(tone(0.1) + tone(1.0, 0)), Kind.CUT, "far too short for its text"),
    ],
)
def test_what_cannot_be_the_requested_speech_is_a_failure(
    wrong: BatchAnswer, kind: Kind, reason: str
) -> None:
    with pytest.raises(ServiceError) as failed:
        checked_samples(wrong, RUNG, TEXT)

    assert failed.value.failure.kind is kind
    assert failed.value.failure.reason == f"voice.example: {reason}"
