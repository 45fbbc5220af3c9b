"""Modelfiles, their templates read by a small interpreter of what they use of Go's template language."""

import re
from typing import Any

import pytest
from tokenizers import Tokenizer, models, processors
from transformers import PreTrainedTokenizerFast

from understudy.models.ollama import chat_format, go_template, modelfile

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LED = "{% if messages[0].role != 'system' %}<|im_start|>system\nBe {{'{{'}} kind.<|im_end|>\n{% endif %}" + CHATML
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|h|>{{ m.role }}<|e|>\n\n{{ m.content | trim }}<|eot|>{% endfor %}"
    "{% if add_generation_prompt %}<|h|>assistant<|e|>\n\n{% endif %}"
)
# Earlier answers lose something once they are not the last.
CHANGING = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% if loop.last %}!{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def tokenizer(template: str, *, begins: bool = False) -> Any:
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<bos>": 1, "x": 2}, unk_token="<unk>"))
    if begins:
        words.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=words, bos_token="<bos>", chat_template=template)


def rendered(template: str, messages: list[dict[str, str]]) -> str:
    """What Go makes of a template: `if`, `else if`, `range`, `eq`, `ne`, fields and literals; nothing else is known."""
    tokens = re.split(r"(\{\{.*?\}\})", template, flags=re.DOTALL)

    def truth(test: str, dot: Any) -> bool:
        if test == ".Messages":
            return bool(messages)
        if found := re.fullmatch(r'ne \(index \.Messages 0\)\.Role "(\w+)"', test):
            return messages[0]["role"] != found[1]
        found = re.fullmatch(r'eq \.Role "(\w+)"', test)
        assert found, test
        return bool(dot["role"] == found[1])

    def block(place: int, dot: Any, live: bool) -> tuple[str, int, str]:
        """Up to the next `else` or `end`: the text, where it is, and its action."""
        out = ""
        while place < len(tokens):
            token = tokens[place]
            place += 1
            if not token.startswith("{{"):
                out += token if live else ""
                continue
            action = token[2:-2].strip()
            if action.startswith(("else", "end")):
                return out, place, action
            if action.startswith("range "):
                assert action == "range .Messages"
                start = place
                for message in messages:
                    text, place, _ = block(start, message, live)
                    out += text
                if not messages:
                    _, place, _ = block(start, None, False)
            elif action.startswith("if "):
                done = not truth(action[3:], dot) if live else True
                text, place, ended = block(place, dot, live and not done)
                out, taken = out + text, not done
                while ended != "end":
                    now = live and not taken and truth(ended.removeprefix("else if "), dot)
                    text, place, ended = block(place, dot, now)
                    out, taken = out + text, taken or now
            elif action == ".Content":
                out += dot["content"] if live else ""
            else:
                assert action == '"{{"', action
                out += "{{" if live else ""
        return out, place, "end"

    return block(0, None, True)[0]


def turns(*said: str) -> list[dict[str, str]]:
    return [dict(zip(("role", "content"), one.split(":", 1), strict=True)) for one in said]


TALKS = [
    turns("user:Hi"),
    turns("user:Hi", "assistant:Hello\nyou", "user:Why?"),
    turns("system:Be brief.", "user:Hi"),
    turns("system:Be brief.", "user:Hi", "assistant:Yes", "user:A {{ brace }}"),
]


@pytest.mark.parametrize(
    ("template", "begins", "talks"),
    [(CHATML, False, TALKS), (LED, False, TALKS), (GEMMA, True, TALKS[:2]), (LLAMA, True, TALKS)],
    ids=["chatml", "default system", "gemma", "llama"],
)
def test_the_template_writes_what_the_tokenizer_writes(
    template: str, begins: bool, talks: list[list[dict[str, str]]]
) -> None:
    words = tokenizer(template, begins=begins)
    form = chat_format(words)
    assert form is not None
    for talk in talks:
        expected = words.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
        assert rendered(go_template(form), talk) == expected.removeprefix("<bos>")


def test_a_first_token_that_the_tokenizer_does_not_put_itself_stays() -> None:
    words = tokenizer(LLAMA)
    form = chat_format(words)
    assert form is not None
    for talk in TALKS:
        expected = words.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
        assert expected.startswith("<bos>") and rendered(go_template(form), talk) == expected


def test_a_format_whose_turns_do_not_follow_one_another_gets_no_template() -> None:
    text, templated = modelfile(tokenizer(CHANGING), ["<|end|>"], 4096)
    assert not templated and "TEMPLATE" not in text
    assert 'PARAMETER stop "<|end|>"' in text and "PARAMETER num_ctx 4096" in text


def test_a_modelfile_names_the_folder_the_stops_and_a_context_a_machine_has_room_for() -> None:
    text, templated = modelfile(tokenizer(CHATML), ["<|im_end|>"], 131072)
    assert templated and text.startswith('FROM .\nTEMPLATE """')
    assert text.endswith('PARAMETER stop "<|im_end|>"\nPARAMETER num_ctx 8192\n')
