"""The name of a rung's provider, and the advice for servers that speak OpenAI's protocol."""

from pathlib import Path

import pytest

from calls.sentences import explain
from configuration.agent import AgentSettings
from configuration.errors import ConfigError
from configuration.loading import load
from configuration.rungs import rung_of, vendor_of, vendors_of
from configuration.settings import Settings
from configuration.stages import ModelSettings, RungSettings
from fallbacks.failure import Kind
from providers.openai_servers import openai_servers
from providers.provider import Stage

DOCS = Path(__file__).parents[2] / "docs" / "services.md"


@pytest.mark.parametrize(
    ("stage", "kind", "name", "url", "title"),
    [
        ("llm", "openai", "openai", "https://api.openai.com/v1", "OpenAI"),
        ("llm", "openai", "openai", "https://eu.api.openai.com/v1", "OpenAI"),
        ("llm", "openai", "openai", "", "OpenAI"),
        ("llm", "openai", "openai", "http://127.0.0.1:9/v1", "OpenAI"),
        ("llm", "openai", "openai-b", "https://api.openai.com/v1", "OpenAI"),
        ("llm", "openai", "spare", "https://api.openai.com/v1", "OpenAI"),
        ("llm", "openai", "groq", "https://api.groq.com/openai/v1", "groq (api.groq.com)"),
        ("llm", "openai", "openai", "https://api.mistral.ai/v1", "openai (api.mistral.ai)"),
        (
            "llm",
            "openai",
            "azure",
            "https://us.openai.azure.com/openai/v1",
            "azure (us.openai.azure.com)",
        ),
        ("llm", "openai", "ollama", "http://localhost:11434/v1", "ollama (localhost:11434)"),
        ("llm", "openai", "mine", "https://a:b@llm.example/v1", "mine (llm.example)"),
        ("llm", "openai", "openai", "http://10.0.0.7:8000/v1", "openai (10.0.0.7:8000)"),
        ("llm", "openai", "near", "https://notopenai.com/v1", "near (notopenai.com)"),
        ("stt", "deepgram", "deepgram", "wss://api.eu.deepgram.com", "Deepgram"),
        ("stt", "deepgram", "ears", "wss://ears.example", "ears (ears.example)"),
        ("tts", "elevenlabs", "b", "wss://api.elevenlabs.io", "ElevenLabs"),
        ("tts", "local", "local", "", "The local voice"),
    ],
)
def test_a_vendor_is_named_only_for_its_own_server_and_a_simulated_one(
    stage: Stage, kind: str, name: str, url: str, title: str
) -> None:
    assert vendor_of(RungSettings(name=name, kind=kind, url=url), stage).title == title


@pytest.mark.parametrize(
    ("init", "title", "url"),
    [
        ({}, "OpenAI", "https://api.openai.com/v1"),
        ({"base_url": "https://eu.api.openai.com/v1"}, "OpenAI", None),
        ({"organization": "https"}, "OpenAI", "https://api.openai.com/v1"),
        ({"base_url": "https://api.groq.com/openai/v1"}, "spare (api.groq.com)", None),
        ({"base_url": "http://localhost:8880/v1"}, "spare (localhost:8880)", None),
    ],
)
def test_a_url_among_the_arguments_of_a_service_is_that_of_its_server(
    init: dict[str, str], title: str, url: str | None
) -> None:
    service = "pipecat.services.openai.llm:OpenAILLMService"
    settings = RungSettings(name="spare", kind="pipecat", service=service, init=init)

    assert vendor_of(settings, "llm").title == title
    rung = rung_of(settings, "llm", agent=AgentSettings(), sample_rate_hz=8000)
    assert rung.url == (url or init["base_url"])


@pytest.mark.parametrize(
    ("name", "url", "vendor"),
    [
        ("deepgram", "wss://api.deepgram.com", "Deepgram"),
        ("deepgram-b", "wss://api.eu.deepgram.com", "Deepgram"),
        ("deepgram-c", "ws://127.0.0.1:9", "Deepgram"),
        ("ears", "wss://ears.example", "ears.example"),
    ],
)
def test_the_rungs_of_a_vendor_share_its_name_and_those_of_another_server_do_not(
    name: str, url: str, vendor: str
) -> None:
    settings = RungSettings(name=name, kind="deepgram", url=url)

    assert vendor_of(settings, "stt").name == vendor


