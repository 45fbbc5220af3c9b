"""The floor: an asyncio loop, aiohttp, a semaphore, and a list of rows; nothing is checked, kept or retried."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

PACKAGE = "aiohttp"


def prepare(job: dict[str, Any]) -> Callable[[Path, Path], int]:
    """See `measure.py`."""
    url, prompts = f"{job['base_url']}/chat/completions", job["prompts"]

    async def flow(texts: list[str]) -> list[dict[str, str]]:
        slots = asyncio.Semaphore(job["concurrency"])
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

            async def call(name: str, row: dict[str, str]) -> str:
                prompt = prompts[name]
                for key, value in row.items():
                    prompt = prompt.replace("{{ " + key + " }}", value)
                messages = [{"role": "system", "content": job["system"]}, {"role": "user", "content": prompt}]
                body = {"model": job["model"], "messages": messages, **job["sampling"]}
                async with slots, session.post(url, json=body) as answer:
                    answer.raise_for_status()
                    reply: str = (await answer.json())["choices"][0]["message"]["content"]
                    return reply

            async def draft(text: str) -> dict[str, str]:
                row = {"text": text}
                for name in prompts:
                    row[name] = await call(name, row)
                return row

            return await asyncio.gather(*map(draft, texts))

    def go(seeds: Path, folder: Path) -> int:
        texts = [json.loads(line)["text"] for line in seeds.read_text(encoding="utf-8").splitlines()]
        rows = asyncio.run(flow(texts))
        folder.mkdir(parents=True)
        (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        return len(rows)

    return go
