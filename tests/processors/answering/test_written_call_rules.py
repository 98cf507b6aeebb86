"""Tool calls that a model writes as text are found by their structure, and never spoken."""

import json
import re
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.answering.spoken_text_rules import MAX_KEPT, SpokenText
from processors.answering.written_call_rules import MAX_TRIED, find_calls
from tests.processors.answering.test_spoken_text_rules import cut, heard
from tests.thoroughness import promised

ORDER: dict[str, Any] = {
    "type": "object",
    "properties": {"order": {"type": "string"}, "copies": {"type": "integer"}},
    "required": ["order"],
    "additionalProperties": False,
}
NOTHING: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
TOOLS = {"check_order": ORDER, "hang_up": NOTHING, "search": ORDER}
OTHERS = {"find_room": ORDER}
GIVEN = '{"order": "77"}'


def tagged(vendor: str) -> str:
    """Return a call in tags with a vendor's namespace."""
    opening = f"<{vendor}function_calls>\n<{vendor}invoke name={json.dumps('check_order')}>\n"
    argument = f"<{vendor}parameter name={json.dumps('order')}>77</{vendor}parameter>\n"
    return f"{opening}{argument}</{vendor}invoke>\n</{vendor}function_calls>"


FORMS = {
    "JSON": f'{{"name": "check_order", "parameters": {GIVEN}}}',
    "JSON with input": f'{{"type": "tool_use", "name": "check_order", "input": {GIVEN}}}',
    "JSON with args": f'{{"command": {{"name": "check_order", "args": {GIVEN}}}}}',
    "JSON by action": f'{{"action": "check_order", "action_input": {GIVEN}}}',
    "JSON, flat": '{"tool": "check_order", "order": "77"}',
    "JSON by name": f'{{"check_order": {GIVEN}}}',
    "JSON in a list": f'[{{"name": "check_order", "arguments": {GIVEN}}}]',
    "JSON, nested": f'{{"tool_calls": [{{"function": {{"name": "check_order", "arguments": '
    f"{json.dumps(GIVEN)}}}}}]}}",
    "JSON in parallel": f'{{"tool_uses": [{{"recipient_name": "functions.check_order", '
    f'"parameters": {GIVEN}}}]}}',
    "Python's quotes": "{'name': 'check_order', 'arguments': {'order': '77'}}",
    "code": 'check_order(order="77")',
    "code in a list": '[check_order(order="77")]',
    "code with a module": 'print(default_api.check_order(order="77"))',
    "code without a name": 'check_order("77")',
    "code of JavaScript": 'check_order({order: "77"})',
    "a fence": f'```json\n{{"name": "check_order", "parameters": {GIVEN}}}\n```',
    "Gemma": '```tool_code\nprint(check_order(order="77"))\n```',
    "Gemma 3": "<start_function_call>call:check_order{order:<escape>77<escape>}<end_function_call>",
    "Gemma 4": '<|tool_call>call:check_order{order:<|"|>77<|"|>}<tool_call|>',
    "DeepSeek V3": "<\uff5ctool\u2581calls\u2581begin\uff5c><\uff5ctool\u2581call\u2581begin\uff5c>"
    f"function<\uff5ctool\u2581sep\uff5c>check_order\n```json\n{GIVEN}\n```"
    "<\uff5ctool\u2581call\u2581end\uff5c><\uff5ctool\u2581calls\u2581end\uff5c>",
    "DeepSeek V3.1": "<\uff5ctool\u2581calls\u2581begin\uff5c>"
    f"<\uff5ctool\u2581call\u2581begin\uff5c>check_order<\uff5ctool\u2581sep\uff5c>{GIVEN}"
    "<\uff5ctool\u2581call\u2581end\uff5c><\uff5ctool\u2581calls\u2581end\uff5c>",
    "DeepSeek V3.2": tagged("\uff5cDSML\uff5c"),
    "Claude": tagged(""),
    "Claude with a namespace": tagged("ns:"),
    "MiniMax": tagged("minimax:"),
    "MiniMax with its tokens": f"]~b]ai\n{tagged('minimax:')}[e~[",
    "MiniMax with a token before each tag": tagged("").replace("<", "]<]minimax[>[<"),
    "MiniMax with arguments as tags": ']<]x[>[<tool_call>]<]x[>[<invoke name="check_order">'
    "]<]x[>[<order>77]<]x[>[</order>]<]x[>[</invoke>]<]x[>[</tool_call>",
    "tags in brackets": f'[tool_call]{{"check_order": {GIVEN}}}[/tool_call]',
    "Mistral": f'[TOOL_CALLS] [{{"name": "check_order", "arguments": {GIVEN}}}]',
    "Mistral, newer": f"[TOOL_CALLS]check_order[ARGS]{GIVEN}",
    "Mistral, with an id": f"[TOOL_CALLS]check_order[CALL_ID]a1[ARGS]{GIVEN}",
    "Mistral, its tokens stripped": f"check_order{GIVEN}",
    "Mistral, one token stripped": f"check_order[ARGS]{GIVEN}",
    "Qwen3-Coder": "<tool_call>\n<function=check_order>\n<parameter=order>\n77\n</parameter>\n"
    "</function>\n</tool_call>",
    "Hermes": f'<tool_call>\n{{"name": "check_order", "arguments": {GIVEN}}}\n</tool_call>',
    "Llama": f'<|python_tag|>{{"name": "check_order", "parameters": {GIVEN}}}<|eom_id|>',
    "Llama 3.1": f"<function=check_order>{GIVEN}</function>",
    "GLM": "<tool_call>check_order\n<arg_key>order</arg_key>\n<arg_value>77</arg_value>\n"
    "</tool_call>",
    "GLM 4": f"check_order\n{GIVEN}",
    "Kimi": "<|tool_calls_section_begin|><|tool_call_begin|>functions.check_order:0"
    f"<|tool_call_argument_begin|>{GIVEN}<|tool_call_end|><|tool_calls_section_end|>",
    "Command R": f'Action: ```json\n[{{"tool_name": "check_order", "parameters": {GIVEN}}}]\n```',
    "Command A": '<|START_ACTION|>[{"tool_call_id": "0", "tool_name": "check_order", '
    f'"parameters": {GIVEN}}}]<|END_ACTION|>',
    "ReAct": f"Action: check_order\nAction Input: {GIVEN}\n",
    "ReAct with thoughts": f"Thought: I look.\nAction: check_order\nAction Input: {GIVEN}\n"
    "Observation: It is there.\nFinal Answer: It is there.",
    "ReAct in a fence": 'Thought: I look.\nAction:\n```\n{"action": "check_order", '
    f'"action_input": {GIVEN}}}\n```\nObservation: It is there.',
    "Step 3": "<\uff5ctool_call_begin\uff5c>function<\uff5ctool_sep\uff5c>"
    '<steptml:invoke name="check_order"><steptml:parameter name="order">77</steptml:parameter>'
    "</steptml:invoke><\uff5ctool_call_end\uff5c>",
    "MCP": f'{{"jsonrpc": "2.0", "id": 1, "method": "tools/call", '
    f'"params": {{"name": "check_order", "arguments": {GIVEN}}}}}',
    "a method": '<|python_tag|>check_order.call(order="77")<|eom_id|>',
    "Functionary": f">>>check_order\n{GIVEN}",
    "Functionary 2": f"<|from|>assistant\n<|recipient|>check_order\n<|content|>{GIVEN}<|stop|>",
    "channels": "<|channel|>commentary to=functions.check_order <|constrain|>json<|message|>"
    f"{GIVEN}<|call|>",
    "channels, by role": "<|start|>assistant to=functions.check_order<|channel|>commentary json"
    f"<|message|>{GIVEN}<|call|>",
    "a channel, without its tokens": f"commentary to=functions.check_order json{GIVEN}",
    "channels, without their tokens": "They want it.assistantcommentary to=functions.check_order "
    f"json{GIVEN}",
    "an element after thoughts": 'Thought: I look.\n<code>\ncheck_order(order="77")\n</code>',
    "a code block after thoughts": 'Thought: I look.\nCode:\n```py\ncheck_order(order="77")\n```',
    "LFM": '<|tool_call_start|>[check_order(order="77")]<|tool_call_end|>',
    "Olmo": '<function_calls>\ncheck_order(order="77")\n</function_calls>',
    "Cline": "<check_order><order>77</order></check_order>",
    "attributes": '<check_order order="77"/>',
    "tags for all parts": f"<tool_use><name>check_order</name><arguments>{GIVEN}</arguments>"
    "</tool_use>",
    "Nemotron": f'<TOOLCALL>[{{"name": "check_order", "arguments": {GIVEN}}}]</TOOLCALL>',
    "a label": f'Tool call: {{"name": "check_order", "arguments": {GIVEN}}}',
    "a label of a sentence": 'I will now call the function: check_order(order="77")',
    "labels for all parts": f"Tool: check_order\nArguments: {GIVEN}",
    "a label before a fence": f'Function call:\n```json\n{{"check_order": {GIVEN}}}\n```',
    "a label in brackets": '[Calling tool: check_order(order="77")]',
    "Qwen 2": f"\u273fFUNCTION\u273f: check_order\n\u273fARGS\u273f: {GIVEN}",
    "an assignment": 'order = await check_order(order="77");',
    "a returned call": 'return check_order(order="77")',
    "Gemini, its fence stripped": 'tool_code\nprint(default_api.check_order(order="77"))',
    "an arrow": '-> check_order(order="77")',
    "emphasis": '**check_order**(order="77")',
    "a bracket too many": f'{{"name": "check_order", "arguments": {GIVEN}}}}}',
    "escaped brackets": f'{{{{"name": "check_order", "arguments": {GIVEN}}}}}',
    "escaped brackets of code": '{{check_order(order="77")}}',
    "typographic quotes": "{\u201cname\u201d: \u201ccheck_order\u201d, \u201carguments\u201d: "
    "{\u201corder\u201d: \u201c77\u201d}}",
    "a tag of one's own": f"<my_tool_request_v2>check_order\n{GIVEN}</my_tool_request_v2>",
}
RUNS = [("check_order", {"order": "77"})]


