"""What a configuration holds, as frozen models; how it is read stands in `config_loading`."""

import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias, get_args

from pydantic import Field, SecretStr, field_validator, model_validator

from bot.config.agent import AgentSettings
from bot.config.campaigns import CampaignName, CampaignSettings
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
    DayTime,
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
    Zone,
)
from fallbacks.failure import Severity

WEBHOOK_SECRET: Final = re.compile(r"whsec_(?:[A-Za-z0-9+/]{4}){8,}[A-Za-z0-9+/]{0,4}={0,2}")


class ServerSettings(Section):
    """Where the server listens, and under which address the world knows it."""

    host: Text = "127.0.0.1"
    port: Port = 8080
    public_url: PublicUrl = "http://127.0.0.1:8080"
    also_called: tuple[PublicUrl, ...] = ()  # carriers' signatures for these count, too
    public_ip: str | None = None
    max_calls: Count = 20  # at once, over all workers
    workers: Count | None = None  # processes behind the port; None: one a core, at least 2
    admission: Literal["measured", "seats"] = "measured"  # whether load counts, or seats alone
    token: SecretStr | None = None  # HOLDLINE_TOKEN, from the environment only
    region: Region | None = None  # whose numbers are written without a country code

    @model_validator(mode="before")
    @classmethod
    def _address(cls, value: Any) -> Any:
        """Let the public address follow host and port when nobody gave one."""
        if not isinstance(value, dict) or "public_url" in value:
            return value
        host, port = value.get("host", "127.0.0.1"), value.get("port", 8080)
        if not (str(port).isdecimal() and int(port) <= 65535):
            port = 8080  # what is wrong with it is told of it, and once
        return value | {"public_url": near_address(str(host), port)}

    @field_validator("public_url")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        return value.rstrip("/")  # paths are appended, and signatures are checked over the result

    @property
    def addresses(self) -> tuple[str, ...]:
        """Every address, without a slash at its end, under which a carrier may sign a webhook."""
        return (self.public_url, *(address.rstrip("/") for address in self.also_called))


class LatencySettings(Section):
    """How long a caller may wait for an answer."""

    budget_s: Seconds = 1.5
    answer_early: bool = True  # ask the model while the turn is not decided yet
    speak_early: bool = True  # give the voice the first words of a sentence before its end


class TurnSettings(Section):
    """How it is decided that the caller has finished."""

    vad_stop_s: Seconds = 0.2
    vad_confidence: Share = 0.7
    vad_min_volume: Share = 0.4  # telephone lines are quiet; Pipecat's own default is 0.6
    smart_turn_stop_s: Seconds = 1.0  # behind the VAD's: 1.2 s of silence in all
    decide_within_s: Seconds = 0.25  # of the VAD's stop; docs/decisions/0007
    decide_early: bool = True
    user_turn_stop_timeout_s: Seconds = 2.5


class IceServer(Section):
    """A STUN or TURN server, through which a browser and we find a way to each other."""

    url: IceUrl
    username: Text | None = None
    credential_env: str | None = None
    credential: SecretStr | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """Have a relay named with an account: none works without."""
        if self.url.startswith("turn") and not (self.username and self.credential_env):
            raise ValueError("is a relay, and needs `username` and `credential_env`")
        return self


class WebrtcSettings(Section):
    """The browser's telephone."""

    enabled: bool = True
    ice_servers: tuple[IceServer, ...] = Field(default=(), max_length=8)
    public: bool = False  # opens `/client/` and `/api/offer` to everyone, nothing else


class TwilioSettings(Section):
    """Twilio's telephone numbers, over Media Streams."""

    enabled: bool = False
    auth_token_env: str = "TWILIO_AUTH_TOKEN"  # noqa: S105 - a variable's name
    auth_token: SecretStr | None = None
    account_sid_env: str = "TWILIO_ACCOUNT_SID"
    account_sid: SecretStr | None = None
    number: Number | None = None
    api_url: HttpUrl = "https://api.twilio.com"
    calls_per_s: Seconds = 1.0  # that the account may place
    returns_within_s: SecondsOrZero = 30.0  # for another stream in place of one that died


class SipSettings(Section):
    """The carrier behind LiveKit: what `holdline sip setup` tells LiveKit, and the carrier."""

    name: Text = "holdline"  # several on one LiveKit each have their own
    number: Number | None = None
    numbers: tuple[Number, ...] = ()  # more of ours
    allowed_addresses: tuple[IpNetwork, ...] = ()  # the carrier's; none: anybody may call in
    inbound_username: Text | None = None
    inbound_password_env: str = "SIP_INBOUND_PASSWORD"  # noqa: S105 - a variable's name
    inbound_password: SecretStr | None = None
    media_timeout_s: Seconds = 120.0  # of silence on the wire; a muted telephone sends nothing
    server: Text | None = None
    transport: Literal["auto", "udp", "tcp", "tls"] = "auto"
    username: Text | None = None
    password: SecretStr | None = None
    uri: Text | None = None  # where the carrier finds LiveKit's SIP service

    @property
    def all_numbers(self) -> tuple[str, ...]:
        """Return each of our numbers once, the first one first."""
        first = (self.number,) if self.number else ()
        return tuple(dict.fromkeys((*first, *self.numbers)))


