"""What `import accelir` costs and offers."""

import json
import subprocess
import sys

import pytest

import accelir

HEAVY = ("torch", "sklearn", "numba", "scipy", "numpy", "PIL", "pydantic", "accelir_plugins")


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_import_is_quick_and_loads_nothing_heavy() -> None:
    code = f"""
import json, sys, time
start = time.perf_counter()
import accelir
print(json.dumps([time.perf_counter() - start, [name for name in {HEAVY} if name in sys.modules]]))
"""
    seconds, loaded = min(json.loads(run(code)) for _ in range(3))
    assert loaded == []
    assert seconds < 0.3


def test_finding_plugins_loads_no_network_and_no_codec() -> None:
    code = """
import sys, accelir
assert len(accelir.codecs()) >= 1 and len(accelir.tasks()) >= 4, accelir.plugins()
print([name for name in ("torch", "sklearn", "numba", "scipy", "accelir_plugins.jpeg") if name in sys.modules])
"""
    assert run(code).strip() == "[]"


def test_every_public_name_is_there_and_the_list_is_sorted() -> None:
    names = accelir.__all__
    assert sorted(set(names)) == sorted(names)
    assert names == sorted(names)
    assert dir(accelir) == names
    missing = [name for name in names if not hasattr(accelir, name)]
    assert missing == []
    assert set(accelir._MODULE_OF) | {"__version__"} == set(names)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        accelir.no_such_name  # noqa: B018


@pytest.mark.parametrize("first", ["accelir.codec", "accelir.network", "accelir.tasks", "accelir.pipeline"])
def test_functions_stay_functions_whatever_module_is_imported_first(first: str) -> None:
    code = f"""
import {first}, accelir
from accelir.codec import Codec
from accelir.network import IRNetwork
from accelir.tasks import Task
assert callable(accelir.network)
print(isinstance(accelir.codec("jpeg"), Codec), len(accelir.tasks()) > 3, Task is accelir.Task)
"""
    assert run(code).strip() == "True True True"


def test_all_errors_have_one_base() -> None:
    errors = [value for value in (getattr(accelir, name) for name in accelir.__all__) if isinstance(value, type)]
    found = [error for error in errors if issubclass(error, Exception) and not issubclass(error, Warning)]
    assert len(found) >= 13
    assert all(issubclass(error, accelir.AccelIRError) for error in found)


def test_the_core_knows_no_plugin_by_name() -> None:
    from pathlib import Path

    sources = Path(accelir.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if "accelir_plugins" in path.read_text(encoding="utf-8")] == []


def test_the_version_is_that_of_the_installed_package() -> None:
    from importlib.metadata import version

    assert version("accelir") == accelir.__version__