def read(text: str, pieces: Sequence[str] = (), *, tools: dict[str, Any]) -> tuple[str, Any]:
    """Return what is spoken, and the calls that are run."""
    spoken = SpokenText(tools=tools)
    said = heard(spoken, pieces or [text])
    return said.strip(), [call for written in spoken.calls for call in find_calls(written, tools)]


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_a_written_call_is_run_and_not_spoken(text: str) -> None:
    assert read(text, tools=TOOLS) == ("", RUNS)


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_a_call_of_a_tool_that_is_not_offered_is_neither_run_nor_spoken(text: str) -> None:
    assert read(text, tools=OTHERS) == ("", [])
    assert read(text, tools={}) == ("", [])


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_a_call_that_is_not_offered_is_no_sign_of_an_answer(text: str) -> None:
    spoken = SpokenText(tools=OTHERS)
    heard(spoken, [text])
    assert not spoken.signs


@pytest.mark.parametrize(
    "name", ["JSON", "a fence", "Hermes", "DeepSeek V3.1", "Claude", "Mistral", "Functionary"]
)
def test_words_before_a_call_are_spoken(name: str) -> None:
    assert read(f"One moment. {FORMS[name]}", tools=TOOLS) == ("One moment.", RUNS)


@pytest.mark.parametrize(
    "name", ["JSON", "GLM 4", "labels for all parts", "Qwen 2", "a fence", "Hermes", "code"]
)
@pytest.mark.parametrize("tool", ["check_order", "bookTable"])
def test_words_after_a_call_are_spoken(name: str, tool: str) -> None:
    given = {"order": 'Ann\'s {y}: "no"'}
    call = FORMS[name].replace(GIVEN, json.dumps(given)).replace("check_order", tool)
    said, calls = read(f"{call}\nWe open.", tools={tool: ORDER})
    assert said == "We open."
    assert calls == ([(tool, given)] if name != "code" else [(tool, {"order": "77"})])


