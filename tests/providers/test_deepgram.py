"""Deepgram, against its simulator; its requests, against a server without checks."""

from typing import Any, ClassVar

import pytest

from providers.catalog import provider
from tests.kit.bench import rung_spec, running
from tests.providers.recording_server import Asked, notebook
from tests.providers.stt_conformance import SimulatedStt

pytestmark = pytest.mark.virtual_time


class TestDeepgram(SimulatedStt):
    kind: ClassVar[str] = "deepgram"
    model: ClassVar[str] = "nova-3"


async def asked(*, rate_hz: int = 8000, **changes: Any) -> Asked:
    async with notebook() as book:
        url = f"ws://127.0.0.1:{book.port}"
        rung = rung_spec("stt", "deepgram", url, sample_rate_hz=rate_hz, **changes)
        async with running(provider("stt", "deepgram").build(rung), rate_hz=rate_hz) as bench:
            await bench.worker.cancel()
        return book.asked[0]


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
async def test_the_legs_rate_is_requested(rate_hz: int) -> None:
    request = await asked(rate_hz=rate_hz)

    assert request.path == "/v1/listen"
    assert (request.query["sample_rate"], request.query["encoding"]) == (str(rate_hz), "linear16")


@pytest.mark.parametrize("language", ["en", "es", "multi"])
async def test_the_rungs_language_and_model_are_requested(language: str) -> None:
    request = await asked(language=language, model="nova-3-medical")

    assert (request.query["language"], request.query["model"]) == (language, "nova-3-medical")


async def test_callers_voices_are_excluded_from_training() -> None:
    assert (await asked()).query["mip_opt_out"] == "true"


async def test_the_key_is_in_the_header_and_not_in_the_url() -> None:
    request = await asked()

    assert request.headers["Authorization"] == "Token KEY"
    assert "KEY" not in str(dict(request.query))


async def test_alternatives_are_requested_if_the_rung_wants_them() -> None:
    assert (await asked(alternatives=3)).query["alternatives"] == "3"
    assert "alternatives" not in (await asked()).query
