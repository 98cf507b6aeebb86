"""Rungs as a developer writes them."""

import re
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
from pipecat.services.cartesia.tts import CartesiaTTSService
from pipecat.services.deepgram.stt import DeepgramSTTService
from pipecat.services.elevenlabs.tts import ElevenLabsTTSService
from pipecat.services.llm_service import LLMService
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.services.rime.tts import RimeTTSService
from pipecat.services.soniox.stt import SonioxSTTService
from pipecat.services.tts_service import TTSService
from pipecat.transcriptions.language import Language

from holdline.rungs import LadderRung, rung, specs_of
from providers.catalog import ADAPTED, kinds, provider
from providers.provider import RungSpec, Stage


class OwnVoice(TTSService):
    """A developer's own voice."""

    def __init__(self, *, api_key: str, flavour: str = "plain", **kwargs: Any) -> None:
        super().__init__(**kwargs)

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Any, None]:
        del text, context_id
        yield None


class ActingVoice(OwnVoice):
    """A developer's own voice that takes two of a rung's keys as arguments of its own."""

    def __init__(self, *, instructions: str, timeout_s: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class KeylessModel(LLMService):
    """A developer's own model that takes nothing."""


class SharedSessionVoice(OwnVoice):
    """A developer's own voice that takes a client's session."""

    def __init__(self, *, api_key: str, aiohttp_session: Any, **kwargs: Any) -> None:
        super().__init__(api_key=api_key, **kwargs)
        self.session = aiohttp_session


def spec(stage: Stage, written: LadderRung) -> RungSpec:
    return specs_of(stage, [written])[0]


def test_settings_and_arguments_become_a_rungs_own_keys() -> None:
    settings = DeepgramSTTService.Settings(
        model="nova-2", language=Language.EN_US, interim_results=True, endpointing=300
    )
    found = spec("stt", rung(DeepgramSTTService, api_key="K", settings=settings))

    assert (found.kind, found.api_key, found.url) == ("deepgram", "K", "wss://api.deepgram.com")
    assert (found.model, found.language, found.options) == ("nova-2", "en-US", {"endpointing": 300})


def test_a_model_keeps_its_instructions_and_address() -> None:
    settings = OpenAILLMService.Settings(system_instruction="Be kind.", temperature=0.2)
    found = spec("llm", rung(OpenAILLMService, base_url="http://here/v1", settings=settings))

    assert (found.kind, found.url, found.instructions) == ("openai", "http://here/v1", "Be kind.")
    assert found.options == {"temperature": 0.2}


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("https://eu.cartesia.ai/tts", "wss://eu.cartesia.ai/tts"),
        ("eu.cartesia.ai/tts", "wss://eu.cartesia.ai/tts"),
        ("ws://127.0.0.1:9", "ws://127.0.0.1:9"),
    ],
)
def test_an_address_gets_the_scheme_of_its_service(given: str, url: str) -> None:
    assert spec("tts", rung(CartesiaTTSService, api_key="K", url=given)).url == url


def test_a_voice_is_named_in_either_way() -> None:
    by_argument = spec("tts", rung(CartesiaTTSService, api_key="K", voice_id="v"))
    chosen = ElevenLabsTTSService.Settings(voice="v")
    by_setting = spec("tts", rung(ElevenLabsTTSService, api_key="K", settings=chosen))
    by_kind = spec("tts", rung("cartesia", api_key="K", voice="v"))

    assert [found.voice for found in (by_argument, by_setting, by_kind)] == ["v"] * 3


@pytest.mark.parametrize(
    "given", [{"instructions": "Slowly."}, {"settings": {"instructions": "Slowly."}}]
)
@pytest.mark.parametrize("voice", ["openai", OpenAITTSService])
def test_a_voices_instructions_are_one_of_its_settings(voice: Any, given: dict[str, Any]) -> None:
    found = spec("tts", rung(voice, api_key="K", **given))

    assert (found.options, found.instructions) == ({"instructions": "Slowly."}, "")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("voice", [RimeTTSService, ElevenLabsTTSService])