def test_two_rungs_of_one_vendor_have_two_sentences_and_a_probe_says_the_same_as_an_alert() -> None:
    rungs = [{"kind": "openai"}, {"kind": "openai", "name": "spare"}]
    settings = Settings.model_validate(
        {
            "stages": {
                "stt": [{"kind": "deepgram"}],
                "llm": rungs,
                "tts": [{"kind": "local"}],
            }
        }
    )
    vendors = vendors_of(settings)

    said = [explain(Kind.NETWORK, "", vendors["llm", name]) for name in ("openai", "spare")]
    probed = [
        explain(
            Kind.NETWORK,
            "",
            rung_of(rung, "llm", agent=settings.agent, sample_rate_hz=8000).vendor,
        )
        for rung in settings.stages.llm
    ]

    assert said == ["OpenAI cannot be reached", "OpenAI (spare) cannot be reached"] == probed


def advice_for(kind: str, tmp_path: Path, stage: str = "llm") -> str:
    file = tmp_path / "holdline.yaml"
    file.write_text(f'stages: {{{stage}: [{{kind: "{kind}", api_key_env: X}}]}}')
    with pytest.raises(ConfigError) as caught:
        load(file, keys=False)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "url"),
    [
        *((name, server.url) for name, server in openai_servers().items()),
        ("LM-Studio", "http://localhost:1234/v1"),
    ],
)
def test_a_server_that_speaks_openais_protocol_gets_its_address(
    kind: str, url: str, tmp_path: Path
) -> None:
    assert f'use kind: openai with url: "{url}" (openai, anthropic, gemini, pipecat)' in advice_for(
        kind, tmp_path
    )
    assert url in DOCS.read_text("utf-8")
    ModelSettings(name=kind, kind="openai", url=url)


@pytest.mark.parametrize("kind", ["replicate", "claude", "my own"])
def test_an_unknown_kind_of_model_is_told_about_openais_protocol(kind: str, tmp_path: Path) -> None:
    assert "use kind: openai with its url, if it speaks OpenAI's" in advice_for(kind, tmp_path)


@pytest.mark.parametrize(
    ("stage", "kind", "advice"),
    [
        ("llm", "opnai", 'did you mean "openai"?'),
        ("llm", "OpenAI", 'did you mean "openai"?'),
        ("tts", "eleven-labs", 'did you mean "elevenlabs"?'),
        ("stt", "azure", "use kind: pipecat with service: pipecat.services.azure.stt:AzureSTT"),
        ("stt", "Whisper", "use kind: pipecat with service: pipecat.services.whisper.stt:Whisper"),
        ("tts", "azure", "use kind: pipecat with service: pipecat.services.azure.tts:AzureTTS"),
        ("tts", "rime", "use kind: pipecat with service: pipecat.services.rime.tts:Rime"),
        ("tts", "piper", "use kind: pipecat with service: pipecat.services.piper.tts:Piper"),
        ("llm", "aws", "use kind: pipecat with service: pipecat.services.aws.llm:AWSBedrock"),
        ("tts", "coqui", "use kind: pipecat for any service of Pipecat (cartesia"),
    ],
)
def test_an_unknown_kind_is_told_what_to_write_instead(
    stage: str, kind: str, advice: str, tmp_path: Path
) -> None:
    assert advice in advice_for(kind, tmp_path, stage)


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("https://api.groq.com/openai/v1", "name the variable with its key, such as GROQ_API_KEY"),
        ("https://us.openai.azure.com/openai/v1", "such as AZURE_OPENAI_API_KEY"),
        ("https://llm.example/v1", "name the variable with its key"),
    ],
)
def test_a_server_whose_key_is_not_named_gets_its_usual_variable(
    url: str, cure: str, tmp_path: Path
) -> None:
    file = tmp_path / "holdline.yaml"
    file.write_text(f'stages: {{llm: [{{kind: openai, name: it, url: "{url}"}}]}}')
    with pytest.raises(ConfigError) as caught:
        load(file, keys=False)

    assert str(caught.value).rstrip().endswith(cure)