class LivekitSettings(Section):
    """Telephone calls over LiveKit's SIP service."""

    enabled: bool = False
    url: SocketUrl = "ws://127.0.0.1:7880"
    api_key_env: str = "LIVEKIT_API_KEY"
    api_key: SecretStr | None = None
    api_secret_env: str = "LIVEKIT_API_SECRET"  # noqa: S105 - a variable's name
    api_secret: SecretStr | None = None
    room_prefix: Text = "call-"  # how the name of each call's room begins
    sip: SipSettings = SipSettings()


class LocalSettings(Section):
    """This machine's microphone and loudspeaker, for `holdline mic`."""

    input: str | int | None = None  # a device's number, or a part of its name; None: the default
    output: str | int | None = None
    headphones: bool = False  # the microphone does not hear the agent: it may be interrupted


class TransportsSettings(CarrierSections):
    """The doors by which calls come in."""

    local: LocalSettings = LocalSettings()
    webrtc: WebrtcSettings = WebrtcSettings()
    twilio: TwilioSettings = TwilioSettings()
    livekit: LivekitSettings = LivekitSettings()


class EmailSettings(Section):
    """Alerts by mail."""

    sender: Text | None = None
    to: Text | None = None  # several are separated by commas
    password: SecretStr | None = None
    username: Text | None = None  # None: the sender
    host: Text | None = None  # None: `smtp.` and the sender's domain
    port: Port = 587
    security: Literal["auto", "starttls", "tls", "none"] = "auto"

    @property
    def server(self) -> str:
        """Return the host of the mail server."""
        return self.host or f"smtp.{(self.sender or '').rpartition('@')[2].strip('<> ')}"


class TelegramSettings(Section):
    """Alerts by Telegram."""

    bot_token: SecretStr | None = None
    chat_id: Text | None = None
    api_url: HttpUrl = "https://api.telegram.org"

    @field_validator("chat_id", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        """Accept a chat's number as well as its name: YAML reads `-100123` as a number."""
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


class WebhookSettings(Section):
    """Alerts by an HTTP request."""

    url: HttpUrl | None = None
    secret: SecretStr | None = None  # signs what is sent; WEBHOOK_SECRET

    @field_validator("secret")
    @classmethod
    def _signs(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not WEBHOOK_SECRET.fullmatch(value.get_secret_value()):
            raise ValueError("whsec_ and at least 24 bytes in base64")
        return value


class QuietSettings(Section):
    """When only what cannot wait may ring."""

    begin: DayTime | None = None  # None: no hour is quiet
    end: DayTime = "07:00"
    zone: Zone = "UTC"
    wakes: Severity = Severity.HIGH  # from here on it rings all the same


class AlertsSettings(Section):
    """Whom to tell, and when."""

    hold_s: SecondsOrZero = 5.0
    update_s: Seconds = 60.0
    again_s: Annotated[Seconds, Field(le=3600)] = 600.0  # the outbox knows an hour
    escalate_s: Seconds = 600.0
    per_hour: Count = 20
    quiet: QuietSettings = QuietSettings()

    email: EmailSettings = EmailSettings()
    telegram: TelegramSettings = TelegramSettings()
    webhook: WebhookSettings = WebhookSettings()


RecordFile: TypeAlias = Literal[
    "error_log.json",
    "alerts.json",
    "logs.jsonl",
    "error_recovery.log",
    "app_logs.json",
    "app.log",
]


class LogsSettings(Section):
    """What is written down, and where."""

    level: Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    dir: Path = Path("logs")
    format: Literal["text", "json"] = "text"  # on stderr; the folder has both
    words: bool = False  # whether the log may have what was said
    keep_days: Count = 30  # of the calls' own records, which hold what was said
    files: tuple[RecordFile, ...] = get_args(RecordFile)  # beside holdline.log, for other tools

    @field_validator("level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


class ShutdownSettings(Section):
    """How long the calls in progress may go on after SIGTERM."""

    drain_s: SecondsOrZero = 30.0


class TransferSettings(Section):
    """How a person who takes over learns what it is about."""

    summary_s: Seconds = 4.0  # for the model to write it; then the last words have to do
    webhook_url: HttpUrl | None = None  # gets the same summary
    insecure: bool = False  # allows plain http to a public address


class PricesSettings(Section):
    """What a call costs: a table with its date and source."""

    file: Path | None = None  # None: the one that comes with Holdline


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

    def agent_for(self, called: str) -> AgentSettings:
        """Return the agent that answers the called number; `agent` when none claims it."""
        wanted = _digits(called)
        for agent in self.agents.values():
            if wanted and wanted in map(_digits, agent.numbers):
                return agent
        return self.agent


def _heir(called: Any, shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    inherited = {key: each for key, each in shared.items() if key not in ("name", "numbers")}
    merged = {"name": called} | inherited | own
    for name in ("silence", "recording"):
        if isinstance(inherited.get(name), dict) and isinstance(own.get(name), dict):
            merged[name] = inherited[name] | own[name]
    return merged


def _digits(number: str) -> str:
    return "".join(item for item in number if item.isalnum() or item in "*#")
