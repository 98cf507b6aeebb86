"""Recognises by patterns, without a model, that a person wants no further calls.

Rules: the model decides first, with its tool. If it does not use the tool in a turn, the turn is an
opt-out if one of its sentences is unmistakable: it tells us to stop calling or to take the person
or their number off a list, or says that the person wants this. It must name the list or the calls:
"take me off speaker" is not an opt-out. It must not be a question, negated, or a report of what
others said, and a request about calls must have no time limit ("before noon"). A polite question
("Could you take me off your list?") counts as a request.

All languages of `opt_out_words` are searched, because a person may not answer in the agent's
language.
"""
# ruff: noqa: RUF001 - Russian has letters that look like Latin ones

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from bot.tools.opt_out_words import LANGUAGES, Language

NEAR: Final = 6  # words after a request in which a time limit applies to it (chosen)
MAX_CHARACTERS: Final = 2000  # of a turn that are searched
_SENTENCE: Final = re.compile(r"[^.!?\u2026\n]+[.!?\u2026\n]*")
_CLAUSE: Final = re.compile(r"[,;:()\u2013\u2014]")
_APOSTROPHES: Final = re.compile("['\u2019\u02bc`]")
_LEADS: Final = re.compile(  # fillers at the beginning of a sentence
    r"((and|so|but|well|ok|okay|hey|hi|hello|sorry|look|listen|um|uh|oh|no|yes|yeah|sir|madam"
    r"|please"
    r"|nein|ja|hallo|bitte|also|aber|non|oui|bonjour|ecoutez|si|oiga|mire|bueno|por favor|y|нет|да"
    r"|алло|послушаите|пожалуиста|ну|и|а) )+"
)
_TAG: Final = re.compile(  # words at the end of a request that do not make it a question
    r"\b(okay|ok|right|alright|please|understood|clear|ja|verstanden|klar|bitte|vale|entendido"
    r"|de acuerdo"
    r"|daccord|compris|ладно|хорошо|понятно|ясно)$"
)
_JOINTS: Final = re.compile(  # words that begin another part of a sentence
    r"\b(please|and|so|but|just|bitte|und|aber|por favor|y|pero|пожалуиста|и|но|et|mais|donc"
    r"|sil vous"
    r" plait)\b"
)
_SUBJECTS: Final = re.compile(  # words that begin an explanation, in which no time limit counts
    r"(i|im|ive|ill|we|were|weve|you|youre|its|it|this|thats|ich|wir|das|es|je|jai|nous|cest|yo"
    r"|estoy"
    r"|es|я|мы|у|это)\b"
)


def wants_no_calls(said: str) -> bool:
    """Return whether the words of a turn ask not to be called again."""
    sentences = _SENTENCE.findall(said[:MAX_CHARACTERS])
    return any(_is_opt_out(sentence) for sentence in sentences)


def wants_calls_after_all(said: str) -> bool:
    """Return whether the words of a turn take back an opt-out."""
    words, _ = _words(said[:MAX_CHARACTERS])
    return any(re.search(rf"\b(?:{language.back})", words) for language in LANGUAGES.values())


def _is_opt_out(sentence: str) -> bool:
    words, starts = _words(sentence)
    is_asked = sentence.rstrip().endswith("?") and not _TAG.search(words)
    for language in LANGUAGES.values():
        for found, limit_matters in _matches(language, words):
            begin = max((start for start in starts if start <= found.start()), default=0)
            before, clause = words[: found.start()], words[begin : found.start()]
            if _is_negated_or_reported(language, before, clause):
                continue
            if _is_question(language, words, found, is_asked=is_asked):
                continue
            if limit_matters and _has_limit(language, words, found, starts, begin):
                continue
            return True
    return False


def _matches(language: Language, words: str) -> Iterator[tuple[re.Match[str], bool]]:
    """Yield each request, and whether a time limit would make it something else."""
    for pattern, limit_matters in ((language.calls, True), (language.lists, False)):
        for found in re.finditer(rf"\b(?:{pattern})", words):
            yield found, limit_matters


def _is_negated_or_reported(language: Language, before: str, clause: str) -> bool:
    """Return whether a request is negated, or is not the person's own.

    Args:
        language: The language of the patterns.
        before: The words before the request; anywhere among them, others may be named.
        clause: The words before it in its own clause; a negation counts in their last part.
    """
    near = _JOINTS.split(clause)[-1]
    return bool(re.search(language.denies, near) or re.search(language.others, before))


def _is_question(language: Language, words: str, found: re.Match[str], *, is_asked: bool) -> bool:
    """Return whether a sentence with a request asks a question; a polite request does not.

    `is_asked` is whether the sentence ends like a question.
    """
    lead = _LEADS.match(words)
    first = lead.end() if lead else 0
    until_end = words[: found.end()]
    begs = re.search(rf"\b(?:{language.begs})", until_end)
    if begs and len(until_end[begs.end() : max(begs.end(), found.start())].split()) <= 3:
        return False
    return is_asked or bool(re.match(language.asks, words[first:]))


def _has_limit(
    language: Language, words: str, found: re.Match[str], starts: list[int], begin: int
) -> bool:
    """Return whether a time or a condition limits a request.

    It may stand in the request's clause, which begins at `begin`, in the clause before it, or in
    the `NEAR` words after the request.
    """
    before = [start for start in starts if start < begin]
    if before and not _SUBJECTS.match(words, before[-1]):  # "Before noon, don't call me."
        begin = before[-1]
    ends = (start for start in starts if start >= found.end() and _SUBJECTS.match(words, start))
    after = words[found.end() : min(ends, default=len(words))].split()[:NEAR]
    near = f"{words[begin : found.start()]} {found[0]} {' '.join(after)}"
    return bool(re.search(rf"\b{language.limits}\b", near))


def _words(text: str) -> tuple[str, list[int]]:
    """Return the words in lower case without accents and punctuation, and each clause's start."""
    words, starts = "", [0]
    for clause in _CLAUSE.split(_APOSTROPHES.sub("", text.casefold())):
        bare = "".join(
            item for item in unicodedata.normalize("NFD", clause) if not unicodedata.combining(item)
        )
        plain = " ".join(re.sub(r"[^\w ]", " ", bare).split())
        if plain and words:
            starts.append(len(words) + 1)
        words = f"{words} {plain}".strip()
    return words, starts
