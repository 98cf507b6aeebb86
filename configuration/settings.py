"""The configuration's models, frozen; `configuration/loading.py` reads them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, get_args

from pydantic import Field, SecretStr, field_validator, model_validator

from configuration.agent import AgentSettings
from configuration.alerts import AlertsSettings
from configuration.campaigns import CampaignName, CampaignSettings, OutboundSettings
from configuration.carriers import CarrierSections
from configuration.database_urls import STORE_ADDRESS
from configuration.errors import ConfigError
from configuration.resilience import ResilienceSection
from configuration.sections import (
    AfterCallSettings,
    CallbacksSettings,
    CrmSettings,
    HoldLineSettings,
    SheetsSettings,
    StorageSettings,
    TracesSettings,
    near_address,
)
from configuration.stages import StagesSettings
from configuration.texts import (
    english_in,
    sentences,
    texts_with,
    with_sentences,
)
from configuration.values import (
    Count,
    HttpUrl,
    IceUrl,
    IpNetwork,
    MachineName,
    Number,
    Port,
    PublicUrl,
    Region,
    Seconds,
    SecondsOrZero,
    Section,
    Share,
    SocketUrl,
    Text,
    number_key,
)
from processors.holding.utterance_rules import (
    DEFAULT_LANGUAGE,
    OF_AGENT,
    FallbackText,
    Situation,
    built_in_texts,
)
from runtime.machines import machine_path


class ServerSettings(Section):
    """Where the server listens, and its public address."""

    host: Text = "127.0.0.1"
    """The address to listen on. Any but loopback needs a `HOLDLINE_TOKEN` of at least 16
    characters. With a `public_url` that is not loopback, a token that is set must be as long.
    """
    port: Port = 8080
    """The port to listen on."""
    public_url: PublicUrl = "http://127.0.0.1:8080"
    """The address that carriers call: https with a public name. By default from host and port."""
    also_called: tuple[PublicUrl, ...] = ()
    """Further addresses that webhook signatures may cover."""
    machine: MachineName | None = None
    """The name of this machine, if several are behind `public_url`. Carriers get `public_url` with
    `/m/NAME` for what belongs to a call of this machine. Each machine has its own name.
    """
    store: str | None = Field(default=None, pattern=STORE_ADDRESS)
    """A Redis through which several machines share their calls' states and the console's sessions.
    By default each machine keeps its own. A secret if it has a password.
    """
    agent_check_port: Port | None = None
    """The port on which the load balancer asks for this machine's free seats (HAProxy's
    `agent-check`). By default none.
    """
    public_ip: str | None = None
    """This machine's address as a SIP carrier sees it, for `holdline sip setup`."""
    max_calls: Count = 20
    """Calls at once, over all workers. The next caller hears a polite refusal."""
    workers: Count | None = None
    """Processes that answer calls on the port. By default one for each core, at least two."""
    admission: Literal["measured", "seats"] = "measured"
    """`measured`: accept a call only while CPU load and lag leave room for it. `seats`: only
    `max_calls` counts.
    """
    token: SecretStr | None = None  # HOLDLINE_TOKEN, from the environment only
    view_token: SecretStr | None = None  # HOLDLINE_VIEW_TOKEN, likewise
    region: Region | None = None
    """The country of numbers without a country code, such as `DE`. Its national notation is masked
    in logs and pages, too.
    """

    @model_validator(mode="before")
    @classmethod
    def _fill_public_url(cls, value: Any) -> Any:
        """Derive the public address from host and port if it is not set."""
        if not isinstance(value, dict) or "public_url" in value:
            return value
        host, port = value.get("host", "127.0.0.1"), value.get("port", 8080)
        if not (str(port).isdecimal() and int(port) <= 65535):
            port = 8080  # the wrong port is reported once, under its own key
        return value | {"public_url": near_address(str(host), port)}

    @field_validator("public_url")
    @classmethod
    def _remove_slash(cls, value: str) -> str:
        return value.rstrip("/")  # paths are appended, and signatures cover the result

    @property
    def counts_load(self) -> bool:
        """Whether calls are admitted by load, not only by seats."""
        return self.admission == "measured"

    @property
    def own_url(self) -> str:
        """The address of this machine alone, without a final slash."""
        return f"{self.public_url}{machine_path(self.machine)}" if self.machine else self.public_url

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses that webhook signatures may cover, without a final slash.

        This machine's own is the first. A webhook under another machine's path is signed for that
        path.
        """
        also = (address.rstrip("/") for address in self.also_called)
        return tuple(dict.fromkeys((self.own_url, self.public_url, *also)))


class LatencySettings(Section):
    """How long a caller may wait for an answer."""

    budget_s: Seconds = 1.5
    """How long after the caller's last voiced sample an answer should be heard."""
    answer_early: bool = True
    """Ask the model in a pause that sounds final, before the turn is certain to be over. An answer
    that is not needed is billed, but not spoken; at most a quarter of recent requests are asked
    early.
    """
    speak_early: bool = True
    """Send the first clause of an answer to a voice that accepts streamed text, before the sentence
    is complete.
    """


