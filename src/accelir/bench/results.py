"""ResultFile: a JSON file of measurements that grows image by image and resumes."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import subprocess
from pathlib import Path
from typing import Any

from accelir.errors import InvalidInputError
from accelir.files import write_atomically

__all__ = ["ResultFile", "provenance"]

VERSIONED = ("accelir", "numpy", "pillow", "torch")


class ResultFile:
    """Records that are kept on disk after every addition.

    Args:
        path: The JSON file; its records are taken over where it exists and was measured with equal settings.
        settings: What the measurement depends on, JSON types only.
        command: That makes the file.

    Raises:
        InvalidInputError: The file holds something else, or was measured with other settings.
    """

    def __init__(self, path: str | Path, settings: dict[str, Any], command: str) -> None:
        self.path = Path(path)
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self.command = command
        self.records: list[dict[str, Any]] = []
        self.summary: Any = None
        # Taken once, at the start: the working tree may move on while a long measurement runs the code it loaded.
        self.provenance = provenance(command) | {"earlier_commits": []}
        if self.path.exists():
            self.take_over(self.path)

    def take_over(self, path: Path) -> None:
        """Add the records of another file of the same measurement that are not here yet.

        Raises:
            InvalidInputError: The file holds something else, or was measured with other settings.
        """
        try:
            stored = json.loads(path.read_text())
            found, records = stored["settings"], stored["records"]
            earlier = [*self.provenance["earlier_commits"], *stored.get("earlier_commits", []), stored.get("commit")]
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInputError(f"{path} is not a file of results; name another output.") from error
        if found != self.settings:
            raise InvalidInputError(f"{path} was measured with other settings; remove it or name another output.")
        fresh = [record for record in records if record not in self.records]
        if fresh:
            self.records += fresh
            commits = dict.fromkeys(commit for commit in earlier if commit != self.provenance["commit"])
            self.provenance["earlier_commits"] = list(commits)

    def has(self, **key: Any) -> bool:
        """Whether a record with these values exists."""
        return any(all(record.get(name) == value for name, value in key.items()) for record in self.records)

    def add(self, record: dict[str, Any]) -> None:
        """Keep a record, on disk too."""
        self.records.append(record)
        self.write()

    def write(self) -> Path:
        """Write the file, whole or not at all."""
        content = self.provenance | {
            "settings": self.settings,
            "summary": self.summary,
            "records": self.records,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        return write_atomically(self.path, (json.dumps(content, indent=1) + "\n").encode())


def provenance(command: str) -> dict[str, Any]:
    """Command, date, commit and versions of a measurement."""
    versions = {"python": platform.python_version()}
    for package in VERSIONED:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--", ":/src")),
        "versions": versions,
    }


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
