"""The configuration's models, frozen; `bot/config/loading.py` reads them."""

from pathlib import Path
from typing import Any, Literal, Self, TypeAlias, get_args

from pydantic import Field, SecretStr, field_validator, model_validator

from bot.config.agent import AgentSettings
from bot.config.alerts import AlertsSettings
from bot.config.campaigns import CampaignName, CampaignSettings, OutboundSettings
from bot.config.carriers import CarrierSections
from bot.config.resilience import ResilienceSection
from bot.config.sections import (
    AfterCallSettings,
    CallbacksSettings,
    CrmSettings,
    HoldLineSettings,
    SheetsSettings,
    StorageSettings,
    TracesSettings,
    near_address,
)
from bot.config.stages import StagesSettings
from bot.config.values import (
    Count,
    HttpUrl,
    IceUrl,
    IpNetwork,
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
)


class ServerSettings(Section):
    """Where the server listens, and its public address."""

    host: Text = "127.0.0.1"
    """Where to listen. Any address but loopback needs a long `HOLDLINE_TOKEN`, and so does a
    `public_url` that is not loopback if a token is set.
    """
    port: Port = 8080
    """The port."""
    public_url: PublicUrl = "http://127.0.0.1:8080"
    """The address that carriers call, https on a public name. By default host and port."""
    also_called: tuple[PublicUrl, ...] = ()
    """Further addresses whose webhook signatures are accepted."""
    public_ip: str | None = None
    """This machine's address as a SIP carrier sees it, for `holdline sip setup`."""
    max_calls: Count = 20
    """Calls at once, over all workers. The next caller hears a polite refusal."""
    workers: Count | None = None
    """Processes that answer calls behind the port. By default one for each core, at least two."""
    admission: Literal["measured", "seats"] = "measured"
    """`measured`: accept a call while cores and lag leave room for it. `seats`: `max_calls` alone
    counts.
    """
    token: SecretStr | None = None  # HOLDLINE_TOKEN, from the environment only
    view_token: SecretStr | None = None  # HOLDLINE_VIEW_TOKEN, likewise
    region: Region | None = None
    """The country whose numbers are written without a country code, such as `DE`. They are masked
    in logs and pages, too.
    """

    @model_validator(mode="before")
    @classmethod
    def _address(cls, value: Any) -> Any:
        """Derive the public address from host and port if it is not set."""
        if not isinstance(value, dict) or "public_url" in value:
            return value
        host, port = value.get("host", "127.0.0.1"), value.get("port", 8080)
        if not (str(port).isdecimal() and int(port) <= 65535):
            port = 8080  # the wrong port is reported once, under its own key
        return value | {"public_url": near_address(str(host), port)}

    @field_validator("public_url")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        return value.rstrip("/")  # paths are appended, and signatures cover the result

    @property
    def counts_load(self) -> bool:
        """Whether calls are admitted by load, not only by seats."""
        return self.admission == "measured"

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses for which a carrier may sign a webhook, without a final slash."""
        return (self.public_url, *(address.rstrip("/") for address in self.also_called))


class LatencySettings(Section):
    """How long a caller may wait for an answer."""

    budget_s: Seconds = 1.5
    """How long after the caller's last voiced sample an answer should be heard."""
    answer_early: bool = True
    """Ask the model in a pause that sounds final, before it is certain. An answer that is not
    needed is never heard, but billed; at most a quarter of recent requests.
    """
    speak_early: bool = True
    """Give a voice that takes text as it comes the first clause of an answer, before the sentence
    ends.
    """


