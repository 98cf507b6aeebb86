"""The spoken part of a model's text is the same at any cut into pieces."""

import json
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.answering.continuation_rules import Answer
from processors.answering.spoken_text_rules import (
    MAX_HELD,
    MAX_KEPT,
    SpokenText,
    SpokenTextRule,
    spoken_goodbye,
    spoken_part,
)
from tests.thoroughness import promised

CALL = '{"name": "book", "arguments": {"time": "nine }"}}'
THOUGHTS = {
    "think": "</think>",
    "thinking": "</thinking>",
    "a namespace": "</seed:think>",
    "camel case": "</innerThoughts>",
    "reasoning": "</reasoning>",
    "reflection": "</reflection>",
    "scratchpad": "</scratchpad>",
    "analysis": "</analysis>",
    "rationale": "</rationale>",
    "chain of thought": "</cot>",
    "brackets": "[/THINK]",
    "triangles": "\u25c1/think\u25b7",
    "a token": "<|end_of_thought|>",
    "a token in capitals": "<|END_THINKING|>",
    "a critique": "</self_critique>",
    "German": "</gedanken>",
    "a token with a slash": "<|/think|>",
    "longer brackets": "[/REASONING]",
    "small brackets": "[/thinking]",
    "a tag without a slash": "<end_of_thought>",
    "a tag that is named for its end": "<thinking_end>",
    "a tag with an end in one word": "<end_think>",
}
ANSWERS = {
    "a fence": "```\nWe open at nine.\n```",
    "a fence of text": "```text\nWe open at nine.\n```",
    "a fence of waves": "~~~markdown\nWe **open** at nine.\n~~~",
    "a fence without an end": "```\nWe open at nine.",
    "JSON": '{"response": "We open at nine."}',
    "JSON with more": '{"answer": "We open at nine.", "language": "en", "n": 1}',
    "JSON by any key": '{"greeting": "We open at nine."}',
    "JSON, nested": '{"response": {"text": "We *open* at nine."}}',
    "JSON as a message": '{"role": "assistant", "content": "We open at nine."}',
    "JSON as an action": '{"action": "Final Answer", "action_input": "We open at nine."}',
    "JSON in a fence": '```json\n{"response": "We open at nine."}\n```',
    "Python's quotes": "{'response': 'We open at nine.'}",
    "JSON by a longer key": '{"bot_message": "We open at nine.", "intent": "hours"}',
    "JSON to the caller": '{"reply_to_user": "We open at nine.", "end_call": false}',
    "JSON in Polish": '{"odpowied\u017a": "We open at nine.", "pewno\u015b\u0107": 1}',
    "JSON as messages": '[{"role": "user", "content": "And?"}, {"role": "assistant", "content": '
    '"We open at nine."}]',
    "JSON as choices": '{"choices": [{"message": {"content": "We open at nine."}}]}',
    "JSON in parts": '{"content": [{"type": "text", "text": "We open"}, {"text": "at nine."}]}',
    "JSON that is cut off": '{"response": "We open at nine.',
    "JSON in a wrapping": '{"data": {"answer": "We open at nine."}}',
    "JSON, strings": '["We open", "at nine."]',
    "JSON, a list": '{"response": ["We open", "at nine."]}',
    "JSON, sentences": '{"sentences": ["We open", "at nine."]}',
    "JSON by any key with more": '{"nachricht": "We open at nine.", "sprache": "de", "n": 1}',
    "JSON in Chinese": '{"\u56de\u7b54": "We open at nine.", "n": 1}',
    "JSON without a tool": '{"name": "none", "arguments": {}, "content": "We open at nine."}',
    "JSON as a call": '{"name": "respond", "arguments": {"message": "We open at nine."}}',
    "JSON as a string": '{"action": "say", "parameters": "{\\"text\\": \\"We open at nine.\\"}"}',
    "YAML": "response: We open at nine.",
    "YAML in a fence": "```yaml\nresponse: We open at nine.\n```",
    "a string in a fence": '```json\n"We open at nine."\n```',
    "a fence of speech": "```speech\nWe open at nine.\n```",
    "markup in a fence": "```xml\n<response>We open at nine.</response>\n```",
    "speech in a fence": "```ssml\n<speak>We <emphasis>open</emphasis> at nine.</speak>\n```",
    "a tag": "<answer>We open at nine.</answer>",
    "tags": "<reply_v2><text>We open at nine.</text></reply_v2>",
}
NO_ANSWERS = {
    "an end": "<|im_end|>",
    "tokens": "<s><|im_start|>assistant\n<|im_end|></s>",
    "headers": "<|start_header_id|>assistant<|end_header_id|>\n\n<|eot_id|>",
    "instructions": "[INST][/INST]",
    "code": "```python\nprint(1)\n```",
    "data": '{"order": 77}',
    "a token in brackets": "[|endofturn|]",
    "JSON about the caller": '{"user_message": "When do you open?", "intent": "hours"}',
    "thoughts in JSON by a longer key": '{"reasoning_content": "They ask for the hours.", "n": 1}',
    "thoughts in JSON": '{"thought": "They ask for the hours."}',
    "JSON of a customer": '{"customer": {"message": "When do you open?"}}',
    "JSON with two sentences": '{"a": "They ask.", "b": "I tell them."}',
    "a command": "```bash\nbook --day Monday\n```",
    "thoughts alone": "They ask for the hours.</think>",
    "an unknown element": "<lookup><order>77</order></lookup>",
    "an unknown token": "<|mystery_42|>",
    "a comment": "<!-- hm -->",
}
ENDS = {
    "im_end": "<|im_end|>\n<|im_start|>user\nAnd on Sunday?<|im_end|>",
    "eot": "<|eot_id|>And?",
    "eos": "</s>And?",
    "end of turn": "<end_of_turn>\n<start_of_turn>user\nAnd?",
    "end of text": "<|endoftext|>And?",
    "end of sentence": "<\uff5cend\u2581of\u2581sentence\uff5c>And?",
    "a token in capitals": "<|END_OF_TURN_TOKEN|>And?",
    "a role": "<|user|>And?",
    "a header": "<|start_header_id|>user<|end_header_id|>And?",
    "instructions": "[INST]And?",
    "a label": "\nUser: And?",
    "a label after a line": "\n\n**Human:** And?\nAssistant: Yes.",
    "a heading": "\n### Instruction:\nAnd?",
    "a label in capitals": "\nUSER: And?\nASSISTANT: Yes.",
    "tokens in brackets": "[|endofturn|]\n[|user|]And?",
    "a label in German": "\nBenutzer: Und?",
    "a label in bold": "\n**User**: And?",
    "a label in brackets": "\n[User]: And?",
    "a label without a colon": "\nuser\nAnd?",
    "a turn": "<turn|>\n<|turn>user\nAnd?<turn|>",
    "a turn of another": "<|turn>user\nAnd?",
    "a role in a tag": "<role>HUMAN</role>And?",
    "a role after a reserved token": "<SPECIAL_11>User\nAnd?",
    "a role after an extra token": "<extra_id_1>User\nAnd?",
    "an element": "\n<user>And?</user>",
}
ASIDES = [
    "<|turn>model\n",
    "<role>ASSISTANT</role>",
    "<SPECIAL_11>Assistant\n",
    "<extra_id_0>",
    "<turn>",
    "<user>When do you open?</user>",
    "<system-reminder>Be polite and brief.</system-reminder>",
    "<internal_note>They ask for the hours.</internal_note>",
    "<commentary>They ask for the hours.</commentary>",
    '<details type="reasoning" done="true">\n<summary>Thought</summary>\n> They ask.\n</details>',
    "<style>p {color: red}</style>",
    "<|channel|>final <|constrain|>text<|message|>",
    "**Assistant**: ",
    "[Assistant]: ",
    "assistant\n\n",
    "### Model\n",
    "answer: ",
    "R\u00e9ponse : ",
    "\u52a9\u624b\uff1a",
    "**Thinking:** They ask.\n\n**Answer:** ",
    "Reasoning: They ask.\n\n",
    "Gedanken: Sie fragen.\nAntwort: ",
    "analysisThey ask.assistantanalysisMore.assistantfinal",
    "They ask.assistantfinal",
    "<|header_start|>assistant<|header_end|>\n\n",
    "analysis<|message|>They ask.<|end|><|start|>assistant<|channel|>final<|message|>",
    "final<|message|>",
    "<|user|>When do you open?<|assistant|>",
    "<|im_start|>user\nWhen do you open?<|im_end|>\n<|im_start|>assistant\n",
    "<ctrl94>thought\nThey ask.\n<ctrl95>",
    "Here is my thought process:\nThey ask.\nHere is my response:\n",
    ">>>all\n",
]
CITATIONS = [
    ".[^1^]",
    " [^doc].",
    " [#1].",
    "[cite: 1].",
    ".\n\n[^1]: From the menu.",
    ".\n\n**Quellen:**\n- https://example.com/a",
    ".\n[1] https://example.com/a",
    " (source: menu.pdf).",
    " :contentReference[oaicite:0]{index=0}.",
    '<|start_of_cite|>{"document_id": "1"}<|end_of_cite|>.',
    "</co: 0:[1,2]>.",
    " [Doc2] [doc 1].",
    " [search_result_2][kb:12].",
]
KEYS = [
    "Press [1] for sales, [2] for support, or [3] to hold.",
    "Choose option [2], please.",
    "Press the [1] key.",
    "Room [12] is free.",
    "Dr\u00fccken Sie [1].",
    "Appuyez sur [1].",
    "Marque el [2].",
    "Prema [1].",
    "Digite [3].",
    "Kies [1].",
    "Naci\u015bnij [1].",
    "\u041d\u0430\u0436\u043c\u0438\u0442\u0435 [1].",
    "[1]'e bas\u0131n.",
    "Go to gate [12] now.",
    "Table [5] or [7] is yours.",
    "Gleis [7] links.",
    "Tisch [3], [4].",
    "Pick [1] for sales, [2] for support.",
    "Your total is [45].",
    "Codes [12] and [34].",
    "Your code is [abc123].",
    "The password is [abc123].",
    "Use [tulip-7] or [Anna:12] to sign in.",
    "Park at [P12], [p3] or [KB:12].",
    "Your locker is [KB12].",
    "Go to [gate4] and then to [room12].",
    "Write to [info@hotel.com].",
    "Visit [hotel.com] or [shop.name], please.",
]
DIRECTIONS = [
    "{smiles} ",
    "<smiles warmly> ",
    "_smiles warmly_ ",
    "_nods_ ",
    "_smiles_ ",
    "_pauses_ ",
    "**smiles warmly** ",
    "[Tone: friendly] ",
    "(kurze Pause) ",
    "(sorrindo) ",
    "(\u015bmieje si\u0119) ",
    "(g\u00fcl\u00fcyor) ",
    "\uff08\u5fae\u7b11\uff09",
    "*\u5fae\u7b11* ",
    "(\uc6c3\uc74c) ",
    "[call ended] ",
    "(waits for response) ",
    "(Hangs up.) ",
    "(waits patiently) ",
    "\uff08\u512a\u3057\u3044\u58f0\u3067\uff09",
    "\uff08\u8f7b\u58f0\uff09",
    "(\ubbf8\uc18c\ub97c \uc9c0\uc73c\uba70) ",
    "(g\u00fcl\u00fcmseyerek) ",
    "(skrattar) ",
    "(\u064a\u0628\u062a\u0633\u0645) ",
    "\u200b",
]
CLEANED = {
    "plain words": ("We open at 9.30, e.g. on 5 May.", "We open at 9.30, e.g. on 5 May."),
    "bold and italic": ("**bold** and *italic*", "bold and italic"),
    "underscores": ("__bold__ and _italic_ but snake_case", "bold and italic but snake_case"),
    "struck": ("~~old~~ new", "old new"),
    "escaped": (r"Press \# now", "Press # now"),
    "bullets": ("- one\n- two", "one.\ntwo"),
    "other bullets": ("Here:\n* one!\n\u2022 two\n", "Here:\none!\ntwo.\n"),
    "a numbered list": ("1. First\n2. Second", "1, First.\n2, Second"),
    "numbers with brackets": ("Choose:\n1) Tea\n12) Milk", "Choose:\n1, Tea.\n12, Milk"),
    "a number at the end of a sentence": ("It costs\n9. We open", "It costs\n9. We open"),
    "a German date": ("3. Mai um 10 Uhr.\n1. M\u00e4rz", "3. Mai um 10 Uhr.\n1. M\u00e4rz"),
    "a list of dates": ("1. Mail us\n2. Mai", "1, Mail us.\n2. Mai"),
    "a heading": ("## Hours\nWe open", "Hours.\nWe open"),
    "a quotation": ("> Yes.", "Yes."),
    "a rule": ("Yes.\n---\nNo.", "Yes.\nNo."),
    "a table": ("| Name | Price |\n|---|:--|\n| Tea | 5 |\nOk", "Name, Price.\nTea, 5.\nOk"),
    "a table that is aligned": ("| a  |  b |\n| --- | --- |\n| c  |    |", "a, b.\nc"),
    "a link": ("See [our page](https://example.com/a?b=c).", "See our page."),
    "an image": ("![A map](https://example.com/m.png)", "A map"),
    "a bare address": ("Go to https://www.example.com/a?b=c. Now", "Go to example.com. Now"),
    "an address in brackets": ("(http://example.com/a)", "(example.com)"),
    "a footnote": ("Nine [1] to five[^2].", "Nine to five."),
    "an address before Chinese": (
        "\u8bf7\u8bbf\u95ee https://a.com/b\u3002\u8c22\u8c22",
        "\u8bf7\u8bbf\u95ee a.com\u3002\u8c22\u8c22",
    ),
    "an address in quotation marks": ("(\u201ehttps://a.de/b\u201c)", "(\u201ea.de\u201c)"),
    "addresses in angle brackets": (
        "<a_b@example.com> or <https://example.com/a> today",
        "a_b@example.com or example.com today",
    ),
    "an e-mail address": ("Write to a_b@example.com.", "Write to a_b@example.com."),
    "emoji": ("Great \U0001f600! \U0001f469\u200d\U0001f467 \u2764\ufe0f Bye", "Great ! Bye"),
    "an emoji with a colour": ("Hi \U0001f469\U0001f3fd\u200d\u2695\ufe0f Bob", "Hi Bob"),
    "a joiner of a script": (
        "\u0dc1\u0dca\u200d\u0dbb\u0dd3 \u0dbd\u0d82\u0d9a\u0dcf",
        "\u0dc1\u0dca\u200d\u0dbb\u0dd3 \u0dbd\u0d82\u0d9a\u0dcf",
    ),
    "a keycap": ("Press 1\ufe0f\u20e3", "Press 1"),
    "signs that are spoken": (
        "21 \u00b0C, 5 \u20ac, \u2116 7, 9 %",
        "21 \u00b0C, 5 \u20ac, \u2116 7, 9 %",
    ),
    "a direction": ("*smiles warmly* Hello.", "Hello."),
    "a direction in Spanish": ("[sonr\u00ede amablemente] Abrimos.", "Abrimos."),
    "content before a sentence": ("(in the evening) We open.", "(in the evening) We open."),
    "a direction for a voice": ("[excited] We open. ", "We open."),
    "two directions for a voice": ("[excited] [whispers] We open.", "We open."),
    "waits and other content": (
        "(waits are short) (\u7a0e\u8fbc) (\uc8fc\ucc28 \ubb34\ub8cc)",
        "(waits are short) (\u7a0e\u8fbc) (\uc8fc\ucc28 \ubb34\ub8cc)",
    ),
    "content in brackets at the beginning": ("(or later) we open.", "(or later) we open."),
    "a citation with a colon": ("Nine [web:3][web:12].", "Nine."),
    "a direction between": ("Yes. *looks it up* We do.", "Yes. We do."),
    "a direction in brackets": ("Well [laughs] yes (sighs deeply)", "Well yes "),
    "emphasis is no direction": (
        "That is *very* good. *Note* this",
        "That is very good. Note this",
    ),
    "emphasis at the beginning of a sentence": (
        "*really* good. *truly* so! It is: *very* good",
        "really good. truly so! It is: very good",
    ),
    "emphasis in other scripts": (
        "*\u00dcber* uns. *\u0412\u0430\u0436\u043d\u043e* Da. *\u91cd\u8981* A",
        "\u00dcber uns. \u0412\u0430\u0436\u043d\u043e Da. \u91cd\u8981 A",
    ),
    "emphasis in a list": ("- *blue*\n- *red* one", "blue.\nred one"),
    "what only looks like a direction": (
        "We advise *pausing* it (coughing, fever), it *hums* (hums along)",
        "We advise pausing it (coughing, fever), it hums (hums along)",
    ),
    "a direction with a tail": ("So *clears her throat* yes [hums softly] no", "So yes no"),
    "brackets of a sentence": (
        "Call (between nine and five) us",
        "Call (between nine and five) us",
    ),
    "the star key": ('Press *, 2**3, or "*".', 'Press *, 2**3, or "*".'),
    "a star code": ("Dial *67#, 5*3 or 5 * 3", "Dial *67#, 5*3 or 5 * 3"),
    "no direction in brackets": (
        "Open (friendly staff) until (end of May), <b and c> {x} **pause**",
        "Open (friendly staff) until (end of May), <b and c> {x} pause",
    ),
    "a citation after a verb": (
        "Hold the key for ten seconds [1].",
        "Hold the key for ten seconds.",
    ),
    "boxes": ("- [ ] tea\n- [x] milk", "tea.\nmilk"),
    "a block of code": ("Sure.\n```python\nprint('*')\n```\nDone.", "Sure.\nDone."),
    "words in a fence after others": ("So:\n```\nWe open at nine.\n```", "So:\nWe open at nine.\n"),
    "code in a line": ("Say `help` now", "Say help now"),
    "code without an end": ("Sure. ```x = 1", "Sure. "),
    "html": ("Nine<br>to <b>five</b>", "Nine\nto five"),
    "a pause for a voice": ('Hold on. <break time="1s"/>', "Hold on. "),
    "entities": ("R&D &amp; more", "R&D & more"),
    "no tag": ("if x < 5 and a <b and c> d", "if x < 5 and a <b and c> d"),
    "reasoning": ("<think>\nThey ask *x*.</think>\n\nNine.", "Nine."),
    "reasoning, otherwise": ("[THINK]hm[/THINK]Nine.", "Nine."),
    "an end of reasoning alone": ("</think>Nine.", "Nine."),
    "channels": (
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>Nine.",
        "Nine.",
    ),
    "a tool call": (f"One moment. <tool_call>\n{CALL}\n</tool_call>", "One moment. "),
    "a tag that is named for the end of a call": ("<call_end>Hi <tool_call_end>there", "Hi there"),
    "a tag without its beginning's name": ("<thought>I should.<thought_end>We open.", "We open."),
    "a call of a tool that is named for an end": ("<end_call>Bye</end_call> Done.", "Done."),
    "the same in a call": ("<call><end_call>a</end_call></call> Done.", "Done."),
    "a tool call as JSON": (f"{CALL}", ""),
    "a tool call in tags without a slash": (f"<call_begin>{CALL}<call_end> Done.", "Done."),
    "what only begins like a tool call": ('{"a" is} no call, "b" neither', 'no call, "b" neither'),
    "a tool call with quotes": ('{"a": "\\\\\\" }", "b": {}} Done.', "Done."),
    "tool calls in a list": (f"[{CALL}]\nDone.", "Done."),
    "a tool call by its name": ('<function=book>{"time": "9"}</function>', ""),
    "a tool call of Mistral's": (f"[TOOL_CALLS] [{CALL}]", ""),
    "a tool call of Llama's": (f"<|python_tag|>{CALL}<|eom_id|>", ""),
    "a tool call of DeepSeek's": (
        f"<\uff5ctool\u2581calls\u2581begin\uff5c>{CALL}<\uff5ctool\u2581calls\u2581end\uff5c>",
        "",
    ),
    "a comment": ("We <!-- *note* --> open.", "We open."),
    "an escaped star": (r"Press \*67\* and \_a\_", "Press *67* and _a_"),
    "a table without edges": (
        "Name | Price\n--- | :--\nTea | 5\n\nOk",
        "Name, Price.\nTea, 5.\n\nOk",
    ),
    "a bare domain with a path": (
        "See example.com/menu?x=1, and/or 24/7 shop.example.de/a.",
        "See example.com, and/or 24/7 shop.example.de.",
    ),
    "citations": (
        "Nine [doc1].\u30104:0\u2020source\u3011 Ten [Source: menu.pdf]! Six\ue200cite\ue201.",
        "Nine. Ten! Six.",
    ),
    "a flight and a room": ("Flight [LH 400], [Room 12].", "Flight LH 400, Room 12."),
    "a gate and a form": ("Gate [B12], form [W-2].", "Gate B12, form W-2."),
    "citations after a number that is no choice": (
        "Table 5 is free [1]. The total is 20 [2]. Gate 12 [3]. Press 1 [doc1]. A room [web:3].",
        "Table 5 is free. The total is 20. Gate 12. Press 1. A room.",
    ),
    "citations of files": ("Nine [menu.html]. Ten [Hours.docx, p. 3]!", "Nine. Ten!"),
    "data after a sentence": ('We open at nine.{"a": 1}', "We open at nine."),
    "a heading in Chinese": (
        "\u3010\u65f6\u95f4\u3011\u4e5d\u70b9",
        "\u3010\u65f6\u95f4\u3011\u4e5d\u70b9",
    ),
    "directions in any mark": (
        "*Smiles warmly* Hi. [pause] Yes (smiling warmly), no (in a warm tone) so (lacht).",
        "Hi. Yes , no so .",
    ),
    "content in brackets": (
        "(about two hours) (including breakfast) (daily) [except Sundays] (checking account)",
        "(about two hours) (including breakfast) (daily) except Sundays (checking account)",
    ),
    "an ordinal": ("1. Stock, links", "1. Stock, links"),
    "an ordinal within a sentence": ("Wir sind im\n1. Haus links.", "Wir sind im\n1. Haus links."),
    "a label": ("**Assistant:** We open.", "We open."),
    "a label below a heading": ("### Response:\nWe open.", "We open."),
    "no label": ("Agent Smith: nine. Answer me.", "Agent Smith: nine. Answer me."),
    "no label of thoughts": ("Thinking of it: a user\nasked.", "Thinking of it: a user\nasked."),
    "special tokens": ("<s><|im_start|>assistant\nNine.<|im_end|></s>", "Nine."),
    "instructions": ("[INST] Nine. [/INST]", "Nine. "),
}


