"""What a configuration holds, as frozen models; how it is read stands in `config_loading`."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from bot.config.agent import AgentSettings
from bot.config.carriers import ExotelSettings, PlivoSettings, TelnyxSettings
from bot.config.hold import HoldLineSettings
from bot.config.resilience import ResilienceSection
from bot.config.stages import StagesSettings
from bot.config.values import (
    Count,
    HttpUrl,
    Number,
    Port,
    Seconds,
    SecondsOrZero,
    Section,
    Share,
    SocketUrl,
    Text,
)


class ServerSettings(Section):
    """Where the server listens, and under which address the world knows it."""

    host: Text = "127.0.0.1"
    port: Port = 8080
    public_url: HttpUrl = "http://127.0.0.1:8080"
    public_ip: str | None = None
    max_calls: Count = 20  # at once, over all workers
    workers: Count | None = None  # processes behind the port; None: one for each core
    admission: Literal["measured", "seats"] = "measured"  # whether load counts, or seats alone
    token: SecretStr | None = None  # HOLDLINE_TOKEN, from the environment only

    @model_validator(mode="before")
    @classmethod
    def _address(cls, value: Any) -> Any:
        """Let the public address follow host and port when nobody gave one."""
        if not isinstance(value, dict) or "public_url" in value:
            return value
        host, port = value.get("host", "127.0.0.1"), value.get("port", 8080)
        if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            host = "127.0.0.1"
        host = f"[{host}]" if ":" in str(host) else host
        return value | {"public_url": f"http://{host}:{port}"}

    @field_validator("public_url")
    @classmethod
    def _no_slash(cls, value: str) -> str:
        return value.rstrip("/")  # paths are appended, and signatures are checked over the result


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
    decide_within_s: Seconds = 0.25  # of the VAD's stop; docs/decisions/0044
    decide_early: bool = True
    user_turn_stop_timeout_s: Seconds = 2.5


class WebrtcSettings(Section):
    """The browser's telephone."""

    enabled: bool = True
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
    returns_within_s: SecondsOrZero = 30.0  # for another stream in place of one that died


class SipSettings(Section):
    """The carrier behind LiveKit."""

    number: Number | None = None
    server: Text | None = None
    username: Text | None = None
    password: SecretStr | None = None
    uri: Text | None = None


class LivekitSettings(Section):
    """Telephone calls over LiveKit's SIP service."""

    enabled: bool = False
    url: SocketUrl = "ws://127.0.0.1:7880"
    api_key_env: str = "LIVEKIT_API_KEY"
    api_key: SecretStr | None = None
    api_secret_env: str = "LIVEKIT_API_SECRET"  # noqa: S105 - a variable's name
    api_secret: SecretStr | None = None
    sip: SipSettings = SipSettings()


class TransportsSettings(Section):
    """The doors by which calls come in."""

    webrtc: WebrtcSettings = WebrtcSettings()
    twilio: TwilioSettings = TwilioSettings()
    telnyx: TelnyxSettings = TelnyxSettings()
    plivo: PlivoSettings = PlivoSettings()
    exotel: ExotelSettings = ExotelSettings()
    livekit: LivekitSettings = LivekitSettings()


class EmailSettings(Section):
    """Alerts by mail."""

    sender: Text | None = None
    to: Text | None = None
    password: SecretStr | None = None


class TelegramSettings(Section):
    """Alerts by Telegram."""

    bot_token: SecretStr | None = None
    chat_id: Text | None = None


class WebhookSettings(Section):
    """Alerts by an HTTP request."""

    url: HttpUrl | None = None


class AlertsSettings(Section):
    """Whom to tell."""

    email: EmailSettings = EmailSettings()
    telegram: TelegramSettings = TelegramSettings()
    webhook: WebhookSettings = WebhookSettings()


class StorageSettings(Section):
    """Where facts are kept."""

    url: str = Field(
        default="sqlite+aiosqlite:///holdline.db", pattern=r"^[a-z][a-z0-9]*(\+[a-z0-9]+)?://"
    )


class LogsSettings(Section):
    """What is written down, and where."""

    level: Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    dir: Path = Path("logs")
    keep_days: Count = 30  # of the calls' own records, which hold what was said

    @field_validator("level", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value


class ShutdownSettings(Section):
    """How long the calls in progress may go on after SIGTERM."""

    drain_s: SecondsOrZero = 30.0


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
        for each in self.agents.values():
            if wanted and wanted in map(_digits, each.numbers):
                return each
        return self.agent


def _heir(name: Any, shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    inherited = {key: each for key, each in shared.items() if key not in ("name", "numbers")}
    merged = {"name": name} | inherited | own
    if isinstance(inherited.get("silence"), dict) and isinstance(own.get("silence"), dict):
        merged["silence"] = inherited["silence"] | own["silence"]
    return merged


def _digits(number: str) -> str:
    return "".join(each for each in number if each.isalnum() or each in "*#")