@pytest.mark.parametrize("name", ["code", "Mistral, its tokens stripped", "GLM 4", "a fence"])
@pytest.mark.parametrize("module", ["", "functions.", "my_api."])
def test_the_last_word_of_a_sentence_is_no_module(name: str, module: str) -> None:
    text = f"We open at nine.{module if name != 'a fence' else ''}{FORMS[name]}"
    assert read(text, tools=TOOLS) == ("We open at nine.", RUNS)


@pytest.mark.parametrize("name", ["ReAct", "ReAct with thoughts", "ReAct in a fence"])
@pytest.mark.parametrize("between", [" ", "\n", "\n\n"])
def test_thoughts_before_an_action_after_words_are_not_spoken(name: str, between: str) -> None:
    assert read(f"One moment.{between}{FORMS[name]}", tools=TOOLS) == ("One moment.", RUNS)


@pytest.mark.parametrize("between", [" ", "\n"])
@pytest.mark.parametrize("after", ["\n", "\n\n", "\nFinal Answer: "])
def test_words_after_the_line_of_a_thought_are_spoken(between: str, after: str) -> None:
    said, _ = read(f"Good.{between}Thought: it is free.{after}We open.", tools=TOOLS)
    assert said.split() == ["Good.", "We", "open."]


UNCLOSED = {
    "Mistral": FORMS["Mistral"],
    "Mistral, newer": FORMS["Mistral, newer"],
    "Granite": f'<|tool_call|>[{{"name": "check_order", "arguments": {GIVEN}}}]',
    **{
        name: re.sub(
            r"(?s)(?:</tool_call>|</invoke>\n</func.*|<\|eom_id\|>|</function>)$", "", FORMS[name]
        )
        for name in ("Hermes", "Qwen3-Coder", "GLM", "Claude", "Llama", "Llama 3.1", "a method")
    },
    "DeepSeek V3.1": FORMS["DeepSeek V3.1"].partition("}")[0] + "}",
    "DeepSeek V3": FORMS["DeepSeek V3"].rpartition("```")[0] + "```",
    "a fence": FORMS["a fence"].removesuffix("\n```"),
}