class TurnSettings(Section):
    """How the end of the caller's turn is decided."""

    vad_stop_s: Seconds = 0.2
    """Silence after which the VAD reports a stop. The wait for a transcript is computed from it:
    leave it alone.
    """
    vad_confidence: Share = 0.7
    """The confidence from which the VAD takes sound for speech."""
    vad_min_volume: Share = 0.4  # Pipecat's own default is 0.6
    """The volume from which the VAD takes sound for speech. Telephone lines are quiet."""
    smart_turn_stop_s: Seconds = 1.0
    """Further silence that ends a turn which the detector took for unfinished."""
    decide_within_s: Seconds = 0.25  # docs/decisions/0007
    """How long after the VAD's stop the turn detector may take. Then silence has decided."""
    decide_early: bool = True
    """Start the detector after a tenth of a second of silence, at the cost of one inference for
    each such pause.
    """
    user_turn_stop_timeout_s: Seconds = 2.5
    """Time after the caller's last sign that ends any turn."""


class IceServer(Section):
    """A STUN or TURN server for browser calls."""

    url: IceUrl
    """`stun:HOST:PORT`, or `turn:HOST:PORT?transport=udp`."""
    username: Text | None = None
    """The account at the relay. The page gets it as it is, so every caller may use the relay: give
    it an account of its own, with a quota if `public` is true.
    """
    credential_env: str | None = None
    """The variable that holds the relay's password. The page gets it as it is."""
    credential: SecretStr | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Require an account for a TURN server: none works without one."""
        if self.url.startswith("turn") and not (self.username and self.credential_env):
            raise ValueError("is a TURN server and needs `username` and `credential_env`")
        return self


class WebrtcSettings(Section):
    """Calls from the browser."""

    enabled: bool = True
    """Answer calls from browsers."""
    ice_servers: tuple[IceServer, ...] = Field(default=(), max_length=8)
    """STUN and TURN servers for callers whose network lets no sound through to this machine. Our
    side uses the first of each.
    """
    public: bool = False
    """Open `/client/` and `/api/offer` to everybody, nothing else. Whoever has not signed in is a
    public caller, and sees captions alone.
    """
    public_share: Share = 0.5
    """The share of the calls that fit which public callers may have at once, but at least one."""
    public_per_address: Count = 3
    """Public calls at once from one address (of IPv6: one /64 network)."""
    public_max_call_s: Seconds = 600.0
    """The longest that a public call may last, if the agent's `max_call_s` is not shorter."""


class TwilioSettings(Section):
    """Twilio's telephone numbers, over Media Streams."""

    enabled: bool = False
    """Answer calls of this carrier."""
    auth_token_env: str = "TWILIO_AUTH_TOKEN"  # noqa: S105 - a variable's name
    """The variable that holds the auth token, which checks webhooks."""
    auth_token: SecretStr | None = None
    account_sid_env: str = "TWILIO_ACCOUNT_SID"
    """The variable that holds the account's SID: with it calls are ended, transferred and placed
    over REST.
    """
    account_sid: SecretStr | None = None
    number: Number | None = None
    """One of the account's numbers, from which calls are placed."""
    api_url: HttpUrl = "https://api.twilio.com"
    """Another server with the same API."""
    calls_per_s: Seconds = 1.0
    """Calls that the account may place in a second."""
    returns_within_s: SecondsOrZero = 30.0
    """How long a call whose stream died waits for another one. Zero ends it at once."""


class SipSettings(Section):
    """The carrier behind LiveKit, for `holdline sip setup`."""

    name: Text = "holdline"
    """The trunks and the rule are found again under this name. Two servers on one LiveKit need two
    names.
    """
    number: Number | None = None
    """Our number, with the digits that the carrier sends. The plus is sent as it stands here when
    we call.
    """
    numbers: tuple[Number, ...] = ()
    """More of our numbers."""
    allowed_addresses: tuple[IpNetwork, ...] = ()
    """The carrier's addresses or networks. Without any, every address may call in."""
    inbound_username: Text | None = None
    """What the carrier must authenticate with, if it can."""
    inbound_password_env: str = "SIP_INBOUND_PASSWORD"  # noqa: S105 - a variable's name
    """The variable that holds the password for that."""
    inbound_password: SecretStr | None = None
    media_timeout_s: Seconds = 120.0
    """LiveKit hangs up after this time without a packet from the caller. A muted telephone sends
    none, and LiveKit's own limit ends such calls.
    """
    server: Text | None = None
    """The carrier that we call through, with its port if it is not the usual one."""
    transport: Literal["auto", "udp", "tcp", "tls"] = "auto"
    """How SIP goes to that carrier."""
    username: Text | None = None
    """The account at that carrier. Its password is `SIP_PASSWORD`."""
    password: SecretStr | None = None
    uri: Text | None = None
    """Where carriers find LiveKit's SIP service, such as `sip:sip.example.com`; only printed. By
    default `server.public_ip`, or the host in `transports.livekit.url`.
    """

    @property
    def all_numbers(self) -> tuple[str, ...]:
        """Return each of our numbers once, `number` first."""
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
    """How the name of each call's room begins."""
    sip: SipSettings = SipSettings()


