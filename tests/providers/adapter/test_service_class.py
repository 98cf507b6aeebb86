"""The parameters of each service's constructor, and the arguments that build it for a rung."""

import csv
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
from pipecat.transcriptions.language import Language

from providers.adapter.building import Bare, build_service, why_rate_is_rejected
from providers.adapter.service_class import (
    PLACES,
    ServiceClass,
    UnusableServiceError,
    arguments,
    describe,
    load_class,
)
from providers.provider import RungSpec, Stage
from tests.providers.adapter.own_services import HERE, OldRecogniser, OwnVoice, PlainModel

TABLE = Path(__file__).with_name("constructors.tsv")
PIPECAT = "pipecat.services."
NONE = "-"
MODELS = {  # of services that check the name at once
    "sarvam.llm:SarvamLLMService": "sarvam-105b",
    "sarvam.tts:SarvamHttpTTSService": "bulbul:v2",
    "sarvam.tts:SarvamTTSService": "bulbul:v2",
}


def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def name_of(row: dict[str, str]) -> str:
    return row["service"]


def described(row: dict[str, str]) -> ServiceClass:
    module, _, name = row["service"].partition(":")
    return describe(getattr(importlib.import_module(PIPECAT + module), name))


def spec(service: str, stage: Any = "tts", **changes: Any) -> RungSpec:
    given = {
        "name": "it",
        "kind": "pipecat",
        "url": "",
        "sample_rate_hz": 16000,
        "language": "de",
        "api_key": "a-key",
    }
    return RungSpec(**{**given, "service": service, "stage": stage, **changes})


@pytest.mark.parametrize("row", rows(), ids=name_of)
def test_each_value_of_a_rung_has_one_place_in_a_service(row: dict[str, str]) -> None:
    service = described(row)
    places = {
        value: f"settings.{name}"
        if name in service.settings and name in names["settings"]
        else name
        for value, names in {item: {"settings": (), **PLACES[item]} for item in PLACES}.items()
        if (name := service.places[value] or NONE)
    }
    lacks = [
        name
        for name in filter(service.needs, service.parameters)
        if name not in service.places.values()
    ]

    found = {**places, "rate": places["rate_hz"], "needs": " ".join(lacks) or NONE}
    assert {name: found[name] for name in row if name in found} == {
        name: row[name] for name in row if name in found
    }


@pytest.mark.filterwarnings("ignore:.*is deprecated since:DeprecationWarning")
@pytest.mark.parametrize("row", rows(), ids=name_of)
def test_each_service_can_be_built_for_a_rung(row: dict[str, str]) -> None:
    service = described(row)
    scheme = "wss" if "ws" in str(service.parameters.get(service.places["url"], "")) else "https"
    needs = {} if row["needs"] == NONE else dict.fromkeys(row["needs"].split(), "needed")
    rung = spec(
        PIPECAT + row["service"],
        row["stage"],
        url=f"{scheme}://vendor.example/v1" if service.places["url"] else "",
        model=MODELS.get(row["service"], "a-model"),
        voice="a-voice",
        instructions="Be brief." if row["stage"] == "llm" else "",
        init=needs,
    )

    built = build_service(rung, Bare)

    assert built.name == "it"
    settings = built._settings
    wanted = {"model": rung.model, "voice": "a-voice", "system_instruction": rung.instructions}
    for name in {"voice", "system_instruction"} & service.settings.keys():
        assert getattr(settings, name) == wanted[name]


def test_an_openai_client_asks_once_and_as_long_as_the_rung_says() -> None:
    rung = spec(PIPECAT + "groq.llm:GroqLLMService", "llm", url="https://x.example", timeout_s=4)

    client = build_service(rung, Bare)._client

    assert (client.max_retries, client.timeout) == (0, 4)
    assert str(client.base_url).startswith("https://x.example")


def test_an_owners_names_are_found_and_what_a_class_sets_itself_is_not_passed() -> None:
    found = describe(OwnVoice)

    assert (found.places["key"], found.places["url"]) == ("api_key", "endpoint")
    assert "push_stop_frames" not in found.parameters
    assert {"pitch", "stop_frame_timeout_s", "name"} <= set(found.parameters)
    assert describe(PlainModel).parameters == {}


def test_values_go_where_an_owners_constructor_takes_them() -> None:
    rung = spec(f"{HERE}:OwnVoice", url="wss://there.example/x", voice="anna", init={"pitch": 2})

    built = build_service(rung, Bare)

    # Its default URL has no scheme, so it gets none.
    assert built.given == {"key": "a-key", "url": "there.example/x", "voice": "anna", "pitch": 2}


def test_parameters_of_an_older_service_are_filled_like_settings() -> None:
    rung = spec(f"{HERE}:OldRecogniser", "stt", options={"punctuate": False})

    given = arguments(describe(OldRecogniser), rung)

    assert given["token"] == "a-key"
    assert given["params"].model_dump() == {"language": Language.DE, "punctuate": False}


