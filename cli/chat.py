"""`understudy chat`: a conversation with a VM, line by line."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.screen import visible

if TYPE_CHECKING:
    import asyncio

    from understudy.cli.vms import VM
    from understudy.models import SM
    from understudy.nouns import Messages
    from understudy.prompt import Sampling

_HELP = "/base asks the base the same, /reset begins anew, /quit or Ctrl-D ends."


def chat(
    vm: Annotated[Path, typer.Argument(help="A VM folder, as `understudy train` writes it.", show_default=False)],
    base: Annotated[bool, typer.Option("--base", help="Let the base answer too, each time.")] = False,
    system: Annotated[str | None, typer.Option(help="A system message to begin with.")] = None,
    temperature: Annotated[float, typer.Option(min=0, max=2, help="0 always takes the likeliest token.")] = 0.7,
    max_tokens: Annotated[int, typer.Option(min=1, max=8192, help="Longest reply.")] = 256,
    seed: Annotated[int, typer.Option(help="Of the first reply; the next has the next one.")] = 0,
) -> None:
    """Talk with a VM; each line is a message, and the conversation is kept."""
    import asyncio

    from understudy.cli.vms import open_local, read_vm
    from understudy.prompt import Sampling

    found = read_vm(vm)
    engine, models = open_local([found])
    talk = _Talk(found, models, system, Sampling(temperature=temperature, max_tokens=max_tokens), seed)
    with asyncio.Runner() as runner:
        try:
            if base:
                talk.base()  # before anything is loaded: it may be gone
            typer.echo(f"{visible(models[found.name].identity)}\n{_HELP}")
            runner.run(engine.load())
            _lines(talk, runner, both=base)
        finally:
            runner.run(talk.close())


class _Talk:
    """The conversation so far, and who may speak in it."""

    def __init__(self, vm: VM, models: dict[str, SM], system: str | None, sampling: Sampling, seed: int) -> None:
        self._vm, self._models, self._sampling, self._seed = vm, models, sampling, seed
        self._opening: Messages = ({"role": "system", "content": system},) if system else ()
        self.said: Messages = self._opening

    def reset(self) -> None:
        self.said = self._opening

    def base(self) -> SM:
        """The base: what the adapter sits on, or the weights that a VM of its own weights began with.

        Raises:
            ModelError: when it is gone, or nobody knows it.
        """
        from understudy.cli.vms import base_name
        from understudy.models.local import Local

        name = base_name(self._vm)
        if self._vm.adapter:
            return self._models[name]
        return self._models.setdefault("", Local.open(self._vm.needs_base(), name=name))

    async def answer(self, messages: Messages, sm: SM | None = None) -> str:
        from understudy.models import Request

        asked = Request(messages, self._sampling, self._seed + len(messages))
        (reply,) = await (sm or self._models[self._vm.name]).complete(asked)
        return reply.text

    async def close(self) -> None:
        for sm in self._models.values():
            await sm.aclose()


def _lines(talk: _Talk, runner: asyncio.Runner, *, both: bool) -> None:
    """Read and answer until the end of the input, `/quit`, or Ctrl-C while nothing is being written."""
    from understudy.errors import EngineError, ModelError

    last: Messages | None = None
    while (line := _read()) is not None:
        if line in {"/quit", "/exit"}:
            return
        if line == "/reset":
            talk.reset()
            last = None
        elif line == "/base" and last is None:
            typer.echo("Nothing has been asked yet.")
        elif line.startswith("/") and line != "/base":
            typer.echo(_HELP)
        elif line:
            try:
                if line != "/base":
                    last = (*talk.said, {"role": "user", "content": line})
                    reply = runner.run(talk.answer(last))
                    typer.echo(visible(reply))
                    talk.said = (*last, {"role": "assistant", "content": reply})
                if last is not None and (both or line == "/base"):
                    typer.echo(f"base: {visible(runner.run(talk.answer(last, talk.base())))}")
            except (EngineError, ModelError) as error:  # the talk goes on without this turn
                typer.echo(f"Error: {visible(error.message)}", err=True)
            except KeyboardInterrupt:
                typer.echo("\nGiven up.")


def _read() -> str | None:
    """The next line without its end; None when there is none."""
    if sys.stdin.isatty():
        with suppress(ImportError):
            import readline  # noqa: F401 - lets `input` be edited
        try:
            return input("> ").strip()
        except EOFError:
            typer.echo()
            return None
    line = sys.stdin.readline()
    return line.strip() if line else None