def cleaned(pieces: Sequence[str], rule: SpokenTextRule | None = None) -> str:
    return heard(SpokenText(rule), pieces)


def heard(text: SpokenText, pieces: Sequence[str]) -> str:
    """Return the words that are left, without those that were taken back."""
    said = ""
    for piece in [*pieces, None]:
        new = text.finish() if piece is None else text.write(piece)
        said, text.taken_back = said[: len(said) - text.taken_back], 0
        said += new
    return said


@pytest.mark.parametrize(("text", "spoken"), CLEANED.values(), ids=CLEANED)
def test_unspeakable_text_is_removed(text: str, spoken: str) -> None:
    assert heard(SpokenText(tools=["end_call"]), [text]).strip() == spoken.strip()


def cut(text: str, sizes: Sequence[int]) -> list[str]:
    pieces, at = list[str](), 0
    for size in sizes:
        pieces.append(text[at : at + size])
        at += size
    return [*pieces, text[at:]]


@pytest.mark.parametrize("ends", THOUGHTS.values(), ids=THOUGHTS)
def test_thoughts_without_a_beginning_are_taken_back_at_their_end(ends: str) -> None:
    text = SpokenText()
    assert text.write("They ask. ") == "They ask. "
    assert text.write(f"So nine.{ends}\n\nWe open at nine.").strip() == "We open at nine."
    assert text.taken_back == len("They ask. ")