@pytest.mark.parametrize("between", [" ", "\n", "\n\n"])
@pytest.mark.parametrize("call", UNCLOSED.values(), ids=UNCLOSED)
def test_words_after_a_call_that_is_not_closed_are_spoken(call: str, between: str) -> None:
    for after in ("We open (at nine).", "We open (at nine).</s>"):
        said, calls = read("", list(f"So. {call}{between}{after}"), tools=TOOLS)
        assert (said.split(), calls) == (["So.", "We", "open", "(at", "nine)."], RUNS)


@pytest.mark.parametrize("call", [UNCLOSED["Hermes"], UNCLOSED["Mistral"], UNCLOSED["Granite"]])
def test_words_around_unclosed_calls_are_spoken_whatever_they_call(call: str) -> None:
    both = f"{call}\n{call.replace('77', '78')}\nWe open."
    assert read(both, tools=TOOLS) == ("We open.", [*RUNS, ("check_order", {"order": "78"})])
    assert read(both, tools=OTHERS) == ("We open.", [])


@pytest.mark.parametrize("call", ["Qwen3-Coder", "GLM", "Claude"])
@pytest.mark.parametrize(
    "words", ["<b>We</b> open.", "We <b>open</b>.", "<p>We<br/>open.", "We <i>open."]
)
def test_words_in_tags_after_a_call_that_is_not_closed_are_spoken(call: str, words: str) -> None:
    said, calls = read(f"{UNCLOSED[call]}\n{words}", tools=TOOLS)
    assert (said.split(), calls) == (["We", "open."], RUNS)


