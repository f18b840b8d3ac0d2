"""Suites of checks: collecting them, running them all, and telling expected failures from others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Generic, ParamSpec
from unittest import SkipTest

__all__ = ["ConformanceError", "Suite", "raises", "require"]

P = ParamSpec("P")


class ConformanceError(AssertionError):
    """A contract is not kept; the message says by which checks and how."""


class Suite(Generic[P]):
    """The checks of one contract, in the order in which they are written."""

    def __init__(self) -> None:
        self._checks: dict[str, Callable[P, None]] = {}

    def check(self, function: Callable[P, None]) -> Callable[P, None]:
        """Add a check; its name is the function's."""
        self._checks[function.__name__] = function
        return function

    def __iter__(self) -> Iterator[tuple[str, Callable[P, None]]]:
        return iter(self._checks.items())

    def run(
        self, subject: str, expected: Mapping[str, str] | None, *args: P.args, **kwargs: P.kwargs
    ) -> dict[str, str]:
        """Run every check.

        Args:
            subject: What is checked, for messages.
            expected: Names of checks that fail, each with the reason.
            *args: Of the checks.
            **kwargs: Of the checks.

        Returns:
            For each check ``"passed"``, ``"skipped: ..."`` or ``"failed as expected: ..."``.

        Raises:
            ConformanceError: A check failed that was not expected to, or passed although expected to fail.
        """
        excused = dict(expected or {})
        results, problems = {}, []
        unknown = sorted(excused.keys() - self._checks.keys())
        if unknown:
            problems.append(
                f"expected_failed_checks names no check: {', '.join(unknown)}; there are {', '.join(self._checks)}"
            )
        for name, check in self:
            try:
                check(*args, **kwargs)
            except SkipTest as reason:
                results[name] = f"skipped: {reason}"
            except Exception as error:
                if name in excused:
                    results[name] = f"failed as expected: {excused[name]}"
                else:
                    kind = "" if isinstance(error, ConformanceError) else f"{type(error).__name__}: "
                    problems.append(f"{name}: {kind}{error}")
            else:
                results[name] = "passed"
                if name in excused:
                    problems.append(f"{name}: passed, although expected to fail ({excused[name]})")
        if problems:
            raise ConformanceError("\n  ".join([f"{subject} does not keep its contract:", *problems]))
        return results


def require(condition: object, message: str) -> None:
    """Fail the running check unless a condition holds."""
    if not condition:
        raise ConformanceError(message)


def raises(kind: type[Exception], what: str, call: Callable[[], object]) -> None:
    """Fail the running check unless a call raises an error of a kind."""
    try:
        call()
    except kind:
        return
    except Exception as error:
        raise ConformanceError(f"{what} raises {kind.__name__}; it raised {type(error).__name__}: {error}") from error
    raise ConformanceError(f"{what} raises {kind.__name__}; it raised nothing")