class TurnSettings(Section):
    """How the end of the caller's turn is decided."""

    vad_stop_s: Seconds = 0.2
    """Silence after which the VAD reports a stop. Do not change it: the wait for a transcript is
    computed from it.
    """
    vad_confidence: Share = 0.7
    """The confidence that the VAD needs to take sound for speech."""
    vad_min_volume: Share = 0.4  # Pipecat's own default is 0.6
    """The volume that the VAD needs to take sound for speech. Telephone lines are quiet."""
    smart_turn_stop_s: Seconds = 1.0
    """Further silence that ends a turn which the turn detector took for unfinished."""
    decide_within_s: Seconds = 0.25  # docs/decisions/0007
    """How long the turn detector may take after the VAD's stop. Without a result by then, the turn
    is over if the caller is still silent.
    """
    decide_early: bool = True
    """Start the turn detector after only a tenth of a second of silence, which costs one inference
    for each such pause.
    """
    user_turn_stop_timeout_s: Seconds = 2.5
    """Time without speech or words from the caller that ends any turn."""


class IceServer(Section):
    """A STUN or TURN server for browser calls."""

    url: IceUrl
    """`stun:HOST:PORT`, or `turn:HOST:PORT?transport=udp`."""
    username: Text | None = None
    """The user name at the relay. It is sent to the page, so every caller may use the relay: give
    Holdline an account of its own, with a quota if `public` is true.
    """
    credential_env: str | None = None
    """The variable that holds the relay's password. It is sent to the page, too."""
    credential: SecretStr | None = None

    @model_validator(mode="after")
    def _require_account(self) -> Self:
        """Require an account for a TURN server: none works without one."""
        if self.url.startswith("turn") and not (self.username and self.credential_env):
            raise ValueError("is a TURN server and needs `username` and `credential_env`")
        return self


class WebrtcSettings(Section):
    """Calls from the browser."""

    enabled: bool = True
    """Answer calls from browsers."""
    ice_servers: tuple[IceServer, ...] = Field(default=(), max_length=8)
    """STUN and TURN servers for callers whose network blocks direct audio to this machine. Our side
    uses the first of each kind.
    """
    public: bool = False
    """Open `/client/` and `/api/offer` to everyone, and nothing else. A caller who has not signed
    in is a public caller, and sees only captions.
    """
    public_share: Share = 0.5
    """The share of the possible calls that public callers may have at once, at least one call."""
    public_per_address: Count = 3
    """Public calls at once from one address (for IPv6, from one /64 network)."""
    public_max_call_s: Seconds = 600.0
    """The longest that a public call may last, unless the agent's `max_call_s` is shorter."""


class TwilioSettings(Section):
    """Twilio's telephone numbers, over Media Streams."""

    enabled: bool = False
    """Answer calls from this carrier."""
    auth_token_env: str = "TWILIO_AUTH_TOKEN"  # noqa: S105 - a variable's name
    """The variable that holds the auth token, which verifies webhooks."""
    auth_token: SecretStr | None = None
    account_sid_env: str = "TWILIO_ACCOUNT_SID"
    """The variable that holds the account's SID, which is needed to end, transfer and place calls
    over REST.
    """
    account_sid: SecretStr | None = None
    number: Number | None = None
    """One of the account's numbers, from which calls are placed."""
    api_url: HttpUrl = "https://api.twilio.com"
    """The API's address."""
    calls_per_s: Seconds = 1.0
    """Calls that the account may place per second."""
    returns_within_s: SecondsOrZero = 30.0
    """How long a call whose stream was lost waits for a new one. Zero: it ends at once."""