@pytest.mark.parametrize(
    "call", ["[TOOL_CALLS]{} ", "<|python_tag|>{} ", "<tool_call>[] We open. "]
)
def test_many_calls_that_are_not_closed_take_little_time(call: str) -> None:
    spoken = SpokenText(tools=TOOLS)
    spoken.write(call * (MAX_KEPT // len(call)))
    began = time.process_time()
    spoken.finish()
    assert time.process_time() - began < 1  # it would take 2 to 6 s for every call


@pytest.mark.parametrize(
    "code", ["<|python_tag|>import x\nx.y(1)\nz = 3", "```python\nx.y(1)\nz = 3\nreturn z"]
)
def test_code_without_an_end_is_not_spoken(code: str) -> None:
    assert read(f"We open. {code}", tools=TOOLS) == ("We open.", [])


@pytest.mark.parametrize("words", ["You can book (online) now.", "Book now (by phone) and book."])
def test_words_in_a_fence_that_is_not_closed_are_spoken_whatever_tools_they_name(
    words: str,
) -> None:
    tools = {"book": ORDER}
    assert read(f"```\n{words}\nWe open.", tools=tools) == (f"{words}\nWe open.", [])
    assert read(f'```\nbook(order="77")\n{words}', tools=tools) == (words, [("book", *RUNS[0][1:])])


@pytest.mark.parametrize("begins", ["<|python_tag|>", "```python\n", "<tool_call>"])
@pytest.mark.parametrize(
    "code", ["print(r)", 'say(r["s', "x = r['s']", "return r", "if r:\n    say(r)", "# We wait."]
)
def test_code_after_a_call_in_code_is_not_spoken(begins: str, code: str) -> None:
    for called in ('r = check_order(order="77")', 'r = {"a": 1}\ncheck_order(order="77")'):
        assert read(f"{begins}{called}\n{code}", tools=TOOLS) == ("", RUNS)


@pytest.mark.parametrize("more", [f', {{"name": "it", "arguments": {GIVEN}}}', ', "id": "1"}'])
def test_json_after_a_call_in_json_is_not_spoken(more: str) -> None:
    assert read(f"{UNCLOSED['Hermes']}{more}", tools=TOOLS) == ("", RUNS)


@pytest.mark.parametrize("label", ["Thought", "**Thinking**", "Reasoning", "Gedanken"])
@pytest.mark.parametrize("begins", [" ", "\n"])
def test_lines_after_that_of_the_first_thought_are_the_answer(label: str, begins: str) -> None:
    said, _ = read(f"{label}:{begins}They ask.\nWe open.\nWe close.", tools=TOOLS)
    assert said.split() == ["We", "open.", "We", "close."]
    assert read(f"{label}: They ask.", tools=TOOLS)[0] == ""


@pytest.mark.parametrize("end", ["User: hi\nYes?", "**Observation:** It is.", "Action", "Answer"])
def test_after_a_thought_an_invented_turn_or_a_label_without_text_is_not_spoken(end: str) -> None:
    assert read(f"Thought: They ask.\n{end}", tools=TOOLS)[0] == ""
    assert read(f"Thought: They ask.\nWe open.\n{end}", tools=TOOLS)[0] == "We open."


def test_thoughts_in_lines_before_an_action_are_not_spoken() -> None:
    assert read(f"Thought: I look.\nIt is late.\n{FORMS['ReAct']}", tools=TOOLS) == ("", RUNS)


def test_a_plan_before_an_action_is_taken_back() -> None:
    call = FORMS["Command R"]
    assert read(f"Plan: I will look.\n{call}", tools=TOOLS) == ("", RUNS)
    assert read("Plan: we meet at nine.", tools=TOOLS) == ("Plan: we meet at nine.", [])


@pytest.mark.parametrize(
    "label", ["Function call: search\nArguments:", "Tool: search\nWith the parameters:"]
)
def test_a_label_may_name_a_tool_that_is_a_word(label: str) -> None:
    assert read(f"{label} {GIVEN}", tools=TOOLS) == ("", [("search", {"order": "77"})])


@pytest.mark.parametrize("words", ["Your call is noted:", "We sell tools:", "x = 5.", "Five: "])
def test_words_that_announce_no_call_are_spoken(words: str) -> None:
    assert read(words, tools=TOOLS) == (words.strip(), [])
    assert read(f"So: {FORMS['JSON']}", tools=TOOLS) == ("So:", RUNS)


def test_an_offered_tool_that_seems_to_speak_is_run() -> None:
    text = '{"name": "send_reply", "arguments": {"text": "We open."}}'
    schema = {"type": "object", "properties": {"text": {"type": "string"}}}

    assert read(text, tools={"send_reply": schema}) == ("", [("send_reply", {"text": "We open."})])


@pytest.mark.parametrize("name", ["JSON", "code", "Claude", "GLM", "DeepSeek V3.1"])
def test_two_calls_are_two(name: str) -> None:
    both = read(f"{FORMS[name]}\n{FORMS[name].replace('77', '78')}", tools=TOOLS)
    assert both == ("", [*RUNS, ("check_order", {"order": "78"})])


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "check_order", "parameters": {"order": 77}}',
        '{"name": "check_order", "parameters": {"colour": "red"}}',
        'check_order(order="77", colour="red")',
        "check_order(order=open('/etc/passwd').read())",
        '<invoke name="check_order"><parameter name="copies">2</parameter></invoke>',
        '{"name": "note", "arguments": {"name": "check_order", "arguments": {"order": "77"}}}',
        '{"name": "note", "arguments": {"text": "check_order(order=\\"77\\")"}}',
        '{"name": "check_order", "argu',
    ],
)
def test_only_valid_arguments_of_the_named_tool_are_run(text: str) -> None:
    assert read(text, tools=TOOLS) == ("", [])


