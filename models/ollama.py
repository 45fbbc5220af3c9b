"""A Modelfile for Ollama, with the tokenizer's own chat format put into Ollama's template language.

The format is found by rendering: turns whose contents are marks are added one by one, and what a turn adds around its
mark is how its role is written. A format whose turns do not simply follow one another is not put into a template; then
Ollama goes by what it knows of the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Ollama sets memory aside for the whole context; a model's own may be larger than a machine has room for.
_MOST_CONTEXT = 8192
_MARKS = ("SentinelAlpha", "SentinelBeta", "SentinelGamma", "SentinelDelta")


@dataclass(frozen=True, slots=True)
class Format:
    """How a tokenizer writes a conversation."""

    around: dict[str, tuple[str, str]]
    """What stands before and after a turn's content, by role; a role that the format does not know is missing."""
    unasked: str
    """What stands first where no system message is given."""
    reply: str
    """What a reply is begun with."""


def chat_format(tokenizer: Any) -> Format | None:
    """The format of a tokenizer; None when its turns do not simply follow one another."""
    import jinja2

    def render(roles: str, *, reply: bool = False) -> str:
        names = {"s": "system", "u": "user", "a": "assistant"}
        turns = [{"role": names[role], "content": mark} for role, mark in zip(roles, _MARKS, strict=False)]
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=reply))
        # llama.cpp puts the first token itself where the tokenizer does.
        return text.removeprefix(tokenizer.bos_token) if _begins(tokenizer) else text

    def parts(start: str, roles: str) -> list[tuple[str, str]] | None:
        """What each further turn adds, before and after its mark."""
        found, before = [], render(start) if start else ""
        for count in range(len(start) + 1, len(start + roles) + 1):
            whole = render((start + roles)[:count])
            added, mark = whole.removeprefix(before), _MARKS[count - 1]
            if not whole.startswith(before) or added.count(mark) != 1:
                return None
            head, _, tail = added.partition(mark)
            found.append((head, tail))
            before = whole
        return found

    try:
        plain = parts("", "uau")
        if plain is None:
            return None
        (first, _), answer, user = plain
        if not first.endswith(user[0]):
            return None
        unasked = first.removesuffix(user[0])
        reply = render("u", reply=True).removeprefix(render("u"))
        around = {"user": user, "assistant": answer}
    except jinja2.TemplateError:
        return None
    try:
        led = parts("", "suau")
    except jinja2.TemplateError:  # no system messages
        return Format(around, unasked, reply)
    if led is None or led[1:] != [user, answer, user]:
        return None
    return Format({"system": led[0], **around}, unasked, reply)


def _begins(tokenizer: Any) -> bool:
    return tokenizer.bos_token is not None and tokenizer.encode("x")[:1] == [tokenizer.bos_token_id]


def go_template(form: Format) -> str:
    """The format in the language of Go's text/template, over Ollama's `.Messages`."""
    turns = "{{ else }}".join(
        f'{{{{ if eq .Role "{role}" }}}}{_literal(before)}{{{{ .Content }}}}{_literal(after)}'
        for role, (before, after) in form.around.items()
    ).replace("{{ else }}{{ if", "{{ else if")
    unasked = ""
    if form.unasked:
        unasked = '{{ if .Messages }}{{ if ne (index .Messages 0).Role "system" }}' + _literal(form.unasked)
        unasked += "{{ end }}{{ end }}"
    return f"{unasked}{{{{ range .Messages }}}}{turns}{{{{ end }}}}{{{{ end }}}}{_literal(form.reply)}"


def _literal(text: str) -> str:
    return text.replace("{{", '{{ "{{" }}')


def modelfile(tokenizer: Any, stops: list[str], context: int | None) -> tuple[str, bool]:
    """The Modelfile of the folder it lies in, and whether it has a template.

    Args:
        tokenizer: of the model.
        stops: texts that end a reply.
        context: the longest the model takes, in tokens.
    """
    lines = ["FROM ."]
    form = chat_format(tokenizer)
    template = go_template(form) if form is not None else None
    if template is not None and '"""' not in template:
        lines.append(f'TEMPLATE """{template}"""')
    else:
        template = None
        lines.append(
            "# The chat template of tokenizer_config.json cannot be written here; Ollama goes by what it knows."
        )
    lines += [f'PARAMETER stop "{stop}"' for stop in stops if '"' not in stop]
    if context:
        lines.append(f"PARAMETER num_ctx {min(context, _MOST_CONTEXT)}")
    return "\n".join(lines) + "\n", template is not None