class LocalSettings(Section):
    """This machine's microphone and loudspeaker, for `holdline mic`."""

    input: str | int | None = None
    """The microphone, by its number in `holdline mic --list-devices` or a part of its name. By
    default the system's.
    """
    output: str | int | None = None
    """The loudspeaker, in the same way."""
    headphones: bool = False
    """The microphone does not hear the agent, so the agent may be interrupted."""


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
    """The least level that is written."""
    dir: Path = Path("logs")
    """The folder of logs, call records, messages and clips."""
    format: Literal["text", "json"] = "text"
    """The format on stderr. The folder has both."""
    words: bool = False
    """Let the log contain what was said."""
    keep_days: Count = 30
    """Days after which the calls' own records are erased. They hold what was said."""
    files: tuple[RecordFile, ...] = get_args(RecordFile)
    """Files written next to `holdline.log` for other tools."""

    @property
    def json_lines(self) -> bool:
        """Whether each line on stderr is JSON."""
        return self.format == "json"

    @field_validator("level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


class ShutdownSettings(Section):
    """How long the calls in progress may go on after SIGTERM."""

    drain_s: SecondsOrZero = 30.0
    """How long calls in progress may go on after SIGTERM. Then they say goodbye."""


class TransferSettings(Section):
    """How a person who takes over is informed."""

    summary_s: Seconds = 4.0
    """How long the model may take for the summary. Then the caller's last words are used."""
    webhook_url: HttpUrl | None = None
    """Receives the same summary as JSON. A public address must be https."""
    insecure: bool = False
    """Allow plain http to a public address."""


class PricesSettings(Section):
    """Prices of calls: a table with its date and source."""

    file: Path | None = None
    """Your own price table. By default `bot/defaults/prices.yaml`."""


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
    def _inherit(cls, value: Any) -> Any:
        """Give each of `agents` the keys of `agent` that it does not set itself."""
        if not isinstance(value, dict) or not isinstance(value.get("agents"), dict):
            return value
        shared = value.get("agent")
        shared = shared if isinstance(shared, dict) else {}
        return value | {
            "agents": {
                name: _heir(name, shared, own) if isinstance(own, dict) else own
                for name, own in value["agents"].items()
            }
        }

    @property
    def all_agents(self) -> tuple[AgentSettings, ...]:
        """Every agent, the one of `agent` first."""
        return (self.agent, *self.agents.values())

    def agent_for(self, called: str) -> AgentSettings:
        """Return the agent that answers the called number; `agent` if no other does."""
        wanted = _digits(called)
        for agent in self.agents.values():
            if wanted and wanted in map(_digits, agent.numbers):
                return agent
        return self.agent


def _heir(called: Any, shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    inherited = {key: value for key, value in shared.items() if key not in ("name", "numbers")}
    merged = {"name": called} | inherited | own
    for name in ("silence", "recording"):
        if isinstance(inherited.get(name), dict) and isinstance(own.get(name), dict):
            merged[name] = inherited[name] | own[name]
    return merged


def _digits(number: str) -> str:
    return "".join(item for item in number if item.isalnum() or item in "*#")