@pytest.mark.parametrize(
    "text",
    ["hang_up()", '{"name": "hang_up"}', "<hang_up/>", '{"function": "hang_up", "args": null}'],
)
def test_a_tool_without_arguments_can_be_called(text: str) -> None:
    assert read(text, tools=TOOLS) == ("", [("hang_up", {})])


@pytest.mark.parametrize(
    "form", [form for form in FORMS.values() if re.match(r"[<{]|\[[A-Z_]{2}", form)]
)
@pytest.mark.parametrize("part", [0.01, 0.15, 0.4, 0.7])
def test_a_call_that_is_cut_off_is_not_spoken(form: str, part: float) -> None:
    cut_off = form[: 1 + int(part * len(form))]
    assert read(f"One moment. {cut_off}", tools=TOOLS)[0] == "One moment."


@pytest.mark.parametrize("required", [["order"], []])
@pytest.mark.parametrize(
    "name", [name for name, form in FORMS.items() if re.search("<.*>\\n?77\\n?</", form)]
)
def test_a_call_that_is_cut_off_within_an_argument_is_not_run(
    name: str, required: list[str]
) -> None:
    tools = {"check_order": ORDER | {"required": required}}
    assert read(FORMS[name].partition("7</")[0].partition("7\n</")[0], tools=tools) == ("", [])


@pytest.mark.parametrize("given", ['{"ord', '{"order": "7', "```json\n{"])
def test_an_action_that_is_cut_off_within_its_input_is_not_run(given: str) -> None:
    text = f"Action: check_order\nAction Input: {given}"
    assert read(text, tools=TOOLS) == ("", [])


@pytest.mark.parametrize(
    "cut_off", ["check_o", "check_order(", "check_order(ord", "[TOOL_CA", "<t"]
)
def test_the_beginning_of_a_call_is_not_spoken(cut_off: str) -> None:
    assert read(f"One moment. {cut_off}", tools=TOOLS) == ("One moment.", [])


@pytest.mark.parametrize(
    "text",
    [
        *("if a <b.", "We open (at", "hotel (", "[Anna", "Use check_order", "x [auto=b"),
        *("Our iPhones (new", "Please search (it", "Action: pay\n"),
    ],
)
def test_words_at_an_end_that_begin_no_call_are_spoken(text: str) -> None:
    assert read(text, tools=TOOLS) == (text.strip().replace("[", ""), [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Is it [yes]!", "Is it yes!"),
        ('{"answer": "Next action: pay.\\nWe open at nine', "Next action: pay.\nWe open at nine"),
    ],
)
def test_words_in_brackets_at_an_end_are_spoken(text: str, said: str) -> None:
    assert read(text, tools=TOOLS) == (said, [])


@pytest.mark.parametrize("name", ["Gemma 3", "Gemma 4"])
def test_a_value_between_tokens_may_contain_quotes(name: str) -> None:
    value = "O'Brien's \"no. 7\", {x}"
    call = FORMS[name].replace("77", value)
    assert read(call, tools=TOOLS) == ("", [("check_order", {"order": value})])


@pytest.mark.parametrize(
    "text",
    [
        f"<|start_of_role|>assistant<|end_of_role|>{FORMS['Hermes']}",
        f"]~b]ai\n{FORMS['MiniMax']}[e~[\n]~b]user\nAnd?",
        f"\ncommentary to=functions.check_order json{GIVEN}",
    ],
)
def test_a_call_in_a_new_message_is_run_after_words(text: str) -> None:
    assert read(f"One moment. {text}", tools=TOOLS) == ("One moment.", RUNS)


def test_an_action_with_its_input_in_brackets_is_not_spoken() -> None:
    assert read("Action: Lookup[opening hours]\nWe open.", tools=TOOLS) == ("We open.", [])


