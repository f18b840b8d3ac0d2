"""Hot loops: a first call says that it compiles."""

from __future__ import annotations

import logging

import pytest

from accelir_plugins import compiled as room


def test_the_first_compilation_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room.announcer, "said", False)
    # Of no file, so that no earlier run has left it on disk.
    made: dict[str, object] = {}
    exec("def doubled(x):\n    return 2 * x", made)
    doubled = room.compiled(made["doubled"])
    with caplog.at_level(logging.INFO, logger="accelir"):
        assert doubled(3) == 6
        assert doubled(1.5) == 3
    assert ["Compiling" in record.message for record in caplog.records] == [True]
