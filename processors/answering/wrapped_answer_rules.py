"""Finds the answer that a model wrapped in JSON or in a fence of code.

Words under a key such as `response` are the answer, and so is a fence of text. A call, other data
and code are not. What is only likely to be the answer is spoken if the model wrote nothing else.
"""

import re
from collections.abc import Set
from contextlib import suppress
from typing import Any, Final, cast

from processors.answering.removal_rules import NAMES, Replacement, name_parts
from processors.answering.written_call_rules import (
    UNREADABLE,
    as_object,
    looks_like_call,
    read_json,
)

_CODE: Final = re.compile(r"(?m)^\s*[\w.]+(?:\(|\s*[=:+-]?=\s)|^\s*<\w|[;{}]\s*$|\w\(\)|=>|::")
_PLAIN_FENCES: Final = frozenset({"", "text", "txt", "plaintext", "plain", "markdown", "md"})
_MARKUP_FENCES: Final = frozenset({"xml", "html", "ssml"})
_ENDS_OF_JSON: Final = ("", '"}', "}")  # the answer may have been cut off


def answer_in_json(tools: Set[str], text: str) -> Replacement:
    """Return what to say of JSON that a model wrote; nothing is said of a call or other data.

    JSON that was cut off is completed first. `tools` are the names of the offered tools.
    """
    for end in _ENDS_OF_JSON:
        with suppress(*UNREADABLE):
            value = read_json(text + end, 0)[0]
            break
    else:
        return Replacement(0)
    try:
        return _answer_of(value, tools)
    except RecursionError:  # it is nested too deeply to be an answer
        return Replacement(0)


def _answer_of(value: Any, tools: Set[str]) -> Replacement:
    """Return how to say the answer in a JSON value, or else its only sentence.

    The sentence is said only if the model wrote nothing else (`only_words`).
    """
    if answer := _answer_in(value, tools):
        return Replacement(0, words=answer)
    items = {name_parts(str(key)): item for key, item in as_object(value).items()}
    sentences = [
        item
        for key, item in items.items()
        if isinstance(item, str)
        and not (_is_named("thoughts", key) or _is_named("others_words", key))
        and not looks_like_call(value)
        and (_is_sentence(item) or (len(items) == 1 and " " in item.strip()))
    ]
    return Replacement(0, only_words=sentences[0] if len(sentences) == 1 else "")


def _is_named(kind: str, key: str) -> bool:
    return NAMES[kind].search(key) is not None


def _answer_in(value: Any, tools: Set[str]) -> str:
    """Return the words under a key such as `response`; nothing in a call or another's turn."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        found = [_answer_in(item, tools) for item in cast("list[Any]", value)]
        return " ".join(filter(None, found))
    items = [(name_parts(str(key)), item) for key, item in as_object(value).items()]
    named = {str(item) for key, item in items if key in ("action", "tool", "name") and item}
    is_answer_call = any(map(NAMES["answering_tools"].search, named - tools))
    is_others = as_object(value).get("role") not in (None, "assistant", "model")
    if is_others or (looks_like_call(value) and not is_answer_call):
        return ""
    given = [item for key, item in items if is_answer_call and NAMES["arguments"].fullmatch(key)]
    spoken = [
        item
        for wanted in (NAMES["answers"], NAMES["parts_of_answers"])
        for key, item in items
        if wanted.fullmatch(key) and not _is_named("thoughts", key)
    ]
    wraps = [item for key, item in items if as_object(item) and not _is_named("others_words", key)]
    # Each only once, or else the time triples with each level.
    each_once = {id(item): item for item in (*given, *spoken, *wraps)}
    return _first_answer(list(each_once.values()), tools)


def _first_answer(values: list[Any], tools: Set[str]) -> str:
    return next(filter(None, (_answer_in(value, tools) for value in values)), "")


def _is_sentence(text: str) -> bool:
    """Return whether a text ends like a sentence, and has words or no Latin letters."""
    bare = text.rstrip().rstrip("\"'\u201d)]*_")
    ended = bare[-1:] != "" and bare[-1] in ".!?\u2026\u3002\uff01\uff1f\u061f\u0964"
    return ended and (" " in bare or not bare.isascii())


def answer_in_fence(tools: Set[str], text: str) -> Replacement:
    """Return what to say of a fence's text (with its closing marks); nothing is said of code.

    Only text in a fence for plain text is certainly the answer; other text is said if nothing else
    was. `tools` are the names of the offered tools.
    """
    content = re.sub(r"[`~]{3,}$", "", text)
    info, line, rest = content.partition("\n")
    if not line or " " in info.strip():
        info, rest = "", content
    words = rest.strip()
    if words[:1] in ("{", "["):
        return answer_in_json(tools, words)
    kind = info.strip().lower()
    if kind in _MARKUP_FENCES and words[:1] == "<":
        return Replacement(0, only_words=words)  # its tags are read like others
    if _CODE.search(words):
        return Replacement(0)
    if _is_sentence(words):
        words = words.strip('"')
        is_plain = kind in _PLAIN_FENCES
        return Replacement(0, words=words) if is_plain else Replacement(0, only_words=words)
    return Replacement(0, only_words=words if kind in _PLAIN_FENCES else "")
