"""The line that `holdline serve` prints when it is ready: address, transports, next steps."""

from bot.config.carriers import CARRIERS
from bot.config.settings import Settings
from bot.health.operator_desk import addresses


def ready_line(settings: Settings, *, port: int) -> str:
    """Return the line.

    Args:
        settings: The configuration.
        port: The listening port; the configured one may be 0.
    """
    server, transports = settings.server, settings.transports
    address = addresses(server.model_copy(update={"port": port}))[0]
    todo: dict[str, str] = {}
    if transports.webrtc.enabled:
        sign_in = ", sign in with HOLDLINE_TOKEN" if server.token else ""
        todo["webrtc"] = f"open {address}/{sign_in} and press Call"
    if transports.twilio.enabled:
        webhook = f"{server.public_url}/twilio/voice"
        todo["twilio"] = f"set your Twilio number's voice webhook to {webhook}"
    for name, carrier in CARRIERS.items():
        if getattr(transports, name).enabled:
            todo[name] = carrier.entry.format(url=server.public_url)
    names = ", ".join(todo) or "no transport"
    cure = "enable one under transports in the configuration, otherwise no calls can arrive"
    return f"Holdline is ready at {address} ({names}): {'; '.join(todo.values()) or cure}."
