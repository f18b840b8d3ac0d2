"""What a training keeps until it has ended, and how its results are written: all together or not at all."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from accelir.errors import DecodeError, InvalidInputError, SaveError
from accelir.files import write_atomically

__all__ = ["Checkpoint", "write_together"]


class Checkpoint:
    """A folder beside the output of a training.

    Args:
        folder: Made where it is not there.

    Attributes:
        state: The file that `accelir.training.recipe.train` resumes from.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state.pt"
        self._description = folder / "training.json"
        self._log = folder / "log.jsonl"
        self._started = time.monotonic()
        self._earlier = 0.0

    def begin(self, identity: Mapping[str, Any], facts: Callable[[], dict[str, Any]], *, force: bool) -> dict[str, Any]:
        """Begin a training, or go on with it.

        Args:
            identity: What must be the same for it to go on.
            facts: Makes what is to be known of its beginning.
            force: Begin anew whatever is there.

        Returns:
            The facts, as they were when it began.

        Raises:
            InvalidInputError: The folder is of another training.
            DecodeError: What it holds is damaged.
            SaveError: The folder cannot be written.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise SaveError(f"{self.folder} is no folder, and a training keeps there what it goes on from.")
        wanted = json.loads(json.dumps(identity))
        # Where no step has been kept, nothing is lost by another beginning.
        if self.state.exists() and not force:
            kept = self._kept()
            if kept["identity"] != wanted:
                raise InvalidInputError(
                    f"{self.folder} is of another training ({_difference(kept['identity'], wanted)}): ask for that one "
                    "again, remove the folder, or force a new beginning (--force)."
                )
            self._earlier = max((line["seconds"] for line in self.lines()), default=0.0)
            found: dict[str, Any] = kept["facts"]
            return found
        self.remove()
        made = facts()
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise SaveError(f"Cannot make {self.folder}: {error}.") from error
        kept = {"identity": wanted, "facts": made, "replaces": force}
        write_atomically(self._description, json.dumps(kept).encode())
        return made

    @property
    def replaces(self) -> bool:
        """Whether there is a training to go on with that was begun by force, and may replace what is there."""
        return self.state.exists() and bool(self._kept().get("replaces"))

    def _kept(self) -> dict[str, Any]:
        try:
            kept: dict[str, Any] = json.loads(self._description.read_text(encoding="utf-8"))
            return {**kept, "identity": dict(kept["identity"]), "facts": dict(kept["facts"])}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DecodeError(
                f"{self._description} is damaged ({type(error).__name__}): remove {self.folder}, or force a new "
                "beginning (--force)."
            ) from error

    def start_clock(self) -> None:
        """Count the seconds from here: what is prepared before is no training."""
        self._started = time.monotonic()

    def log(self, step: int, loss: float) -> None:
        """Note where the training is."""
        line = {"step": step, "loss": round(loss, 6), "seconds": round(self.seconds, 1)}
        with self._log.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    @property
    def seconds(self) -> float:
        """Of training so far, before interruptions too."""
        return self._earlier + time.monotonic() - self._started

    def lines(self) -> list[dict[str, Any]]:
        """The log; of a step that was done twice, because of an interruption, the last time."""
        if not self._log.exists():
            return []
        lines = []
        for line in self._log.read_text(encoding="utf-8", errors="replace").splitlines():
            # An interruption may have cut one off.
            with suppress(ValueError):
                lines.append(json.loads(line))
        return [line for _, line in sorted({line["step"]: line for line in lines}.items())]

    def remove(self) -> None:
        """Remove what was kept, and the folder where nothing else is in it.

        Raises:
            SaveError: Something cannot be removed.
        """
        if not self.folder.is_dir():
            return
        try:
            for file in (self.state, self._description, self._log):
                file.unlink(missing_ok=True)
            if not any(self.folder.iterdir()):
                self.folder.rmdir()
        except OSError as error:
            raise SaveError(f"Cannot remove {self.folder}: {error}.") from error


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write several files: all beside their places first, so that what can fail has failed before one is replaced.

    Raises:
        SaveError: One cannot be written.
    """
    staged: dict[Path, Path] = {}
    try:
        for path, data in files.items():
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
            staged[temporary] = path
            if path.is_dir():
                raise IsADirectoryError(f"{path} is a folder")
            temporary.write_bytes(data)
        for temporary, path in staged.items():
            os.replace(temporary, path)
    except OSError as error:
        for temporary in staged:
            temporary.unlink(missing_ok=True)
        raise SaveError(f"Cannot write {', '.join(map(str, files))}: {error}.") from error


def _difference(kept: Mapping[str, Any], wanted: Mapping[str, Any], within: str = "") -> str:
    """The first thing that differs: ``"recipe steps: 5 there, 10 here"``."""
    key = next((key for key in {**wanted, **kept} if kept.get(key) != wanted.get(key)), None)
    there, here = (None, None) if key is None else (kept.get(key), wanted.get(key))
    if isinstance(there, dict) and isinstance(here, dict):
        return _difference(there, here, f"{within}{key} ")
    return f"{within}{key}: {_shown(there)} there, {_shown(here)} here"


def _shown(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) < 80 else f"{text[:77]}..."