@pytest.mark.parametrize("ends", THOUGHTS.values(), ids=THOUGHTS)
def test_thoughts_with_a_beginning_are_removed(ends: str) -> None:
    begins = ends.replace("/", "").replace("end_of", "begin_of").replace("END_", "START_")
    begins = begins.replace("_end", "_begin").replace("end_", "")
    assert cleaned([f"{begins}They *ask*.{ends} We open."]).strip() == "We open."


@pytest.mark.parametrize("aside", ASIDES)
def test_what_a_template_adds_before_an_answer_is_not_spoken(aside: str) -> None:
    assert cleaned([f"{aside}We open at nine."]) == "We open at nine."


@pytest.mark.parametrize("citation", CITATIONS)
def test_a_citation_is_not_spoken(citation: str) -> None:
    assert cleaned([f"We open at nine{citation}"]).strip() == "We open at nine."


@pytest.mark.parametrize("text", KEYS)
def test_the_number_of_a_key_in_brackets_is_spoken(text: str) -> None:
    assert cleaned([text]) == text.replace("[", "").replace("]", "")


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_direction_is_not_spoken(direction: str) -> None:
    assert cleaned([f"{direction}We open. {direction}"]).strip() == "We open."


@pytest.mark.parametrize("text", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_in_a_wrapping_is_spoken(text: str) -> None:
    assert cleaned(list(text)).strip() == "We open at nine."


@pytest.mark.parametrize("text", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_a_text_without_words_is_no_answer_and_no_sign(text: str) -> None:
    spoken = SpokenText()
    assert heard(spoken, [text]).strip() == ""
    assert not spoken.signs


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_follows_the_end_of_the_answer_is_not_spoken(end: str) -> None:
    assert cleaned([f"We open at nine.{end}"]).strip() == "We open at nine."


def test_a_channel_that_ends_is_not_the_end_of_the_answer() -> None:
    text = "commentary<|message|>A moment.<|end|><|start|>assistant<|channel|>final"
    for begins in ("<|channel|>", ""):
        said = cleaned([f"{begins}{text}<|message|> It is nine.<|return|>"])
        assert said == "A moment. It is nine."


@promised
@given(
    texts=st.lists(
        st.sampled_from([text for text, _ in CLEANED.values()])
        | st.sampled_from([*THOUGHTS.values(), *ANSWERS.values(), *NO_ANSWERS.values()])
        | st.sampled_from([*ENDS.values(), *ASIDES])
        | st.sampled_from([*CITATIONS, *KEYS, *DIRECTIONS])
        | st.text(alphabet='ab1 .\n*_`#[]()<>|/&\\-!{}":\U0001f600', max_size=20),
        min_size=1,
        max_size=4,
    ),
    between=st.sampled_from([" ", "\n", ""]),
    sizes=st.lists(st.integers(0, 9), max_size=60),
)
def test_every_cut_of_a_text_gives_the_same_words(
    texts: list[str], between: str, sizes: list[int]
) -> None:
    text = between.join(texts)

    assert cleaned(cut(text, sizes)) == cleaned([text]) == cleaned(list(text))


@promised
@given(words=st.lists(st.text(alphabet="abchtwxyz,.?'\u00e9\u4e00 ", max_size=12), max_size=20))
def test_text_without_markup_passes_unchanged(words: list[str]) -> None:
    text = " ".join(words)
    assert cleaned(list(text)) == text


@pytest.mark.parametrize(
    "word", ["We ", "open ", "Hello! ", "5 ", "at 9.30 ", "e.g. ", "R & D ", "wow "]
)
def test_a_whole_word_is_not_held(word: str) -> None:
    text = SpokenText()
    text.write("Yes, ")
    assert text.write(word) == word


@given(text=st.text(alphabet='ab *_<[="({&`#', min_size=300, max_size=500))
def test_held_text_is_bounded(text: str) -> None:
    spoken = SpokenText(SpokenTextRule(code=False, tool_calls=False, reasoning=False))
    said = spoken.write(text)
    rest = spoken.finish()
    assert len(rest) <= MAX_HELD + 1
    assert (
        cleaned([text], SpokenTextRule(code=False, tool_calls=False, reasoning=False))
        == said + rest
    )


@pytest.mark.parametrize("piece", ["[1], ", "They ask. "])
@pytest.mark.parametrize("begins", ['[{"a": [', "<think>", "```", "<tool_call>"])
def test_removed_text_is_not_kept_forever(begins: str, piece: str) -> None:
    spoken = SpokenText()
    assert spoken.write(begins + piece * 4 * (MAX_KEPT // len(piece))) == ""
    spoken.finish()
    assert sys.getsizeof(vars(spoken)["_removed_text"]) < 2 * MAX_KEPT
    assert spoken.calls == []


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("markdown", "**bold**"),
        ("links", "[a](https://b.c)"),
        ("code", "`a`"),
        ("emoji", "a \U0001f600"),
        ("stage_directions", "(laughs) a"),
        ("reasoning", "[THINK]a[/THINK]"),
        ("tool_calls", '{"name": "a"}'),
        ("special_tokens", "a<|im_end|>"),
    ],
)
def test_each_kind_can_be_kept(key: str, text: str) -> None:
    only = {item: item == key for item in SpokenTextRule().keys}

    assert cleaned([text], SpokenTextRule(**only)) != text
    assert cleaned([text], SpokenTextRule(**dict.fromkeys(only, False))) == text


@pytest.mark.parametrize("label", ["Sources", "**Quellen**", "References"])
def test_the_sources_of_a_summary_are_not_spoken(label: str) -> None:
    text = f"Anna wants a table.\n{label}:\n- https://a.b/c"
    assert spoken_part(text, is_turn=False) == "Anna wants a table."


@pytest.mark.parametrize("label", ["Caller", "User", "Instruction"])
def test_a_label_in_a_summary_is_content(label: str) -> None:
    text = f"It is about a table.\n{label}: two."
    assert spoken_part(text, is_turn=False) == text


@pytest.mark.parametrize("depth", [40, 300, 600])
@pytest.mark.parametrize(
    ("begins", "ends"),
    [
        ('{"a":', "}"),
        ('{"answer":', "}"),
        ('[{"b":', "}]"),
        ('{"action":"say","input":', "}"),
    ],
)
def test_json_that_is_nested_deeply_is_no_answer(begins: str, ends: str, depth: int) -> None:
    assert cleaned([f"{begins * depth}1{ends * depth} Done."]).strip() == "Done."


@pytest.mark.parametrize("value", ["null", "None", " none. ", "N/A", "undefined", "NaN", "True"])
def test_a_value_of_code_is_not_spoken(value: str) -> None:
    assert spoken_part(value) == ""
    assert spoken_part(f"{value} of us will call.") == f"{value} of us will call.".strip()


@pytest.mark.parametrize(
    "text", ["(hangs up)", "[end of call]", "(Legt auf.)", "*ends the call*", "**raccroche**"]
)
def test_a_goodbye_in_brackets_is_not_spoken(text: str) -> None:
    assert spoken_goodbye(text, SpokenTextRule()) == ""
    assert spoken_goodbye(text, SpokenTextRule(stage_directions=False)) != ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Goodbye (and thank you)!", "Goodbye (and thank you)!"),
        ("(In brackets) and (again).", "(In brackets) and (again)."),
        ("*Goodbye!*", "Goodbye!"),
        ("[Goodbye](https://example.com)", "Goodbye"),
        ("None of us forgets you.", "None of us forgets you."),
    ],
)
def test_a_goodbye_with_words_is_spoken(text: str, said: str) -> None:
    assert spoken_goodbye(text, SpokenTextRule()) == said


@pytest.mark.parametrize(
    "text", [text for name, (text, _) in CLEANED.items() if name.startswith(("a tool", "tool"))]
)
def test_a_removed_call_is_kept(text: str) -> None:
    spoken = SpokenText()
    spoken.write(text)
    spoken.finish()
    (call,) = spoken.calls
    assert json.loads(call[call.index("{") : call.rindex("}") + 1])


@given(sizes=st.lists(st.integers(1, 7), max_size=30), heard=st.integers(0, 30))
def test_a_standby_that_starts_over_repeats_no_word_that_was_cleaned(
    sizes: list[int], heard: int
) -> None:
    text = "**We** are open:\n1. on *Monday*\n2. on `Tuesday` \U0001f600 from nine."
    words = "We are open:\n1, on Monday.\n2, on Tuesday from nine."
    answer = Answer()
    answer.start_attempt(1)
    first = answer.write(1, text[:heard])
    answer.start_attempt(2)
    first = first[: len(first) - answer.taken_back]
    second = [answer.write(2, piece) for piece in cut(text, sizes)]
    assert f"{first}{''.join(second)}{answer.finish(2)}".split() == words.split()
