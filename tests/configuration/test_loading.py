"""Configuration reaches the program, and mistakes are reported at once."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from configuration import checks
from configuration.environment import Environment
from configuration.errors import ConfigError
from configuration.loading import BUILT_IN, Loaded, load
from configuration.printing import as_yaml
from configuration.schema import PATTERNS
from configuration.settings import Settings
from providers.catalog import kinds
from tests.configuration.reading import KEYS, read, refused

ROOT = Path(__file__).parents[2]


def test_a_folder_in_the_place_of_the_default_file_is_an_error() -> None:
    Path("holdline.yaml").mkdir()

    assert refused() == ["holdline.yaml: cannot be read: Is a directory"]


def test_a_default_file_that_links_to_nothing_is_an_error() -> None:
    Path("holdline.yaml").symlink_to("gone.yaml")

    assert refused() == ["holdline.yaml: there is no such file"]


def test_without_a_file_the_providers_own_servers_are_used() -> None:
    stages = read().settings.stages

    assert [rung.kind for _, rung in stages.rungs()] == [
        "deepgram",
        "openai",
        "cartesia",
        "elevenlabs",
    ]
    assert stages.stt[0].url == "wss://api.deepgram.com"
    assert stages.stt[0].api_key is not None
    assert stages.stt[0].api_key.get_secret_value() == "dg-7f3a"


def test_the_shape_that_outside_tests_rely_on_is_accepted() -> None:
    settings = read(
        """
server: {host: 127.0.0.1, port: 8080, public_url: "http://127.0.0.1:8080"}
agent: {greeting: "Hi there.", instructions: "You are kind.", language: en}
latency: {budget_s: 1.5}
stages:
  stt:
    - {name: deepgram, kind: deepgram, url: "ws://127.0.0.1:1", model: nova-3, api_key_env: A}
    - {name: deepgram-b, kind: deepgram, url: "ws://10.0.0.7:1", api_key_env: B}
  llm:
    - {name: openai, kind: openai, url: "http://192.168.1.2:1/v1", model: m, api_key_env: A}
    - {name: openai-b, kind: openai, url: "https://example.com/v1", api_key_env: B}
  tts:
    - {name: cartesia, kind: cartesia, url: "ws://127.0.0.1:1/x", voice: V, api_key_env: A}
    - {name: elevenlabs, kind: elevenlabs, url: "ws://[::1]:1", voice: V, api_key_env: B}
resilience:
  breaker: {failures: 3, open_s: 30, successes: 2}
  probe: {interval_s: 60, timeout_s: 5}
  retry: {initial_s: 5, factor: 2, attempts: 3}
  share: "local"
transports:
  webrtc: {enabled: true}
  twilio: {enabled: true, auth_token_env: TWILIO_AUTH_TOKEN}
  livekit: {enabled: false, url: "ws://x", api_key_env: LIVEKIT_API_KEY, api_secret_env: L}
