"""What the command line shows: progress, errors as one line, tables."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer

from accelir.errors import AccelIRError

if TYPE_CHECKING:
    from rich.console import Console

    from accelir.bench.demo import Comparison

__all__ = [
    "comparison_table",
    "complain",
    "natural",
    "plain_errors",
    "print_plugins",
    "progress",
    "scores_table",
    "summaries",
    "wide_console",
]


def natural(name: str) -> list[tuple[int, str]]:
    """Sorts f8 before f16."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def summaries(specs: Any) -> list[dict[str, Any]]:
    """A row for each spec in a table of the registry; how to install is said where something is missing."""
    fields = ("family", "width", "task", "extensions", "summary", "missing")
    return [
        {"name": name}
        | {field: getattr(spec, field) for field in fields if getattr(spec, field, None)}
        | ({"install_hint": spec.install_hint} if spec.missing and spec.install_hint else {})
        for name, spec in sorted(specs.items(), key=lambda item: natural(item[0]))
    ]


def wide_console() -> Console:
    """Where tables are printed: what goes to a file or a log is not cut off at the width of a terminal."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=160)


def print_plugins(found: list[dict[str, Any]], brought: dict[str, list[dict[str, Any]]]) -> None:
    """The plugins and what they bring, a table of each kind.

    Args:
        found: A row for each plugin.
        brought: Rows by kind: codecs, networks, ...
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    console = wide_console()
    for title, rows in {"plugins": found, **brought}.items():
        title = title.replace("_", " ")
        table = Table(title=title.capitalize(), title_justify="left", box=box.SIMPLE_HEAD)
        columns = list(dict.fromkeys(key for row in rows for key, value in row.items() if value not in (None, "", ())))
        for column in columns:
            names = column in ("name", "network", "codec", "family", "task", "distribution", "version", "state")
            table.add_column(column.replace("_", " "), no_wrap=names, overflow="fold")
        for row in rows:
            table.add_row(*(escape(_words(row.get(column))) for column in columns))
        console.print(table if rows else f"No {title}.")


def _words(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.3f}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def comparison_table(comparison: Comparison) -> Any:
    """The arms of the demo's comparison on each photograph: a rich table."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=f"{comparison.task}, JPEG at quality {comparison.quality}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column("network")
    table.add_column("file")
    for heading in ("bytes", "PSNR dB", "GFLOPs", "ms"):
        table.add_column(heading, justify="right")
    for photograph in comparison.photographs:
        for arm in photograph.arms:
            ours = (arm.role, arm.file) == ("light", "accelir")
            table.add_row(
                arm.network,
                f"{photograph.name}, {arm.file}",
                f"{arm.size:,}",
                f"{arm.psnr:.2f}",
                f"{arm.flops / 1e9:,.2f}",
                f"{1000 * arm.seconds:,.0f}",
                style="bold" if ours else None,
            )
        table.add_section()
    return table


def scores_table(rows: dict[str, dict[str, float]]) -> Any:
    """PSNR of held-out pictures, a column for each way that the inputs were stored: a rich table."""
    from rich import box
    from rich.table import Table

    table = Table(title="Held-out pictures, PSNR (RGB) in dB", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("")
    for label in next(iter(rows.values())):
        table.add_column(label, justify="right")
    for name, scores in rows.items():
        table.add_row(name, *(f"{value:.2f}" for value in scores.values()))
    return table


@contextmanager
def progress() -> Iterator[Any]:
    """A bar on standard error, lines where that is no terminal: ``tell(done, total, what)``."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def tell(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what)

        yield tell


class _Lines:
    """Progress for a file or a pipe: a line at each tenth of what is being done."""

    def __init__(self) -> None:
        self._last = ("", -1)

    def __call__(self, done: int, total: int, what: str) -> None:
        now = (what, 10 * done // max(total, 1))
        if now != self._last:
            self._last = now
            typer.echo(f"{what}: {done} of {total}", err=True)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Errors of the library and of the file system as one line, warnings too."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *rest, **more: complain(f"warning: {message}")
        try:
            yield
        except (AccelIRError, OSError) as error:
            complain(str(error))
            raise typer.Exit(1) from error


def complain(message: str) -> None:
    """One line on standard error."""
    typer.echo(f"accelir: {' '.join(message.split())}", err=True)
