"""Sessions for development: ``nox`` runs the default ones, ``nox -s package`` one of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.2"
nox.options.error_on_missing_interpreters = False

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)


def group(name: str) -> list[str]:
    """The requirements of a dependency group."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; positional arguments go to pytest."""
    session.install("-c", "constraints.txt", "-e", ".[tests]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style."""
    session.install(*group("lint"))
    session.run("ruff", "check", *session.posargs)


@nox.session
def typing(session: nox.Session) -> None:
    """Check types."""
    session.install("-c", "constraints.txt", "-e", ".", *group("typing"))
    session.run("mypy", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; warnings are errors."""
    session.install("-c", "constraints.txt", "-e", ".", *group("docs"))
    session.run("mkdocs", "build", "--strict", *session.posargs)


@nox.session
def package(session: nox.Session) -> None:
    """Build the wheel, install it into a clean environment and run the tests against it."""
    session.install("build")
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", "dist")
    (wheel,) = Path("dist").glob("accelir-*.whl")
    session.install("-c", "constraints.txt", f"{wheel}[tests]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(default=False)
def strangers(session: nox.Session) -> None:
    """Open our files with foreign decoders; a Chromium comes from PATH or from ``playwright install chromium``."""
    session.install("-c", "constraints.txt", "-e", ".[tests]", *group("strangers"))
    session.run("python", "-m", "pytest", "tests/test_strangers.py", *session.posargs)


@nox.session(default=False)
def spandrel(session: nox.Session) -> None:
    """Run checkpoints that spandrel knows; it brings a torchvision that fits the registry's torch."""
    session.install("-c", "constraints.txt", "-e", ".[tests,spandrel]")
    session.run("python", "-m", "pytest", "tests/test_spandrel.py", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure the main job: ``nox -s bench -- DATA_FOLDER`` (what it holds stands in benchmarks/main_job.py)."""
    session.install("-c", "constraints.txt", "-e", ".")
    session.run("python", "benchmarks/main_job.py", *session.posargs)
    session.run("python", "benchmarks/flops_saved.py", *session.posargs)
