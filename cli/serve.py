"""`understudy serve`: VMs behind an OpenAI-compatible address."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from understudy.cli.screen import visible

if TYPE_CHECKING:
    from understudy.cli.vms import VM

_BACKENDS = ("auto", "vllm", "transformers")
_DTYPES = ("auto", "float32", "bfloat16", "float16")


def serve(
    vms: Annotated[
        list[Path], typer.Argument(metavar="VM", help="VM folders; several must be adapters of one base.",
                                   show_default=False)
    ],
    host: Annotated[str, typer.Option(help="Address to listen on; one that others can reach needs a key.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes one that is free.")] = 8000,
    backend: Annotated[
        str, typer.Option(help="vllm, transformers, or auto: vLLM where its command is found.")
    ] = "auto",
    dtype: Annotated[
        str,
        typer.Option(help="auto, float32, bfloat16 or float16; in float32 a reply hardly depends on its neighbours."),
    ] = "auto",
    name: Annotated[
        list[str] | None, typer.Option(help="What a VM is called, if not as its folder; once for each VM.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the key that every request must carry.")
    ] = None,
) -> None:  # fmt: skip
    """Serve VMs by OpenAI's protocol; the `model` of a request says which of them answers, or their base."""
    from understudy.cli.vms import together
    from understudy.errors import UserError
    from understudy.models.access import is_loopback
    from understudy.models.vllm_server import vllm_command

    if backend not in _BACKENDS:
        raise UserError(f"--backend {backend}", expected=", ".join(_BACKENDS))
    if dtype not in _DTYPES:
        raise UserError(f"--dtype {dtype}", expected=", ".join(_DTYPES))
    key = _key(api_key_env)
    if key is None and not is_loopback(host):
        raise UserError(
            f"--host {host} can be reached from elsewhere",
            expected="an API key, or an address of this machine alone",
            remedy="export a long random key and name its variable with --api-key-env, or leave --host out",
        )
    found = together(vms, name or ())
    if backend == "vllm" or (backend == "auto" and vllm_command() is not None):
        _by_vllm(found, dtype, host, port, key, api_key_env)
    else:
        _by_us(found, dtype, host, port, key, api_key_env)


def _key(variable: str | None) -> str | None:
    from understudy.errors import UserError

    if variable is None:
        return None
    if not (key := os.environ.get(variable, "").strip()):
        raise UserError(f"environment variable {variable} is not set", remedy=f"export {variable}=… with a long key")
    return key


def _by_us(vms: list[VM], dtype: str, host: str, port: int, key: str | None, key_env: str | None) -> None:
    import asyncio

    from understudy.cli.vms import open_local
    from understudy.models.serving import serve as run

    engine, models = open_local(vms, dtype)
    typer.echo(f"Loading {visible(engine.identity)}")
    asyncio.run(engine.load())
    run(models, host, port, key, lambda address: _tell(address, list(models), vms, key_env))


def _by_vllm(vms: list[VM], dtype: str, host: str, port: int, key: str | None, key_env: str | None) -> None:
    import asyncio

    from understudy.cli.vms import base_name
    from understudy.errors import EngineError
    from understudy.models.adapters import check_adapters
    from understudy.models.vllm_server import Server
    from understudy.sms import VLLMServerSM

    adapters = {vm.name: vm.path for vm in vms if vm.adapter}
    served = base_name(vms[0]) if adapters else vms[0].name
    weights = vms[0].weights
    check_adapters(adapters, weights)
    settings = VLLMServerSM.model_validate({"backend": "vllm-server", "path": str(weights), "dtype": dtype})
    server = Server.start(settings, weights, adapters, served=served, host=host, port=port, key=key or "")
    try:
        typer.echo(f"Starting vLLM; its log is {server.log}")
        asyncio.run(server.healthy(settings.start_s))
        _tell(server.url.removesuffix("/v1"), [served, *adapters], vms, key_env)
        code = server.process.wait()
        raise server.trouble(EngineError, f"`vllm serve` ended with exit code {code}")
    finally:
        server.stop()


def _tell(address: str, names: list[str], vms: list[VM], key_env: str | None) -> None:
    from understudy.cli.vms import curl

    typer.echo(f"\nServing at {address}/v1\nModels: {', '.join(map(visible, names))}\n\nTry it:")
    typer.echo(f"  {visible(curl(address, vms[0].name, key_env))}\n\nCtrl-C ends it.")
    sys.stdout.flush()
