"""Measured facts are written into the rung, and nothing else in the file changes."""

import json
from pathlib import Path

import pytest

from configuration.files import value_of
from configuration.loading import load
from configuration.stated_facts import check_writable, with_facts, write_facts
from runtime.exits import CommandError, UsageError

KEY = ("stages", "tts", 1)
FACTS = {"word_times": False, "cancels": True}
SERVICE = "tests.providers.adapter.own_voices:InlineVoice"

BLOCK = """\
# mine
stages:
  tts:
    - {kind: local}   # plain
    - kind: pipecat # the brand's
      service: "own:Voice"   # as it is

      # a remark
agent: {greeting: "Hello: you"} # the end
"""
FLOW = BLOCK.partition("    - kind: pipecat")[0] + (
    '    - {kind: pipecat, service: "own:Voice",\n       init: {a: [1, 2]}} # the end\n'
)
STATED = BLOCK.replace(
    "      service", "      facts:\n        cancels: false # once\n      service"
)
INLINE = FLOW.replace("init:", "facts: {cancels: false, replays: true}, init:")
LAST = FLOW.replace("init: {a: [1, 2]}", "facts: {cancels: false},")
AS_JSON = json.dumps(value_of(BLOCK), indent="\t")
WINDOWS = BLOCK.replace("\n", "\r\n")


@pytest.mark.parametrize(
    "text",
    [BLOCK, FLOW, STATED, INLINE, LAST, AS_JSON, WINDOWS],
    ids=["block", "flow", "block with facts", "flow with facts", "last", "json", "windows"],
)
def test_only_the_facts_change(text: str) -> None:
    new = with_facts(text, KEY, FACTS)
    wanted = value_of(text)
    wanted["stages"]["tts"][1]["facts"] = FACTS

    assert value_of(new) == wanted
    old_lines, new_lines = text.splitlines(), new.splitlines()
    assert len([line for line in old_lines if line not in new_lines]) <= 2
    assert new.count("#") >= text.count("#") - ("once" in text)
    assert ("\r\n" in new) == ("\r\n" in text)
    if text is AS_JSON:
        assert json.loads(new) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "stages: {tts: [{kind: local}, &a {kind: pipecat, service: x}], spare: *a}",
        "base: &b {kind: pipecat, service: x}\nstages: {tts: [{kind: local}, *b]}",
    ],
    ids=["another has its anchor", "it is an alias"],
)
def test_a_rung_that_others_share_is_not_changed(text: str) -> None:
    with pytest.raises(ValueError, match="something else"):
        with_facts(text, KEY, FACTS)


def test_facts_are_written_into_the_file_and_read_from_it(tmp_path: Path) -> None:
    path = tmp_path / "holdline.yaml"
    path.write_text(BLOCK.replace("own:Voice", SERVICE))
    loaded = load(path, keys=False)

    check_writable(loaded, "tts", "pipecat")
    place = write_facts(loaded, "tts", "pipecat", FACTS)

    assert place.startswith(f"{path}:6")
    assert load(path, keys=False).settings.stages.tts[1].facts == FACTS


def test_the_facts_go_to_their_rung_although_it_has_moved_since(tmp_path: Path) -> None:
    path = tmp_path / "holdline.yaml"
    path.write_text(BLOCK.replace("own:Voice", SERVICE))
    loaded = load(path, keys=False)
    moved = loaded.text.replace("  tts:\n", "  tts:\n    - {kind: local, name: spare}\n")
    path.write_text(moved)

    write_facts(loaded, "tts", "pipecat", FACTS)

    facts = {rung.name: rung.facts for rung in load(path, keys=False).settings.stages.tts}
    assert facts == {"spare": {}, "local": {}, "pipecat": FACTS}


def test_a_rung_that_has_gone_meanwhile_says_what_to_add(tmp_path: Path) -> None:
    path = tmp_path / "holdline.yaml"
    path.write_text(BLOCK.replace("own:Voice", SERVICE))
    loaded = load(path, keys=False)
    path.write_text(BLOCK.partition("    - kind: pipecat")[0])

    with pytest.raises(CommandError, match=r"add to stages\.tts: facts"):
        write_facts(loaded, "tts", "pipecat", FACTS)


def test_a_rung_that_is_not_in_the_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "holdline.yaml"
    path.write_text("agent: {name: Ann}")

    with pytest.raises(UsageError, match="--write needs the rung cartesia"):
        check_writable(load(path, keys=False), "tts", "cartesia")


def test_a_file_that_cannot_be_changed_says_what_to_add(tmp_path: Path) -> None:
    path = tmp_path / "holdline.yaml"
    path.write_text(BLOCK.replace("own:Voice", SERVICE))
    loaded = load(path, keys=False)
    path.unlink()

    with pytest.raises(CommandError, match=r"facts: \{word_times: false, cancels: true\}"):
        write_facts(loaded, "tts", "pipecat", FACTS)
