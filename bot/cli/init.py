"""`holdline init`: asks for vendors and keys, and writes the first configuration."""

import os
import shlex
from pathlib import Path
from typing import Annotated, Final

import typer

from configuration.environment import DOTENV, Environment, read_environment
from configuration.loading import USUAL
from providers.catalog import ADAPTED, kinds, provider
from providers.provider import Stage
from runtime.exits import UsageError

STAGE_TITLES: Final[dict[Stage, str]] = {
    "stt": "Speech recognition",
    "llm": "Language model",
    "tts": "Voice",
}
LOCAL: Final = "local"
TEMPLATE: Final = """\
# Written by `holdline init`. Keys are in .env, which stays on this machine.
agent:
  greeting: "Hello, this is Holdline. How can I help?"
  instructions: "You are a friendly telephone agent. Answer in one or two short sentences."
  language: en
stages:
  stt: [{stt}]
  llm: [{llm}]
  tts: [{tts}]
transports:
  webrtc: {{enabled: true}}
logs: {{level: INFO, dir: logs}}
"""


def write_first_configuration(
    config: Annotated[
        Path, typer.Option("--config", metavar="FILE", help="The file to write.")
    ] = USUAL,
) -> None:
    """Ask for vendors and keys, and write holdline.yaml and .env.

    Nothing is overwritten, and keys that are already set are not asked for. Other vendors whose key
    is already set become standbys.
    """
    if config.exists():
        raise UsageError(f"{config} exists; edit it, or name another file with --config")
    chosen: dict[Stage, str] = {stage: _choose_vendor(stage) for stage in STAGE_TITLES}
    saved_keys = DOTENV.read_text(encoding="utf-8") if DOTENV.exists() else ""
    names = [name for stage, kind in chosen.items() if (name := provider(stage, kind).key_env)]
    variables = read_environment()
    keys = {name: _ask_key(name) for name in names if not variables.get(name)}
    rungs = {stage: _ladder_text(stage, kind, variables) for stage, kind in chosen.items()}
    config.write_text(TEMPLATE.format(**rungs), encoding="utf-8")
    _save_keys(saved_keys, {name: key for name, key in keys.items() if key})
    usual = config.absolute() == USUAL.absolute()
    file = "" if usual else f" --config {shlex.quote(str(config))}"
    typer.echo(f"Wrote {config}. Next: holdline doctor --online{file}, then holdline serve{file}")


def _ladder_text(stage: Stage, first: str, variables: Environment) -> str:
    """Return a stage's rungs: the chosen vendor and, unless local, its standbys."""
    others = [
        kind
        for kind in kinds(stage)
        if kind != first and (name := provider(stage, kind).key_env) and variables.get(name)
    ]
    spare = [LOCAL] if stage == "tts" else []  # needs no key or network
    ladder = [first] if first == LOCAL else [first, *others, *spare]
    return ", ".join(_rung_text(stage, kind) for kind in ladder)


def _rung_text(stage: Stage, kind: str) -> str:
    """Return a rung; its name is its kind, or else unique over all stages."""
    is_model = stage != "llm" and kind in kinds("llm")
    name = f"name: {kind}-{stage}, " if kind == LOCAL or is_model else ""
    return f"{{{name}kind: {kind}}}"


def _choose_vendor(stage: Stage) -> str:
    """Ask for a stage's vendor until the answer is one of them; do not ask if there is one."""
    offered = [kind for kind in kinds(stage) if kind != ADAPTED]  # which needs a service, too
    if len(offered) == 1:
        return offered[0]
    question = f"{STAGE_TITLES[stage]} ({', '.join(offered)})"
    while (answer := str(typer.prompt(question, default=offered[0])).strip()) not in offered:
        typer.echo(f'"{answer}" is not one of {", ".join(offered)}')
    return answer


def _ask_key(name: str) -> str:
    """Ask for a key without showing it; return it, or empty if it will be set later."""
    question = f"{name} (leave empty to set it later)"
    key = typer.prompt(question, default="", show_default=False, hide_input=True)
    return str(key).strip()


def _save_keys(saved_keys: str, keys: dict[str, str]) -> None:
    """Add keys to `.env`, whose present text is `saved_keys`; only its owner may read a new file.

    Does nothing without keys.
    """
    if not keys:
        return
    lines = "".join(f"{name}={key}\n" for name, key in keys.items())
    has_end = not saved_keys or saved_keys.endswith("\n")
    text = saved_keys if has_end else saved_keys + "\n"
    descriptor = os.open(DOTENV, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + lines)