storage: {url: "sqlite+aiosqlite:///holdline.db"}
logs: {level: INFO, dir: logs}
""",
        A="one",
        B="two",
        TWILIO_AUTH_TOKEN="tw",
    ).settings

    assert settings.agent.greeting == "Hi there."
    assert settings.stages.stt[1].api_key is not None
    assert settings.stages.stt[1].api_key.get_secret_value() == "two"
    assert settings.transports.twilio.auth_token is not None


def test_json_with_tabs_and_surrogate_pairs_is_read_correctly() -> None:
    said = {"agent": {"greeting": "Hi \U0001f600", "farewell": "C:\\ud83d\\ude00"}}
    text = json.dumps(said, indent="\t")

    agent = read(text).settings.agent

    assert "\t" in text
    assert "\\ud83d\\ude00" in text
    assert agent.model_dump(include={"greeting", "farewell"}) == said["agent"]


def test_a_mistake_in_json_is_reported_with_its_line() -> None:
    assert refused('{\n\t"server": {\n\t\t"prot": 1\n\t}\n}') == [
        "holdline.yaml:3: server.prot is unknown; did you mean port?"
    ]
    assert refused(r'{"agent": {"greeting": "\ud83d"}}') == [
        'holdline.yaml:1: agent.greeting is "\ud83d"; it must be text that UTF-8 can hold'
    ]


def test_a_list_of_a_variable_is_read_as_in_the_file() -> None:
    tools = json.dumps([{"name": "t", "description": "\U0001f600 no", "url": "https://x.example"}])

    assert read(HOLDLINE__AGENT__TOOLS=tools).settings.agent.tools[0].description == "\U0001f600 no"
    assert len(refused(HOLDLINE__AGENT__TOOLS="[!!timestamp x]")) == 1


def test_flags_win_over_environment_over_file_over_default() -> None:
    text = "server: {host: localhost, port: 1, max_calls: 1}"
    variables = {"HOLDLINE__SERVER__PORT": "2", "HOLDLINE__SERVER__MAX_CALLS": "2"}

    loaded = read(text, {"server.port": 3, "server.host": None}, **variables)

    server = loaded.settings.server
    assert (server.host, server.max_calls, server.port) == ("localhost", 2, 3)
    assert loaded.layers.where(("server", "host")) == "holdline.yaml:1"
    assert loaded.layers.where(("server", "max_calls")) == "environment HOLDLINE__SERVER__MAX_CALLS"
    assert loaded.layers.where(("server", "port")) == "flag --port"


@pytest.mark.parametrize(
    ("name", "value", "key", "expected"),
    [
        ("DOMAIN", "phone.example.com", "server.public_url", "https://phone.example.com"),
        ("PUBLIC_IP", "203.0.113.7", "server.public_ip", "203.0.113.7"),
        ("SIP_NUMBER", "+15550100", "transports.livekit.sip.number", "+15550100"),
        ("SIP_SERVER", "sip.example.com", "transports.livekit.sip.server", "sip.example.com"),
        ("LIVEKIT_URL", "wss://lk.example.com", "transports.livekit.url", "wss://lk.example.com"),
        ("LIVEKIT_SIP_URI", "sip:x", "transports.livekit.sip.uri", "sip:x"),
        ("MAX_RESPONSE_LATENCY", "0.9", "latency.budget_s", 0.9),
        ("CONTEXT_WINDOW_SIZE", "2000", "agent.context_tokens", 2000),
        ("RETRY_ATTEMPTS", "0", "resilience.retry.attempts", 0),
        ("EMAIL_FROM", "a@b.c", "alerts.email.sender", "a@b.c"),
        ("TELEGRAM_CHAT_ID", "12", "alerts.telegram.chat_id", "12"),
        ("WEBHOOK_URL", "https://h/x", "alerts.webhook.url", "https://h/x"),
        ("HOLDLINE__STAGES__LLM__0__MODEL", "gpt-9", "stages.llm.0.model", "gpt-9"),
        ("HOLDLINE__TRANSPORTS__WEBRTC__ENABLED", "false", "transports.webrtc.enabled", False),
        ("HOLDLINE__AGENT__SILENCE__PROMPTS", '["One?"]', "agent.silence.prompts", ("One?",)),
    ],
)
def test_a_variable_wins_over_the_file(name: str, value: str, key: str, expected: object) -> None:
    text = "latency: {budget_s: 3}\nagent: {context_tokens: 9}\nresilience: {retry: {attempts: 9}}"

    settings: Any = read(text, **{name: value}).settings

    for part in key.split("."):
        settings = settings[int(part)] if part.isdigit() else getattr(settings, part)
    assert settings == expected


def test_a_variable_may_set_a_keypad_key_that_the_file_does_not() -> None:
    agent = read(HOLDLINE__AGENT__KEYS__0="callback", HOLDLINE__AGENT__NUMBERS__0="15550100")

    assert agent.settings.agent.keys == {"0": "callback"}
    assert agent.settings.agent.numbers == ("15550100",)


def test_a_variable_may_set_a_keypad_key_of_an_agent_that_the_file_does_not() -> None:
    settings = read(HOLDLINE__AGENTS__SALES__KEYS__0="callback").settings

    assert settings.agents["sales"].keys == {"0": "callback"}


IDENTITIES = {  # what a file may hold, as it is no secret, and the variable that holds it, too
    "TWILIO_ACCOUNT_SID": "transports.twilio.account_sid",
    "TELNYX_PUBLIC_KEY": "transports.telnyx.public_key",
    "PLIVO_AUTH_ID": "transports.plivo.auth_id",
    "EXOTEL_ACCOUNT_SID": "transports.exotel.account_sid",
    "GOOGLE_APPLICATION_CREDENTIALS": "sheets.credentials_file",
}


def in_file(key: str, value: str) -> str:
    *sections, name = key.split(".")
    return (
        "".join(f"{section}: {{" for section in sections) + f"{name}: {value}" + "}" * len(sections)
    )


def plain(settings: Settings, key: str) -> str:
    value: Any = settings
    for part in key.split("."):
        value = getattr(value, part)
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


@pytest.mark.parametrize(("variable", "key"), IDENTITIES.items())
def test_the_variable_that_names_an_account_wins_over_the_file(variable: str, key: str) -> None:
    loaded = read(in_file(key, "of-the-file"), **{variable: "of-the-variable"})

    assert plain(loaded.settings, key) == "of-the-variable"
    assert loaded.layers.where(tuple(key.split("."))) == f"environment {variable}"


@pytest.mark.parametrize("key", IDENTITIES.values())
def test_an_account_in_the_file_stays_without_a_variable(key: str) -> None:
    assert plain(read(in_file(key, "of-the-file")).settings, key) == "of-the-file"


def test_the_variable_of_a_key_itself_wins_over_the_one_that_it_names() -> None:
    settings = read(
        HOLDLINE__TRANSPORTS__TWILIO__ACCOUNT_SID="AC2", TWILIO_ACCOUNT_SID="AC1"
    ).settings

    assert plain(settings, "transports.twilio.account_sid") == "AC2"


def test_a_variable_may_add_a_rung() -> None:
    at = "HOLDLINE__STAGES__TTS__2__"

    stages = read(**{f"{at}KIND": "local", f"{at}NAME": "last-resort"}).settings.stages

    assert [rung.name for rung in stages.tts] == ["cartesia", "elevenlabs", "last-resort"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("LLM__7__NAME", "cannot set stages.llm[7].name: stages.llm[7] does not exist"),
        ("LLM__7", "cannot set stages.llm[7]: the list has 1 entries"),
        ("LLM__NAME", "cannot set stages.llm.name: stages.llm is a list"),
        ("LLM__0__NAME__X", 'cannot set stages.llm[0].name.x: stages.llm[0].name is "openai"'),
    ],
)
def test_a_variable_for_an_unknown_key_is_reported(name: str, text: str) -> None:
    variable = f"HOLDLINE__STAGES__{name}"

    assert refused(**{variable: "x"}) == [f"environment {variable}: {text}"]


def test_an_empty_variable_is_ignored() -> None:
    assert read(MAX_RESPONSE_LATENCY="", HOLDLINE_TOKEN=" ").settings.server.token is None


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("agnet: {}", "holdline.yaml:1: agnet is unknown; did you mean agent?"),
        (
            "agent:\n  greting: Hi",
            "holdline.yaml:2: agent.greting is unknown; did you mean greeting?",
        ),
        (
            "latency: {vad_stop_s: 1}",
            "holdline.yaml:1: latency.vad_stop_s is unknown; did you mean turn.vad_stop_s?",
        ),
        (
            "logs: {zzz: 1}",
            "holdline.yaml:1: logs.zzz is unknown; "
            "known here: level, dir, format, words, keep_days, files",
        ),
        (
            "latency: {budget_s: fast}",
            'holdline.yaml:1: latency.budget_s is "fast"; it must be a number',
        ),
        (
            "latency: {budget_s: 0}",
            "holdline.yaml:1: latency.budget_s is 0; it must be more than 0",
        ),
        (
            "latency: {budget_s: .inf}",
            "holdline.yaml:1: latency.budget_s is Infinity; it must be a finite number",
        ),
        (
            "server: {port: 65536}",
            "holdline.yaml:1: server.port is 65536; it must be at most 65535",
        ),
        ("server: {port: true}", "holdline.yaml:1: server.port is true; it must be a number"),
        (
            "agent: {greeting: 12}",
            "holdline.yaml:1: agent.greeting is 12; it must be text (in quotes)",
        ),
        (
            "agent: {greeting: '  '}",
            'holdline.yaml:1: agent.greeting is " "; it must be text that is not empty',
        ),
        ("agent: hello", 'holdline.yaml:1: agent is "hello"; it must be a mapping'),
        (
            "stages: {tts: []}",
            "holdline.yaml:1: stages.tts is empty; it must be a list of 1 or more",
        ),
        (
            "stages: {tts: [{kind: elevenlab, api_key_env: OPENAI_API_KEY}]}",
            'holdline.yaml:1: stages.tts[0].kind is "elevenlab"; did you mean "elevenlabs"? '
            f"({', '.join(kinds('tts'))})",
        ),
        (
            "stages: {stt: [{name: x}]}",
            f"holdline.yaml:1: stages.stt[0].kind is missing; ({', '.join(kinds('stt'))})",
        ),
        (
            "stages: {stt: [{name: x, kind: openai, api_key_env: OPENAI_API_KEY}]}",
            'holdline.yaml:1: stages.stt[0].kind is "openai"; use kind: pipecat with service: '
            f"pipecat.services.openai.stt:OpenAISTTService ({', '.join(kinds('stt'))})",
        ),
        (
            "stages: {stt: [{kind: deepgram, api_key_env: NOT_THERE}]}",
            "holdline.yaml:1: stages.stt[0].api_key_env names NOT_THERE, which is not set; "
            "put it in the environment or .env",
        ),
        (
            'stages: {llm: [{kind: openai, url: "ws://127.0.0.1", api_key_env: OPENAI_API_KEY}]}',
            'holdline.yaml:1: stages.llm[0].url is "ws://127.0.0.1"; it must be '
            "https://… or http://…, such as https://api.openai.com/v1",
        ),
        (
            'stages: {llm: [{kind: openai, url: "http://8.8.8.8/v1", api_key_env: '
            "OPENAI_API_KEY}]}",
            'holdline.yaml:1: stages.llm[0].url is "http://8.8.8.8/v1"; plain http carries the key '
            'unencrypted, and "8.8.8.8" is not a loopback or private address; use https or set '
            "insecure: true",
        ),
        (
            "stages: {stt: [{kind: local}], tts: [{kind: local}]}",
            'holdline.yaml:1: stages.tts[0].name is "local", like stages.stt[0]; '
            "give each rung its own name",
        ),
        (
            'agents: {a: {numbers: ["+1 555"]}, b: {numbers: ["1555"]}}',
            "holdline.yaml:1: agents.b.numbers[0] is 1555, which agents.a answers already",
        ),
        (
            "agent:\n  tools: [{name: x}]",
            "holdline.yaml:2: agent.tools[0] needs `name`, `description` and `url`, "
            "or `entry_point`",
        ),
        (
            "transports: {twilio: {enabled: true}}",
            "holdline.yaml:1: transports.twilio.auth_token_env names TWILIO_AUTH_TOKEN, "
            "which is not set; put it in the environment or .env",
        ),
        (
            "server: {host: 0.0.0.0}",
            'holdline.yaml:1: server.host is "0.0.0.0", which others can reach, and '
            "HOLDLINE_TOKEN is not set; set it in the environment or .env, or listen on 127.0.0.1",
        ),
        (
            "prices: {file: nowhere.yaml}",
            'holdline.yaml:1: prices.file is "nowhere.yaml"; there is no such file',
        ),
        (
            f"prices: {{file: {'x' * 300}}}",
            f'holdline.yaml:1: prices.file is "{"x" * 59}…; there is no such file',
        ),
        ("a: 1\na: 2", "holdline.yaml:2: a is given twice; it is already in line 1"),
        (
            "a: [1",
            "holdline.yaml:1: is not YAML: expected ',' or ']', but got '<stream end>'",
        ),
        ("- 1", "holdline.yaml:1: must be a mapping such as `agent: {greeting: Hello}`"),
        (
            "agent: {keys: {x: callback}}",
            'holdline.yaml:1: agent.keys.x is named "x"; '
            "its name must be a key of a telephone, in quotes: 0 to 9, * or #",
        ),
        (
            'agent: {destinations: {-a: {number: "+15550100"}}}',
            'holdline.yaml:1: agent.destinations.-a is named "-a"; its name must be a name of '
            "letters, digits, spaces, _ and - that begins with a letter or digit",
        ),
        (
            "agent: {destinations: {a: {number: x@y}}}",
            'holdline.yaml:1: agent.destinations.a.number is "x@y"; '
            'it must be a telephone number such as "+15550100", in quotes, or sip:NAME@HOST',
        ),
        (
            "campaigns: {x: {script: Hi., disclosure: Hi., retry: {bsy: {}}}}",
            'holdline.yaml:1: campaigns.x.retry.bsy is named "bsy"; its name must be '
            "'busy', 'no_answer', 'silent', 'voicemail', 'failed', 'cancelled' or 'agent_failed'",
        ),
        (
            "transports: {livekit: {url: foo}}",
            'holdline.yaml:1: transports.livekit.url is "foo"; '
            "it must be a URL such as wss://example.livekit.cloud",
        ),
        (
            f"transports: {{webrtc: {{ice_servers: [{'{url: stun:x}, ' * 9}]}}}}",
            "holdline.yaml:1: transports.webrtc.ice_servers is a list; "
            "it must be a list of at most 8",
        ),
        (
            "crm: {kind: rest, url: https://x, mapping: {lookup: {path: /}}}",
            "holdline.yaml:1: crm.mapping.lookup is unknown; did you mean look_up?",
        ),
        (
            "crm: {idempotency_header: X}",
            "holdline.yaml:1: crm.idempotency_header is unknown; "
            "did you mean crm.mapping.idempotency_header?",
        ),
    ],
)
def test_a_wrong_value_is_reported_in_one_line_with_its_place_and_its_cure(
    text: str, line: str
) -> None:
    assert refused(text) == [line]


def patterns_in(schema: Any) -> set[str]:
    """Return every pattern that values of the configuration are checked against."""
    if isinstance(schema, list | tuple):
        return set[str]().union(*map(patterns_in, schema))
    if not isinstance(schema, dict):
        return set()
    own = {schema["pattern"]} if schema.get("type") == "str" and "pattern" in schema else set()
    return own.union(*map(patterns_in, schema.values()))


def test_every_pattern_has_a_description_of_valid_values() -> None:
    patterns = patterns_in(Settings.__pydantic_core_schema__)

    assert len(patterns) > 10
    assert patterns - PATTERNS.keys() == set()


def test_a_variable_with_an_invalid_number_is_one_line() -> None:
    (line,) = refused(**{"HOLDLINE__STAGES__STT__²__KIND": "local"})

    assert line.startswith("environment HOLDLINE__STAGES__STT__²__KIND: cannot set stages.stt")


def test_a_livekit_without_its_key_is_one_line_for_each_half_of_it() -> None:
    assert refused("transports: {livekit: {enabled: true}}") == [
        f"holdline.yaml:1: transports.livekit.{key} names {variable}, which is not set; "
        "put it in the environment or .env"
        for key, variable in (
            ("api_key_env", "LIVEKIT_API_KEY"),
            ("api_secret_env", "LIVEKIT_API_SECRET"),
        )
    ]


def test_all_problems_are_reported_at_once_in_the_order_of_the_file() -> None:
    lines = refused(
        "agnet: {}\nserver: {port: x}\nstages:\n  stt: [{kind: deepgrm, api_key_env: NOPE}]",
        RETRY_ATTEMPTS="many",
        HOLDLINE__FOO__BAR="1",
    )

    assert [line.split(": ")[0] for line in lines] == [
        "holdline.yaml:1",
        "holdline.yaml:2",
        "holdline.yaml:4",
        "holdline.yaml:4",
        "environment HOLDLINE__FOO__BAR",
        "environment RETRY_ATTEMPTS",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "stages: {stt: [{kind: deepgram, api_key: hunter2hunter2}]}",
        "stages: {stt: [{kind: deepgram, api_key_env: hunter2-hunter2}]}",
        "stages: {stt: [{kind: deepgram, api_key_env: sk-hunter2hunter2}]}",
        "stages: {stt: [{kind: deepgram, api_key_env: 9hunter2hunter2hunter2hunter2}]}",
        "transports: {twilio: {auth_token: hunter2}}",
        "server: {token: hunter2}",
        "alerts: {email: {password: hunter2}}",
        "openai_api_key: hunter2",
        'storage: {url: "postgresql+asyncpg://me:hunter2@db/holdline"}',
        'agent: {instructions: "Use sk-hunter2hunter2hunter2 to ask."}',
        'agent: {tools: [{name: a, description: b, url: "https://h/?token=hunter2"}]}',
        "stages: {tts: [{kind: pipecat, service: 'a:B', init: {parameters: {password: hunter2}}}]}",
        'agents: {parameters: {tools: [{name: a, url: "https://h/?token=hunter2"}]}}',
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(text: str) -> None:
    lines = refused(text)

    assert any("secret" in line for line in lines)
    assert "hunter2" not in " ".join(lines)


def test_a_tools_schema_may_have_a_property_named_password() -> None:
    text = """