def test_a_mapping_becomes_the_class_that_a_setting_takes() -> None:
    rung = spec(
        PIPECAT + "cartesia.tts:CartesiaTTSService", options={"generation_config": {"speed": 1.2}}
    )

    built = build_service(rung, Bare)

    assert built._settings.generation_config.speed == 1.2


def test_a_language_that_is_to_be_detected_is_not_given() -> None:
    service = PIPECAT + "soniox.stt:SonioxSTTService"
    given = arguments(describe(load_class(service, "stt")), spec(service, "stt", language="multi"))

    assert "settings" not in given


@pytest.mark.parametrize(("rate_hz", "reason"), [(8000, "only 16000 Hz"), (16000, "")])
def test_a_rate_is_to_blame_only_if_the_service_can_be_built_without_it(
    rate_hz: int, reason: str
) -> None:
    assert why_rate_is_rejected(spec(f"{HERE}:OwnVoice", rate_hz=rate_hz)) == reason
    assert why_rate_is_rejected(spec(f"{HERE}:BrokenVoice", rate_hz=rate_hz)) == ""


@pytest.mark.parametrize(
    ("service", "stage", "text"),
    [
        ("nowhere_at_all:Voice", "tts", "there is no module nowhere_at_all in the folder"),
        ("voices.py:Voice", "tts", "there is no module voices in the folder"),
        (f"{HERE}.py:OwnVoice", "tts", f"{HERE} is a module itself: write {HERE}:Class"),
        ("./own/voices.py:V", "tts", "as in an import, such as own.voices"),
        (".voices:V", "tts", "as in an import, such as voices"),
        (PIPECAT + "minimx.tts:A", "tts", "there is no module pipecat.services.minimx"),
        (PIPECAT + "hume.tts:A", "tts", 'pip install "pipecat-ai[hume]"'),
        (PIPECAT + "azure.stt:A", "stt", '"pipecat-ai[azure]"'),
        (PIPECAT + "aws.nova_sonic.llm:A", "llm", '"pipecat-ai[aws-nova-sonic]"'),
        (PIPECAT + "speechmatics.stt:A", "stt", '"pipecat-ai[speechmatics]"'),
        (PIPECAT + "aws.llm:AWSBedrockLLMService", "llm", '"pipecat-ai[aws]"'),
        (PIPECAT + "google.stt:GoogleSTTService", "stt", "ImportError: cannot import name"),
        (PIPECAT + "google.tts:GoogleTTSService", "tts", 'pip install "pipecat-ai[google]"'),
        (PIPECAT + "minimax.tts:MinimaxTTSService", "tts", "has no class MinimaxTTSService"),
        (PIPECAT + "soniox.stt:SonioxSTTService", "tts", "it is a recogniser, for stages.stt"),
        (PIPECAT + "soniox.tts:SonioxTTSService", "llm", "it is a voice, for stages.tts"),
        (PIPECAT + "groq.llm:GroqLLMService", "stt", "it is a model, for stages.llm"),
        (PIPECAT + "openai.realtime.llm:OpenAIRealtimeLLMService", "llm", "hears and speaks"),
        (PIPECAT + "ultravox.llm:UltravoxRealtimeLLMService", "llm", "hears and speaks"),
        (f"{HERE}:NoService", "tts", "stages.tts needs a subclass of TTSService"),
        (f"{HERE}:HERE", "tts", "has no class HERE"),
        (f"{HERE}:Unfinished", "tts", "abstract and does not define run_tts"),
        ("pipecat.services.tts_service:TTSService", "tts", "not a service of Pipecat"),
    ],
)
def test_what_cannot_be_a_rung_is_refused_with_the_reason(
    service: str, stage: Stage, text: str
) -> None:
    with pytest.raises(UnusableServiceError) as refused:
        load_class(service, stage)

    assert text in str(refused.value)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("raise SystemExit('no')", "SystemExit: no"),
        ("import not_there_at_all", "not_there_at_all"),
        ("raise BaseException('no')", "BaseException: no"),
        ("import asyncio; raise asyncio.CancelledError", "CancelledError: CancelledError"),
        ("def __getattr__(name): raise RuntimeError('no')", "RuntimeError: no"),
        ("class Odd(Exception):\n    __str__ = None\nraise Odd", "Odd: Odd"),
    ],
)
def test_a_module_that_exits_or_raises_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, text: str
) -> None:
    (tmp_path / "own_faulty.py").write_text(f"{source}\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_faulty", raising=False)

    with pytest.raises(UnusableServiceError, match=text):
        load_class("own_faulty:Voice", "tts")


@pytest.mark.parametrize("name", ["SystemExit", "BaseException", "CancelledError"])
def test_a_constructor_that_would_end_the_process_is_refused(name: str) -> None:
    rung = spec(f"{HERE}:BrokenVoice", init={"error": name})

    with pytest.raises(UnusableServiceError, match=f"its constructor raised {name}: no licence"):
        build_service(rung, Bare)
    assert why_rate_is_rejected(rung) == ""