class SipSettings(Section):
    """The carrier behind LiveKit, for `holdline sip setup`."""

    name: Text = "holdline"
    """The name of our trunks and dispatch rule at LiveKit. Two servers on one LiveKit need
    different names.
    """
    number: Number | None = None
    """Our number, as the carrier sends it. Outbound calls send it exactly as written here, with or
    without the plus.
    """
    numbers: tuple[Number, ...] = ()
    """More of our numbers."""
    allowed_addresses: tuple[IpNetwork, ...] = ()
    """The carrier's addresses or networks. If empty, every address may call in."""
    inbound_username: Text | None = None
    """The user name that the carrier must log in with, if it supports a login."""
    inbound_password_env: str = "SIP_INBOUND_PASSWORD"  # noqa: S105 - a variable's name
    """The variable that holds the password for `inbound_username`."""
    inbound_password: SecretStr | None = None
    media_timeout_s: Seconds = 120.0
    """LiveKit hangs up after this time without a packet from the caller. A muted telephone sends
    none, and LiveKit's default would end such calls.
    """
    server: Text | None = None
    """The carrier's SIP server for outbound calls, with its port if it is not the default."""
    transport: Literal["auto", "udp", "tcp", "tls"] = "auto"
    """The transport protocol to that server."""
    username: Text | None = None
    """The user name at that server. Its password is in `SIP_PASSWORD`."""
    password: SecretStr | None = None
    uri: Text | None = None
    """The address of LiveKit's SIP service, such as `sip:sip.example.com`. It is only printed, for
    the carrier. By default `server.public_ip`, or the host in `transports.livekit.url`.
    """

    @property
    def all_numbers(self) -> tuple[str, ...]:
        """Each of our numbers once, `number` first."""
        first = (self.number,) if self.number else ()
        return tuple(dict.fromkeys((*first, *self.numbers)))


class LivekitSettings(Section):
    """Telephone calls over LiveKit's SIP service."""

    enabled: bool = False
    """Answer calls over LiveKit's SIP service."""
    url: SocketUrl = "ws://127.0.0.1:7880"
    """The address of livekit-server."""
    api_key_env: str = "LIVEKIT_API_KEY"
    """The variable that holds the API key."""
    api_key: SecretStr | None = None
    api_secret_env: str = "LIVEKIT_API_SECRET"  # noqa: S105 - a variable's name
    """The variable that holds the API secret."""
    api_secret: SecretStr | None = None
    room_prefix: Text = "call-"
    """The prefix of the room names of calls."""
    sip: SipSettings = SipSettings()


class LocalSettings(Section):
    """This machine's microphone and loudspeaker, for `holdline mic`."""

    input: str | int | None = None
    """The microphone: its number in `holdline mic --list-devices`, or a part of its name. By
    default the system's.
    """
    output: str | int | None = None
    """The loudspeaker, likewise."""
    headphones: bool = False
    """Whether you use headphones: the microphone does not hear the agent, so you may interrupt."""


class TransportsSettings(CarrierSections):
    """The transports over which calls arrive."""

    local: LocalSettings = LocalSettings()
    webrtc: WebrtcSettings = WebrtcSettings()
    twilio: TwilioSettings = TwilioSettings()
    livekit: LivekitSettings = LivekitSettings()


RecordFile: TypeAlias = Literal[
    "error_log.json",
    "alerts.json",
    "logs.jsonl",
    "error_recovery.log",
    "app_logs.json",
    "app.log",
]


class LogsSettings(Section):
    """Log files and their content."""

    level: Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The lowest level that is written."""
    dir: Path = Path("logs")
    """The folder of logs, call records, messages and clips."""
    format: Literal["text", "json"] = "text"
    """The format on stderr. The folder has both."""
    words: bool = False
    """Whether the log may contain what was said."""
    keep_days: Count = 30
    """Days after which the record files of calls, which hold what was said, are erased."""
    files: tuple[RecordFile, ...] = get_args(RecordFile)
    """Files written next to `holdline.log` for other tools."""

    @property
    def json_lines(self) -> bool:
        """Whether each line on stderr is JSON."""
        return self.format == "json"

    @field_validator("level", mode="before")
    @classmethod
    def _to_upper_case(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


class ShutdownSettings(Section):
    """What happens to calls in progress after SIGTERM."""

    drain_s: SecondsOrZero = 30.0
    """How long calls in progress may continue after SIGTERM. Then the agent says goodbye."""
    move: bool = False
    """Whether another machine goes on with the calls in progress after SIGTERM, if one with the
    same `server.store` has free seats: each call at its next quiet moment, within 20 s. Calls whose
    carrier opens no second stream (Exotel), and those of browsers and LiveKit, go on here."""


class TransferSettings(Section):
    """How the person who takes over a call is briefed."""

    summary_s: Seconds = 4.0
    """How long the model may take for the summary. After that, the caller's last words are used."""
    webhook_url: HttpUrl | None = None
    """The address to which the summary is posted as JSON. A public address must be https."""
    insecure: bool = False
    """Allow plain http to a public address."""


class PricesSettings(Section):
    """Prices of providers, from which the cost of calls is computed."""

    file: Path | None = None
    """Your own price table. By default `configuration/defaults/prices.yaml`."""


def _own_texts(value: dict[str, Any]) -> tuple[FallbackText, ...] | None:
    """Return the texts with the owner's; `None` without a file, or if it cannot be used.

    Reads the file each time, which blocks.
    Commands that use the whole file report what is wrong with it.
    """
    hold = value.get("hold")
    file = hold.get("utterances") if isinstance(hold, dict) else None
    if not isinstance(file, str | Path):
        return None
    try:
        return texts_with(Path(file))
    except ConfigError:
        return None