def test_the_older_form_of_the_settings_is_read_as_settings(voice: Any) -> None:
    found = spec("tts", rung(voice, api_key="K", params=voice.InputParams(language=Language.DE)))

    assert (found.language, found.options, found.init) == ("de", {}, {})


@pytest.mark.parametrize("told", ["auto_mode", "speech"])
def test_what_is_no_setting_in_the_older_form_is_an_argument(told: str) -> None:
    with pytest.raises(ValueError, match=f"{told} has no counterpart|has no argument {told}"):
        spec("tts", rung(ElevenLabsTTSService, api_key="K", params={told: True}))


def test_a_constructors_own_argument_goes_to_it_although_a_rung_has_such_a_key() -> None:
    given = {"instructions": "Slowly.", "timeout_s": 3.0}

    assert spec("tts", rung(ActingVoice, api_key="K", **given)).init == given


@pytest.mark.parametrize(
    ("stated", "languages"),
    [(None, ["", "en", "", "en"]), ("es", ["es"] * 4)],
    ids=["none is stated", "another one states it"],
)
def test_a_rung_without_a_language_follows_its_ladder_or_its_service(
    stated: str | None, languages: list[str]
) -> None:
    openai = rung(OpenAITTSService, api_key="K", language=stated)
    rungs = [rung("elevenlabs", api_key="K"), rung("cartesia", api_key="K"), openai, rung("local")]

    assert [found.language for found in specs_of("tts", rungs)] == languages


@pytest.mark.parametrize(
    ("stage", "written", "language"),
    [
        ("tts", rung(ElevenLabsTTSService, api_key="K"), None),
        ("stt", rung(SonioxSTTService, api_key="K"), None),
        ("tts", rung(RimeTTSService, api_key="K", language="es"), "spa"),
    ],
    ids=lambda value: value.title if isinstance(value, LadderRung) else "",
)
async def test_a_service_is_told_a_language_only_if_one_is_stated(
    stage: Stage, written: LadderRung, language: str | None
) -> None:
    found = spec(stage, written)
    service: Any = provider(stage, found.kind, found.service).build(
        replace(found, sample_rate_hz=8000)
    )

    assert service._settings.language == language
    assert not getattr(service._settings, "language_hints", None)


def test_equal_kinds_get_different_names() -> None:
    rungs = [rung("cartesia", api_key=key) for key in "AB"]

    assert [found.name for found in specs_of("tts", rungs)] == ["cartesia", "cartesia-2"]


def test_any_other_service_is_adapted_with_its_own_arguments() -> None:
    own = spec("tts", rung(OwnVoice, api_key="K", flavour="strong", sample_rate=16_000))
    known = spec("tts", rung(OpenAITTSService, api_key="K", voice="alloy"))

    assert (own.kind, own.service) == ("pipecat", f"{__name__}:OwnVoice")
    assert (own.init, own.rate_hz, own.api_key) == ({"flavour": "strong"}, 16_000, "K")
    assert (known.kind, known.voice, known.name) == ("pipecat", "alloy", "openai")


@pytest.mark.parametrize(
    ("kind", "service"), [("aura", "DeepgramTTSService"), ("openai", "OpenAITTSService")]
)
def test_a_kind_that_the_catalogue_adapts_is_built_from_its_class(kind: str, service: str) -> None:
    found = spec("tts", rung(kind, api_key="K", voice="v", sample_rate=24_000))

    assert found.service.endswith(f":{service}")
    assert (found.kind, found.voice, found.rate_hz) == (kind, "v", 24_000)


def test_a_key_is_in_no_representation() -> None:
    written = rung(CartesiaTTSService, api_key="THE-KEY")

    assert "THE-KEY" not in f"{written!r} {spec('tts', written)!r}"


