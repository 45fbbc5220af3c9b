"""A journaled call as a request that can be sent again from a shell or from Python."""

from __future__ import annotations

import json
import shlex
from typing import Any

from understudy.nouns import Call

_SENT = ("temperature", "top_p", "max_tokens", "seed")
_EXTRA = ("repetition_penalty",)
"""What vLLM knows beyond the standard's names."""


def body(call: Call) -> dict[str, Any]:
    """The request as OpenAI-compatible servers read it."""
    sampling = {name: call.sampling[name] for name in (*_SENT, *_EXTRA) if call.sampling.get(name) is not None}
    return {"model": call.model, "messages": [dict(message) for message in call.messages], **sampling}


def curl(call: Call, url: str) -> str:
    """The request as a command."""
    sent = json.dumps(body(call), ensure_ascii=False, indent=2)
    address = shlex.quote(f"{url.rstrip('/')}/chat/completions")
    return f"curl {address} \\\n  -H 'Content-Type: application/json' \\\n  -d {shlex.quote(sent)}"


def python(call: Call, url: str) -> str:
    """The request as a program, with the package `openai`."""
    sent = body(call)
    extra = {name: sent.pop(name) for name in _EXTRA if name in sent}
    values = "".join(f"    {name}={value!r},\n" for name, value in sent.items())
    values += f"    extra_body={extra!r},\n" if extra else ""
    return (
        "from openai import OpenAI\n\n"
        f"client = OpenAI(base_url={url!r}, api_key='none')\n"
        f"reply = client.chat.completions.create(\n{values})\n"
        "print(reply.choices[0].message.content)\n"
    )