class Settings(Section):
    """The whole configuration."""

    server: ServerSettings = ServerSettings()
    agent: AgentSettings = AgentSettings()
    agents: dict[str, AgentSettings] = Field(default_factory=dict)
    latency: LatencySettings = LatencySettings()
    hold: HoldLineSettings = HoldLineSettings()
    turn: TurnSettings = TurnSettings()
    stages: StagesSettings
    resilience: ResilienceSection = ResilienceSection()
    transports: TransportsSettings = TransportsSettings()
    alerts: AlertsSettings = AlertsSettings()
    storage: StorageSettings = StorageSettings()
    logs: LogsSettings = LogsSettings()
    shutdown: ShutdownSettings = ShutdownSettings()
    prices: PricesSettings = PricesSettings()
    transfer: TransferSettings = TransferSettings()
    traces: TracesSettings = TracesSettings()
    crm: CrmSettings = CrmSettings()
    after_call: AfterCallSettings = AfterCallSettings()
    callbacks: CallbacksSettings = CallbacksSettings()
    sheets: SheetsSettings = SheetsSettings()
    outbound: OutboundSettings = OutboundSettings()
    campaigns: dict[CampaignName, CampaignSettings] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _inherit_from_agent(cls, value: Any) -> Any:
        """Let each of `agents` inherit the keys of `agent` that it does not set itself.

        Then give each agent the owner's sentences in its language.
        """
        if not isinstance(value, dict):
            return value
        shared, texts = value.get("agent", {}), _own_texts(value)
        if isinstance(agents := value.get("agents"), dict):
            merged = {name: _merge_agent(name, shared, own, texts) for name, own in agents.items()}
            value = value | {"agents": merged}
        if texts and isinstance(shared, dict):
            value = value | {"agent": with_sentences(shared, texts)}
        return value

    @model_validator(mode="after")
    def _hand_out_texts(self) -> Self:
        """Give each agent the owner's texts, for sentences that have no key of their own."""
        if texts := _own_texts({"hold": {"utterances": self.hold.utterances}}):
            for agent in self.all_agents:
                agent.use_texts(texts)
        return self

    @property
    def all_agents(self) -> tuple[AgentSettings, ...]:
        """Every agent, the one of `agent` first."""
        return (self.agent, *self.agents.values())

    def agent_for(self, called: str) -> AgentSettings:
        """Return the agent that answers the called number; `agent` if no other one does."""
        key = number_key(called)
        for agent in self.agents.values():
            if key and key in map(number_key, agent.numbers):
                return agent
        return self.agent


def _merge_agent(
    key: Any, shared: Any, own: Any, texts: tuple[FallbackText, ...] | None
) -> dict[str, Any]:
    """Return an agent's keys: its own, those of `agent` that it does not set, and the sentences.

    The sections `silence` and `recording` are merged key by key, the others replaced as a whole.
    """
    if not isinstance(own, dict):
        return own
    above = shared if isinstance(shared, dict) else {}
    inherited = {name: value for name, value in above.items() if name not in ("name", "numbers")}
    merged = {"name": key} | inherited | own
    for name in ("silence", "recording"):
        if isinstance(inherited.get(name), dict) and isinstance(own.get(name), dict):
            merged[name] = inherited[name] | own[name]
    return with_sentences(merged, texts) if texts else merged


def english_sentences(settings: Settings) -> Iterator[str]:
    """Yield a warning for each agent of another language that would say sentences in English.

    Sentences that the configuration sets itself are its owner's.
    """
    texts = _own_texts({"hold": {"utterances": settings.hold.utterances}}) or built_in_texts()
    for agent in settings.all_agents:
        missing = set(english_in(agent.language, texts))
        own = {
            Situation.GREETING: agent.greeting,
            Situation.FAREWELL: agent.farewell,
            Situation.STILL_THERE: agent.silence.prompts[:1],
            Situation.SILENT_GOODBYE: agent.silence.goodbye,
            Situation.RECORDED: agent.recording.notice,
        }
        for situation, said in own.items():
            english = sentences(situation, DEFAULT_LANGUAGE, texts)
            if said not in (english[0], english[:1]):
                missing.discard(situation)
        if spoken := [situation for situation in Situation if situation in missing]:
            sentences_left = ", ".join(item for item in spoken if item in OF_AGENT) or "none"
            clips_left = ", ".join(item for item in spoken if item not in OF_AGENT) or "none"
            yield (
                f"agent {agent.name!r} speaks {agent.language}, but these sentences are in English:"
                f" {sentences_left}; and these clips: {clips_left}; `holdline texts --language "
                f"{agent.language}` prints the file to translate"
            )
