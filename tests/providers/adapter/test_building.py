"""The arguments of the services that the adapter builds, and the end of their sessions."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from pipecat.services.llm_service import LLMService
from pipecat.services.stt_service import STTService

from providers.adapter import voice
from providers.catalog import provider
from providers.facts import RungFacts
from providers.provider import RungSpec, Stage
from tests.kit.bench import rung_spec
from tests.providers.adapter.own_voices import InlineVoice


class SessionRecogniser(STTService):
    """Takes a client's session, as many of Pipecat's services do."""

    def __init__(self, *, aiohttp_session: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.session = aiohttp_session

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Any, None]:
        del audio
        yield None


class SessionModel(LLMService):
    """Takes a client's session, too."""

    def __init__(self, *, aiohttp_session: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.session = aiohttp_session


class SessionVoice(InlineVoice):
    """Takes a client's session, too."""

    def __init__(self, *, aiohttp_session: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.session = aiohttp_session


def spec(stage: Stage, cls: type) -> RungSpec:
    return rung_spec(stage, "pipecat", service=f"{__name__}:{cls.__name__}")


@pytest.mark.parametrize(
    ("stage", "cls"), [("stt", SessionRecogniser), ("llm", SessionModel), ("tts", SessionVoice)]
)
async def test_a_session_that_no_other_service_uses_is_closed_with_its_service(
    stage: Stage, cls: type
) -> None:
    rung = spec(stage, cls)
    service: Any = provider(stage, rung.kind, rung.service).build(rung)
    connector = service.session.connector
    await (service.close() if stage == "llm" else service.cleanup())

    assert connector.closed


async def test_the_end_of_a_call_closes_no_session_of_another_call_on_a_shared_voice() -> None:
    rung = replace(spec("tts", SessionVoice), facts=RungFacts(is_local=True))
    shared = replace(rung, shared=voice.share(rung))
    ended, other = voice.build(shared), voice.build(shared)
    connectors = [service.session.connector for service in (ended, other)]
    await ended.cleanup()

    assert [connector.closed for connector in connectors] == [True, False]
    await other.cleanup()
