"""The test server itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quarterdeck import QuarterdeckError, Step
from quarterdeck.testing import Server


async def test_a_server_lives_as_long_as_its_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    # What is set for another server is not for this one.
    monkeypatch.setenv("QUARTERDECK_DATA", str(tmp_path / "not-here"))
    async with Server() as server:
        assert len(os.listdir(tmp_path)) == 1
        async with server.client() as client:
            task = await client.create_task([Step("a", "nobody")])
            assert task.id.startswith("tsk_")
        late = server.client()
    assert os.listdir(tmp_path) == []
    async with late:
        late.deadline = 0.2
        with pytest.raises(QuarterdeckError) as gone:
            await late.get_task(task.id)
    assert gone.value.origin == "transport"


def test_a_binary_that_does_not_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARTERDECK_BINARY", "/bin/false")
    with pytest.raises(RuntimeError, match="ended with exit code 1"):
        Server().start()
    monkeypatch.setenv("QUARTERDECK_BINARY", "/no/such/binary")
    with pytest.raises(FileNotFoundError):
        Server().start()