class PickyVoice(OwnVoice):
    """A developer's own voice that needs an argument of its own."""

    def __init__(self, *, group_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class Enclosing:
    class Voice(OwnVoice):
        """Cannot be found by its name in its module."""


KINDS = [kind for kind in kinds("tts") if kind != ADAPTED]
SAID: dict[str, tuple[Stage, Any, str]] = {
    "no counterpart": (
        "tts",
        rung(CartesiaTTSService, api_key="K", cartesia_version="1"),
        "rung(CartesiaTTSService): cartesia_version has no counterpart in Holdline's own cartesia "
        "rung; leave it out",
    ),
    "the rate": (
        "stt",
        rung(DeepgramSTTService, api_key="K", sample_rate=8000),
        "rung(DeepgramSTTService): sample_rate is that of the pipeline; leave it out",
    ),
    "the session": (
        "tts",
        rung(SharedSessionVoice, aiohttp_session=None),
        "rung(SharedSessionVoice): Holdline gives it the aiohttp_session; leave it out",
    ),
    "a fixed setting": (
        "stt",
        rung(DeepgramSTTService, api_key="K", settings={"smart_format": True}),
        "rung(DeepgramSTTService): settings.smart_format must be False; leave it out",
    ),
    "turns of its own": (
        "stt",
        rung(SonioxSTTService, api_key="K", vad_force_turn_endpoint=False),
        "rung(SonioxSTTService): vad_force_turn_endpoint is False; it must be True; leave it out",
    ),
    "a misspelt setting": (
        "stt",
        rung(DeepgramSTTService, api_key="K", settings={"endpointin": 3}),
        "rung(DeepgramSTTService): there is no settings.endpointin; did you mean endpointing?",
    ),
    "a misspelt argument": (
        "tts",
        rung(OwnVoice, api_key="K", flavor="x"),
        "rung(OwnVoice): the class has no argument flavor; did you mean flavour?",
    ),
    "instructions of a voice": (
        "tts",
        rung(CartesiaTTSService, api_key="K", instructions="Slowly."),
        "rung(CartesiaTTSService): it takes no instructions; leave it out",
    ),
    "instructions of the local voice": (
        "tts",
        rung("local", instructions="Slowly."),
        "rung('local'): it takes no instructions; leave it out",
    ),
    "a recogniser's voice": (
        "stt",
        rung(DeepgramSTTService, api_key="K", voice="v"),
        "rung(DeepgramSTTService): it takes no voice; leave it out",
    ),
    "a model's language": (
        "llm",
        rung(OpenAILLMService, api_key="K", language="de"),
        "rung(OpenAILLMService): it takes no language; leave it out",
    ),
    "the key of a class without one": (
        "llm",
        rung(KeylessModel, api_key="K"),
        "rung(KeylessModel): it takes no api_key; leave it out",
    ),
    "another stage": (
        "stt",
        rung(CartesiaTTSService, api_key="K"),
        "rung(CartesiaTTSService): it is a voice, for tts; stt needs a subclass of STTService",
    ),
    "no service": (
        "llm",
        rung(int),
        "rung(int): it is not a service of Pipecat; llm needs a subclass of LLMService",
    ),
    "no kind": (
        "tts",
        rung("cartesian"),
        f"rung('cartesian'): tts has no such kind; it has {', '.join(KINDS)}",
    ),
    "no key": ("tts", rung("cartesia"), "rung('cartesia'): api_key is missing"),
    "a wrong scheme": (
        "tts",
        rung("cartesia", api_key="K", url="ftp://x"),
        "rung('cartesia'): url is 'ftp://x'; it begins with wss or ws://",
    ),
    "a missing argument": (
        "tts",
        rung(PickyVoice, api_key="K"),
        "rung(PickyVoice): group_id is missing",
    ),
    "a missing key of an own class": ("tts", rung(OwnVoice), "rung(OwnVoice): api_key is missing"),
    "a voice's number": (
        "tts",
        rung("cartesia", api_key="K", voice=12),
        "rung('cartesia'): voice is 12; it must be text",
    ),
    "a key of another type": (
        "tts",
        rung("cartesia", api_key=b"K"),
        "rung('cartesia'): api_key is of type bytes; it must be text",
    ),
    "a time in words": (
        "tts",
        rung("local", timeout_s="long"),
        "rung('local'): timeout_s is 'long'; it must be a number above 0",
    ),
    "no time": (
        "tts",
        rung("local", timeout_s=0),
        "rung('local'): timeout_s is 0; it must be a number above 0",
    ),
    "a rate in words": (
        "tts",
        rung(OwnVoice, api_key="K", sample_rate="8k"),
        "rung(OwnVoice): rate_hz is '8k'; it must be a whole number above 0",
    ),
    "a rate that the service does not have": (
        "tts",
        rung(OpenAITTSService, api_key="K", sample_rate=8000),
        "rung(OpenAITTSService): the rate is 8000; it supports 24000",
    ),
    "a list of settings": (
        "tts",
        rung(OpenAITTSService, api_key="K", settings=["speed"]),
        "rung(OpenAITTSService): settings is ['speed']; it must be a mapping, or its Settings(...)",
    ),
    "a setting of another type": (
        "llm",
        rung(OpenAILLMService, api_key="K", settings={"temperature": "warm"}),
        "rung(OpenAILLMService): settings.temperature is 'warm'; it must be a number",
    ),
    "an argument of another type": (
        "tts",
        rung(OwnVoice, api_key="K", flavour=["x"]),
        "rung(OwnVoice): flavour is ['x']; it must be text",
    ),
    "an unknown option of the local voice": (
        "tts",
        rung("local", speed=2),
        "rung('local'): there is no settings.speed; it has words_per_minute, pitch",
    ),
    "a misspelt option of the local recogniser": (
        "stt",
        rung("local", settings={"dicti": "a"}),
        "rung('local'): there is no settings.dicti; did you mean dict?",
    ),
    "an option of another type": (
        "tts",
        rung("local", pitch="high"),
        "rung('local'): settings.pitch is 'high'; it must be a whole number",
    ),
    "a number as a setting": (
        "tts",
        rung(OpenAITTSService, api_key="K", settings={1: 1}),
        "rung(OpenAITTSService): there is no settings.1",
    ),
    "a list as a name": (
        "tts",
        rung("local", name=["a"]),  # type: ignore[arg-type]
        "rung('local'): name is ['a']; it must be text",
    ),
    "a service itself": (
        "tts",
        OwnVoice,
        f"Ladders: tts has {OwnVoice!r}; write rung(ItsClass, ...)",
    ),
}


@pytest.mark.parametrize("case", SAID)
def test_a_wrong_rung_is_refused_in_one_line_with_the_cure(case: str) -> None:
    stage, written, text = SAID[case]
    with pytest.raises((ValueError, TypeError)) as refused:
        specs_of(stage, [written])

    assert str(refused.value) == text


def test_settings_that_are_none_are_not_given() -> None:
    found = spec("tts", rung(OpenAITTSService, api_key="K", settings=None, sample_rate=None))

    assert (found.options, found.rate_hz) == ({}, 0)


@pytest.mark.parametrize(
    ("service", "text"),
    [
        (None, "it got None, which is no class; write rung(ItsClass, ...)"),
        (rung("local"), "which is no class; write rung(ItsClass, ...)"),
        (lambda: None, "which is no class; write rung(ItsClass, ...)"),
        (Enclosing.Voice, f"give it this name at the top level of {__name__}"),
        (type("OwnVoice", (OwnVoice,), {"__module__": __name__}), "it is not found by its name"),
    ],
    ids=["nothing", "a rung", "a function", "an inner class", "another class of its name"],
)
def test_what_is_no_class_or_not_found_by_its_name_is_refused(service: Any, text: str) -> None:
    with pytest.raises(TypeError, match=re.escape(text)):
        rung(service)


@pytest.mark.parametrize("ladder", [rung("local"), OwnVoice, "cartesia", iter([rung("local")])])
def test_a_ladder_is_a_list(ladder: Any) -> None:
    with pytest.raises(TypeError, match=re.escape("write tts=[rung(ItsClass, ...)]")):
        specs_of("tts", ladder)


def test_a_stage_needs_a_rung() -> None:
    with pytest.raises(ValueError, match="tts is empty"):
        specs_of("tts", [])
