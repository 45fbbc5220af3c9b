from collections.abc import AsyncIterator

import pytest

from understudy.models import throttle

from .stub import Stub, serving


@pytest.fixture
async def stub(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stub]:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(throttle, "_FIRST_PAUSE_S", 0.001)
    async with serving() as made:
        yield made