agent:
  tools:
    - name: reset
      description: Resets it.
      url: "https://example.com/reset"
      parameters: {type: object, properties: {password: {type: string, default: none}}}
"""
    assert read(text).settings.agent.tools[0].name == "reset"


def test_a_rung_without_a_name_is_named_for_its_kind_and_asks_the_usual_url() -> None:
    text = "stages: {stt: [{kind: deepgram, api_key_env: OPENAI_API_KEY}]}"

    rung = read(text).settings.stages.stt[0]

    assert (rung.name, rung.url) == ("deepgram", "wss://api.deepgram.com")


def test_an_insecure_rung_may_use_plain_http_anywhere() -> None:
    text = """
stages:
  llm: [{kind: openai, url: "http://8.8.8.8/v1", insecure: true, api_key_env: OPENAI_API_KEY}]
"""
    assert read(text).settings.stages.llm[0].insecure


def test_a_local_recogniser_that_is_not_installed_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(checks, "is_installed", lambda: False)

    (line,) = refused(
        "stages: {stt: [{kind: local}], llm: [{kind: openai}], tts: [{kind: local, name: l}]}"
    )

    assert line.startswith(
        'holdline.yaml:1: stages.stt[0].kind is "local", which needs the package pocketsphinx, '
        "which is not installed: use Python 3.11 to 3.13"
    )


def test_a_disabled_transport_needs_no_key() -> None:
    text = "transports: {twilio: {enabled: false}, livekit: , webrtc: {enabled: false}}"

    assert not read(text).settings.transports.webrtc.enabled


def test_a_public_host_is_accepted_with_a_token() -> None:
    server = read(
        "server: {host: 0.0.0.0, port: 7}", HOLDLINE_TOKEN="t0p-secret-words"
    ).settings.server

    assert server.token is not None
    assert server.token.get_secret_value() == "t0p-secret-words"
    assert server.public_url == "http://127.0.0.1:7"


def test_a_machine_has_its_own_path_behind_the_common_name() -> None:
    text = """server:
      public_url: https://phone.example.com/
      also_called: [https://old.example.com/]
      machine: a
      agent_check_port: 8079
    """
    server = read(text).settings.server

    assert server.public_url == "https://phone.example.com"
    assert server.own_url == "https://phone.example.com/m/a"
    assert server.addresses == (
        "https://phone.example.com/m/a",
        "https://phone.example.com",
        "https://old.example.com",
    )
    assert server.agent_check_port == 8079


def test_a_server_of_one_machine_has_one_address() -> None:
    server = read("server: {public_url: 'https://phone.example.com'}").settings.server

    assert server.own_url == "https://phone.example.com"
    assert server.addresses == ("https://phone.example.com",)


@pytest.mark.parametrize("name", ["A", "a/b", "-a", "a.b", "ä", "''", "a" * 32])
def test_a_machines_name_that_cannot_be_in_a_path_is_refused(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        read(f"server: {{machine: {name}}}")

    assert "server.machine" in str(raised.value)
    assert "a name of small letters, digits and - such as a" in str(raised.value)


def test_an_address_that_is_not_a_url_is_refused_with_an_example() -> None:
    with pytest.raises(ConfigError) as raised:
        read("server: {also_called: [calls.example.com]}")

    assert "a URL such as https://calls.example.com" in str(raised.value)


@pytest.mark.parametrize(
    "domain",
    [
        "bad domain",
        "phone.example.com?x=1",
        "phone.example.com#x",
        "phone.example.com:99999",
        "phone.example.com:abc",
        "phone.example.com/a b",
        "[::1",
        ":8080",
    ],
)
def test_an_address_that_cannot_be_called_back_is_refused(domain: str) -> None:
    valid = "it must be a URL such as https://phone.example.com"

    assert refused(DOMAIN=domain) == [
        f'environment DOMAIN: server.public_url is "https://{domain}"; {valid}'
    ]


def test_an_incomplete_rung_of_variables_names_the_variable() -> None:
    name = "HOLDLINE__STAGES__STT__1__URL"

    problems = refused(**{name: "wss://ears.example.com"})

    assert problems
    assert {problem.partition(":")[0] for problem in problems} == {f"environment {name}"}


REACHABLE = {
    "host: 0.0.0.0": '"0.0.0.0"',
    "public_url: 'https://phone.example.com'": '"https://phone.example.com"',
    "public_url: 'http://192.168.1.5:8080'": '"http://192.168.1.5:8080"',
    "also_called: ['https://old.example.com']": '"https://old.example.com"',
}


@pytest.mark.parametrize("name", ["HOLDLINE_TOKEN", "HOLDLINE_VIEW_TOKEN"])
@pytest.mark.parametrize(("server", "shown"), REACHABLE.items())
def test_a_short_token_is_refused_where_others_reach_the_server(
    server: str, shown: str, name: str
) -> None:
    long = {"HOLDLINE_TOKEN": "x" * 16, "HOLDLINE_VIEW_TOKEN": "y" * 16}

    (line,) = refused(f"server: {{{server}}}", **{**long, name: "short"})

    assert f"has 5 characters, and others can reach {shown}; {name} must have" in line
    assert "short" not in line
    assert read(f"server: {{{server}}}", **long).settings.server.view_token is not None


@pytest.mark.parametrize(
    ("token", "why"), [("", "without HOLDLINE_TOKEN"), ("y" * 16, "equals HOLDLINE_TOKEN")]
)
def test_a_view_token_needs_another_token_that_differs_from_it(token: str, why: str) -> None:
    (line,) = refused("", HOLDLINE_TOKEN=token, HOLDLINE_VIEW_TOKEN="y" * 16)

    assert why in line


def test_on_loopback_a_short_token_is_accepted() -> None:
    assert read(HOLDLINE_TOKEN="1").settings.server.token is not None


SENDS = {
    "crm.url": ("crm: {kind: webhook, url: '%s', insecure: %s}", "what callers say and the key"),
    "transfer.webhook_url": ("transfer: {webhook_url: '%s', insecure: %s}", "what callers say"),
    "agent.tools[0].url": (
        "agent: {tools: [{name: crm, description: d, url: '%s', insecure: %s}]}",
        "what callers say",
    ),
}


@pytest.mark.parametrize("key", SENDS)
def test_addresses_that_get_callers_words_need_tls(key: str) -> None:
    section, what = SENDS[key]

    assert refused(section % ("http://crm.example.com/x", "false")) == [
        f'holdline.yaml:1: {key} is "http://crm.example.com/x"; plain http carries {what} '
        'unencrypted, and "crm.example.com" is not a loopback or private address; use https or set '
        "insecure: true"
    ]


@pytest.mark.parametrize("key", SENDS)
@pytest.mark.parametrize(
    ("url", "insecure"),
    [
        ("http://crm.example.com/x", "true"),
        ("https://crm.example.com/x", "false"),
        ("http://10.0.0.7/x", "false"),
        ("http://localhost:9/x", "false"),
    ],
    ids=["insecure", "https", "private", "loopback"],
)
def test_addresses_that_get_callers_words_may_be_private_or_marked_insecure(
    key: str, url: str, insecure: str
) -> None:
    settings = read(SENDS[key][0] % (url, insecure)).settings

    tools = [tool.url for tool in settings.agent.tools]
    assert url in (settings.crm.url, settings.transfer.webhook_url, *tools)


@pytest.mark.parametrize("kind", ["none", "own"])
def test_an_unused_crm_may_have_any_address(kind: str) -> None:
    settings = read(f"crm: {{kind: {kind}, url: 'http://crm.example.com/x'}}").settings

    assert settings.crm.kind == kind


@pytest.mark.parametrize("name", ["X-Api-Key", "x-goog-api-key", "Authorization", "X_TOKEN"])
def test_a_secret_among_a_rungs_options_is_recognised(name: str) -> None:
    headers = f"options: {{extra_headers: {{{name}: s3cret-value}}}}"
    text = f"stages: {{stt: [{{kind: deepgram, api_key_env: DEEPGRAM_API_KEY, {headers}}}]}}"

    (line,) = refused(text)
    assert f"stages.stt[0].options.extra_headers.{name} is a secret" in line
    assert "s3cret" not in line


def test_a_secret_among_a_rungs_options_is_not_printed() -> None:
    options = "HOLDLINE__STAGES__STT__0__OPTIONS"
    text = as_yaml(read(**{options: "{extra_headers: {X-Api-Key: s3cret-value}}"}))

    assert "X-Api-Key" in text
    assert "s3cret" not in text


@pytest.mark.parametrize(
    "address",
    [
        "storage: {url: 'postgresql+asyncpg://me:hun/ter2@db/x'}",
        "storage: {url: 'postgresql+asyncpg://me:123/ter2@db/x'}",
        "resilience: {share: 'redis://me:hun/ter2@cache/0'}",
    ],
)
def test_a_password_with_a_slash_is_recognised(address: str) -> None:
    lines = refused(address)

    assert any("holds a secret" in line for line in lines)
    assert not any("ter2" in line for line in lines)


def test_an_address_with_a_port_and_an_at_is_no_secret() -> None:
    url = "ws://127.0.0.1:8080/a@b"
    text = f"stages: {{stt: [{{kind: deepgram, url: '{url}', api_key_env: DEEPGRAM_API_KEY}}]}}"

    assert read(text).settings.stages.stt[0].url == url


def test_an_agent_inherits_missing_keys() -> None:
    settings = read(
        """
agent: {greeting: "Hello.", language: de, silence: {prompt_after_s: 4, goodbye: Tschau}}
agents:
  sales: {numbers: [+15550100, "+1 (555) 0101"], greeting: "Sales.", silence: {goodbye: Bye}}
"""
    ).settings

    sales = settings.agent_for("15550101")
    assert (sales.name, sales.greeting, sales.language) == ("sales", "Sales.", "de")
    assert (sales.silence.prompt_after_s, sales.silence.goodbye) == (4.0, "Bye")
    assert settings.agent_for("+15550100") is sales
    assert settings.agent_for("+15550199") is settings.agent
    assert settings.agent_for("") is settings.agent


def test_numbers_that_differ_in_a_star_or_a_hash_are_two_numbers() -> None:
    written = 'agents: {a: {numbers: ["*100", "55#1"]}, b: {numbers: [100, "551"]}}'
    settings = read(written).settings

    named = [settings.agent_for(called).name for called in ("*100", "100", "55#1", "551")]
    assert named == ["a", "b", "a", "b"]


def test_a_wrong_key_of_agent_is_reported_once_however_many_inherit_it() -> None:
    lines = refused("agent: {greting: x}\nagents: {a: {}, b: {}}")

    assert lines == ["holdline.yaml:1: agent.greting is unknown; did you mean greeting?"]


def test_words_that_old_yaml_took_for_booleans_are_text() -> None:
    assert read("agent: {language: no}").settings.agent.language == "no"


def test_a_key_that_no_header_can_carry_is_refused_without_printing_it() -> None:
    assert refused(OPENAI_API_KEY="one two") == [
        "built-in default: stages.llm[0].api_key_env names OPENAI_API_KEY, which is not "
        "one printable ASCII word; put it in the environment or .env"
    ]


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\x00", b"a: \x00b", b"&a [*a]", b"!!python/x 1", b"a: !!timestamp x"]
)
def test_a_file_that_is_no_configuration_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "holdline.yaml").write_bytes(content)

    assert len(refused()) == 1


def test_a_file_of_aliases_that_would_fill_the_memory_is_refused() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]

    assert "too large" in refused("\n".join(rows))[0]


def test_a_missing_named_file_is_reported() -> None:
    with pytest.raises(ConfigError, match=r"gone.yaml: there is no such file"):
        load(Path("gone.yaml"), variables=Environment(values=KEYS))


def test_the_printed_configuration_masks_secrets_and_names_their_source() -> None:
    text = as_yaml(
        read(
            "agent: {greeting: Hi}",
            HOLDLINE_TOKEN="t0psecret",
            MAX_RESPONSE_LATENCY="2",
            WEBHOOK_URL="https://hooks.example.com/services/T0/B0",
            HOLDLINE__STORAGE__URL="postgresql+asyncpg://me:hunter2@db/x",
        )
    )

    for secret in ("t0psecret", "hunter2", "services", *KEYS.values()):
        assert secret not in text
    assert "# token: ********  (environment HOLDLINE_TOKEN)" in text
    assert "# api_key: ********  (environment OPENAI_API_KEY)" in text
    lines = {" ".join(line.split()) for line in text.splitlines()}
    assert 'greeting: "Hi" # holdline.yaml:1' in lines
    assert "budget_s: 2.0 # environment MAX_RESPONSE_LATENCY" in lines
    assert "port: 8080 # default" in lines


def test_the_printed_configuration_can_be_read_again() -> None:
    before = read(
        "agents: {sales: {numbers: ['+1555'], greeting: 'Say \"hi\": # now'}}\n"
        "agent: {tools: [{entry_point: 'a.b:c'}]}"
    )

    after = read(as_yaml(before))

    assert after.settings == before.settings


def test_the_example_shows_the_defaults() -> None:
    example = load(ROOT / "holdline.example.yaml", variables=Environment(values=KEYS))

    assert example.settings == read().settings


def test_the_built_in_default_needs_nothing_but_keys() -> None:
    assert "_key:" not in BUILT_IN.read_text(encoding="utf-8")
    assert Settings.model_validate(read().layers.tree) == read().settings


TWO = """
stages:
  stt: [{name: ears, kind: local}]
  llm:
    - {name: mind, kind: openai, url: "http://127.0.0.1:9/v1"}
    - {name: brain, kind: openai, url: "http://127.0.0.1:9/v1", api_key_env: BRAIN_KEY}
  tts: [{kind: cartesia, url: "ws://127.0.0.1:9"}, {name: voice, kind: local}]
"""


def loaded_with(**keys: str) -> Loaded:
    Path("holdline.yaml").write_text(TWO, encoding="utf-8")
    return load(variables=Environment(values=keys))


def test_a_key_is_looked_for_under_the_vendors_usual_name() -> None:
    loaded = loaded_with(OPENAI_API_KEY="one", BRAIN_KEY="two", CARTESIA_API_KEY="three")

    found = [rung.api_key.get_secret_value() for rung in loaded.settings.stages.llm if rung.api_key]
    assert found == ["one", "two"]
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    ("url", "gets_the_key"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("http://10.0.0.7/v1", True),  # a gateway of our own
        ("https://api.openai.com.example.net/v1", False),
        ("https://notopenai.com/v1", False),
        ("https://api.example.net/v1", False),
    ],
)
def test_a_key_goes_to_another_vendor_only_if_the_file_says_so(
    url: str,
    gets_the_key: bool,  # noqa: FBT001
) -> None:
    text = f"stages: {{stt: [{{kind: local}}], llm: [{{kind: openai, url: '{url}'}}]}}"
    Path("holdline.yaml").write_text(text, encoding="utf-8")
    known = {"OPENAI_API_KEY": "one", "CARTESIA_API_KEY": "two", "ELEVENLABS_API_KEY": "three"}
    try:
        loaded = load(variables=Environment(values=known))
    except ConfigError as refused:
        told = str(refused)
        assert not gets_the_key
        assert "stages.llm[0].api_key_env is missing, and OPENAI_API_KEY is not sent to" in told
    else:
        assert loaded.settings.stages.llm[0].api_key
        assert gets_the_key


def test_a_rung_without_a_key_is_left_out_with_a_warning() -> None:
    loaded = loaded_with(OPENAI_API_KEY="one")

    names = [rung.name for _, rung in loaded.settings.stages.rungs()]
    assert names == ["ears", "mind", "voice"]
    assert loaded.warnings == (
        "holdline.yaml:6: stages.llm[1].api_key_env names BRAIN_KEY, which is not set; "
        "put it in the environment or .env; the rung is left out",
        "holdline.yaml:7: stages.tts[0].api_key_env names CARTESIA_API_KEY, which is not set; "
        "put it in the environment or .env; the rung is left out",
    )


def test_a_stage_without_any_key_is_an_error() -> None:
    with pytest.raises(ConfigError) as refused:
        loaded_with(CARTESIA_API_KEY="three")

    assert "OPENAI_API_KEY, which is not set" in str(refused.value)
    assert "BRAIN_KEY, which is not set" in str(refused.value)