def test_each_argument_in_tags_inside_of_tokens_is_read() -> None:
    begin, end = "<\uff5ctool_call_begin\uff5c>", "<\uff5ctool_call_end\uff5c>"
    text = f'{begin}<x:invoke name="search"><x:parameter name="order">7</x:parameter>'
    text += f'<x:parameter name="copies">2</x:parameter></x:invoke>{end}'

    assert read(text, tools=TOOLS) == ("", [("search", {"order": "7", "copies": 2})])


def test_arguments_in_tags_get_the_types_of_the_schema() -> None:
    text = "<function=check_order><parameter=order>7</parameter><parameter=copies>2</parameter>"
    assert find_calls(f"{text}</function>", TOOLS) == [("check_order", {"order": "7", "copies": 2})]


@promised
@given(
    texts=st.lists(
        st.sampled_from(
            [*FORMS.values(), "We open at nine.", "I can search it (or book).", "a {b"]
        ),
        min_size=1,
        max_size=3,
    ),
    between=st.sampled_from([" ", "\n", ". "]),
    sizes=st.lists(st.integers(0, 12), max_size=80),
)
def test_every_cut_of_a_text_gives_the_same_words_and_calls(
    texts: list[str], between: str, sizes: list[int]
) -> None:
    text = between.join(texts)
    assert read(text, cut(text, sizes), tools=TOOLS) == read(text, tools=TOOLS)


SENTENCES = [
    "We open at nine, and close at half past six (about two hours later on Fridays).",
    "I can search for it, check order 77 (or 78), and hang up if you like.",
    "Your order, no. 5/2024, costs 9.90 - shall I check it?",
    "That's \"Anna's\" booking: it's for 2 p.m., and/or 3 p.m.",
    "Wir haben am 3. Mai ge\u00f6ffnet; das ist im 1. Stock (links).",
    "Bitte sagen Sie \u201eja\u201c \u2013 oder dr\u00fccken Sie die 5.",
    "Nous ouvrons \u00e0 9 h 30\u00a0; c'est \u00e0 c\u00f4t\u00e9 (environ 200 m).",
    "\u00bfQuiere reservar para ma\u00f1ana a las 21:00? \u00a1Claro!",
    "Apriamo alle nove, cio\u00e8 fra un'ora: va bene?",
    "Abrimos \u00e0s nove horas (exceto aos domingos).",
    "We zijn om 9.00 uur open; tot zo!",
    "Otwieramy o dziewi\u0105tej, w pi\u0105tki o dziesi\u0105tej.",
    "\u041c\u044b \u043e\u0442\u043a\u0440\u044b\u0442\u044b \u0441 9:00 "
    "(\u043f\u043e\u0447\u0442\u0438 \u0434\u0432\u0430 \u0447\u0430\u0441\u0430).",
    "Saat 9'da a\u00e7\u0131yoruz, de\u011fil mi?",
    "\u6211\u4eec\u4e5d\u70b9\u5f00\u95e8\u3002\u8bf7\u95ee\u60a8\u8981\u9884\u8ba2\u5417\uff1f",
    "\u0646\u0641\u062a\u062d \u0641\u064a \u0627\u0644\u062a\u0627\u0633\u0639\u0629.",
]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_an_ordinary_sentence_passes_unchanged_and_each_word_at_once(sentence: str) -> None:
    spoken = SpokenText(tools=TOOLS)
    said = written = ""
    for word in [f"{word} " for word in sentence.split(" ")]:
        written += word
        said += spoken.write(word)
        assert len(written) - len(said) <= len(word)  # only a mark in the latest word is held
    assert (said + spoken.finish()).strip() == sentence
    assert spoken.taken_back == 0


@pytest.mark.parametrize("first", ["We", "Good", "Yes", "Ja", "\u041c\u044b", "\u6211", "Nine"])
def test_the_first_word_is_not_held(first: str) -> None:
    assert SpokenText(tools=TOOLS).write(first) == first


@pytest.mark.parametrize("text", ["[" * 8000, '{"a":' * 1600, "search(" * 1100, "<a>" * 2600])
def test_the_search_for_calls_is_bounded(text: str) -> None:
    began = time.process_time()
    assert find_calls(text, TOOLS) == []
    assert time.process_time() - began < MAX_TRIED * 0.02
