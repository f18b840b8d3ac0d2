"""The registry: plugins are found, a broken one breaks nothing, names are looked up."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import accelir
from accelir import CodecSpec, NetworkSpec, TaskSpec, discovery, hookimpl

GOOD = """
from accelir import TaskSpec, hookimpl

@hookimpl
def accelir_tasks():
    return [TaskSpec(name="{name}", factory="accelir.tasks:Deblur", summary="A task")]
"""

BROKEN = {
    "raises": ("raise RuntimeError('no luck today')", "RuntimeError: no luck today"),
    "exits": ("raise SystemExit('goodbye')", "SystemExit: goodbye"),
    "missing": ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
    "hook": (
        "from accelir import hookimpl\n@hookimpl\ndef accelir_tasks(): return 1 / 0",
        "ZeroDivisionError: division by zero",
    ),
    "misspelt": (
        "from accelir import hookimpl\n@hookimpl\ndef accelir_codexes(): return []",
        "unknown hook 'accelir_codexes'",
    ),
    "argument": ("from accelir import hookimpl\n@hookimpl\ndef accelir_codecs(config): return []", "config"),
    "unmarked": ("def accelir_codecs(): return []", "mark functions"),
    "malformed": (
        GOOD.format(name="Not A Name"),
        "String should match pattern",
    ),
    "dictionary": (
        "from accelir import hookimpl\n@hookimpl\ndef accelir_tasks(): return [{'name': 'mine'}]",
        "a list of TaskSpec; it holds {'name': 'mine'}",
    ),
    "nothing": ("from accelir import hookimpl\n@hookimpl\ndef accelir_tasks(): return None", ""),
    "reentrant": ("import accelir\naccelir.codecs()", "asks the registry while it is being loaded"),
}

REPORT = """
import json, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import accelir
    records = [[r.name, r.distribution, r.version, r.state, r.error] for r in accelir.plugins()]
    first = [str(w.message) for w in caught if w.category is accelir.PluginWarning]
    accelir.plugins(), accelir.codecs()
    again = [str(w.message) for w in caught if w.category is accelir.PluginWarning]
print(json.dumps({
    "records": records, "tasks": list(accelir.tasks()), "warnings": first, "repeated": len(again) - len(first),
    "codec": accelir.codec("jpeg").name, "summaries": {k: v.summary for k, v in accelir.tasks().items()},
}))
"""


def install(folder: Path, name: str, source: str) -> None:
    """Put a package with one plugin module where a subprocess will find it."""
    module = f"plugin_{name}"
    (folder / f"{module}.py").write_text(source)
    info = folder / f"accelir_{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: accelir-{name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[accelir]\n{name} = {module}\n")


def start(folder: Path, code: str, *, strict: bool = False) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "ACCELIR_STRICT_PLUGINS": "1" if strict else "0"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)


def report(folder: Path) -> dict[str, Any]:
    result = start(folder, REPORT)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("kind", [kind for kind in BROKEN if kind != "nothing"])
def test_a_broken_plugin_is_named_and_breaks_nothing(tmp_path: Path, kind: str) -> None:
    source, message = BROKEN[kind]
    install(tmp_path, kind, source)
    install(tmp_path, "well", GOOD.format(name="well"))
    found = report(tmp_path)
    records = {record[0]: record[1:] for record in found["records"]}
    assert records["well"] == ["accelir-well", "1.2", "loaded", None]
    assert records["accelir-builtin"][2] == "loaded"
    distribution, version, state, error = records[kind]
    assert (distribution, version, state) == (f"accelir-{kind}", "1.2", "failed")
    assert message in error
    assert {"well", "sr-x4"} <= set(found["tasks"])
    assert found["codec"] == "jpeg"
    (warning,) = found["warnings"]
    assert f"'{kind}' (accelir-{kind} 1.2) failed and is left out" in warning
    assert found["repeated"] == 0


@pytest.mark.parametrize("kind", ["raises", "misspelt", "malformed"])
def test_strict_mode_raises_what_broke(tmp_path: Path, kind: str) -> None:
    install(tmp_path, kind, BROKEN[kind][0])
    result = start(tmp_path, "import accelir; print('imported'); accelir.codecs()", strict=True)
    assert result.returncode == 1
    assert result.stdout.strip() == "imported"
    assert f"PluginError: Plugin '{kind}' (accelir-{kind} 1.2) failed: " in result.stderr
    assert BROKEN[kind][1] in result.stderr


def test_the_first_to_take_a_name_keeps_it(tmp_path: Path) -> None:
    install(tmp_path, "a", GOOD.format(name="mine").replace("A task", "first"))
    second = GOOD.format(name="mine").replace("A task", "second")
    second += "\n@hookimpl\ndef accelir_codecs():\n    return []\n"
    install(
        tmp_path,
        "b",
        second.replace(
            "return [TaskSpec(",
            "return [TaskSpec(name='other', factory='accelir.tasks:Deblur', summary='x'), TaskSpec(",
        ),
    )
    install(tmp_path, "c", GOOD.format(name="sr-x4").replace("A task", "a usurper"))
    found = report(tmp_path)
    records = {record[0]: record[3:] for record in found["records"]}
    assert records["a"] == ["loaded", None]
    assert records["b"][0] == records["c"][0] == "partial"
    assert "task 'mine', a name that plugin 'a' (accelir-a 1.2) has taken" in records["b"][1]
    assert found["summaries"]["mine"] == "first"
    assert found["summaries"]["other"] == "x"
    assert found["summaries"]["sr-x4"] == "Super-resolution by 4"
    assert len(found["warnings"]) == 2
    strict = start(tmp_path, "import accelir; accelir.tasks()", strict=True)
    assert strict.returncode == 1
    assert "DuplicateNameError: Plugin 'b' (accelir-b 1.2) registers task 'mine'" in strict.stderr


def test_a_slow_plugin_is_named(tmp_path: Path) -> None:
    install(tmp_path, "slow", "import time\ntime.sleep(1.1)\n" + GOOD.format(name="slow"))
    found = report(tmp_path)
    (warning,) = found["warnings"]
    assert warning.startswith("Plugin 'slow' (accelir-slow 1.2) took 1.")
    assert "slow" in found["tasks"]


def test_a_hook_that_returns_nothing_brings_nothing(tmp_path: Path) -> None:
    install(tmp_path, "nothing", BROKEN["nothing"][0])
    found = report(tmp_path)
    assert ["nothing", "accelir-nothing", "1.2", "loaded", None] in found["records"]


def tasks_plugin(*specs: Any) -> SimpleNamespace:
    @hookimpl
    def accelir_tasks() -> list[Any]:
        return list(specs)

    return SimpleNamespace(accelir_tasks=accelir_tasks)


def codecs_plugin(*specs: Any) -> SimpleNamespace:
    @hookimpl
    def accelir_codecs() -> list[Any]:
        return list(specs)

    return SimpleNamespace(accelir_codecs=accelir_codecs)


def task_spec(name: str, **changes: Any) -> TaskSpec:
    return TaskSpec(**{"name": name, "factory": "accelir.tasks:Deblur", "summary": "A task", **changes})


@pytest.fixture
def plugin() -> Iterator[Any]:
    """Registers plugins for one test."""
    names: list[str] = []

    def register(plugin: object, name: str = "of-the-test") -> None:
        accelir.register(plugin, name)
        names.append(name)

    yield register
    for name in names:
        accelir.unregister(name)


def test_a_plugin_of_this_process_comes_and_goes() -> None:
    accelir.register(tasks_plugin(task_spec("mine", options={"noise": 3.0})), "mine")
    try:
        made = accelir.task("mine")
        assert isinstance(made, accelir.Deblur)
        assert made.noise == 3
        assert [record.name for record in accelir.plugins()][-1] == "mine"
        accelir.refresh()
        assert "mine" in accelir.tasks()
    finally:
        accelir.unregister("mine")
    assert "mine" not in accelir.tasks()
    with pytest.raises(accelir.UnknownNameError, match="'mine'"):
        accelir.unregister("mine")


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        (tasks_plugin(task_spec("mine"), task_spec("sr-x4")), accelir.DuplicateNameError),
        (tasks_plugin(task_spec("mine"), task_spec("mine")), accelir.DuplicateNameError),
        (tasks_plugin(task_spec("mine"), "a string"), accelir.PluginError),
        (SimpleNamespace(), accelir.PluginError),
    ],
)
def test_a_failed_registration_changes_nothing(broken: object, error: type[Exception]) -> None:
    before = accelir.tasks(), accelir.plugins()
    with pytest.raises(error):
        accelir.register(broken, "broken")
    assert (accelir.tasks(), accelir.plugins()) == before


def test_a_plugin_name_is_taken_once(plugin: Any) -> None:
    plugin(tasks_plugin(task_spec("mine")), "twice")
    with pytest.raises(accelir.DuplicateNameError, match="'twice'"):
        accelir.register(tasks_plugin(task_spec("another")), "twice")
    assert "another" not in accelir.tasks()


def test_mappings_are_read_only_and_specs_frozen() -> None:
    with pytest.raises(TypeError):
        accelir.codecs()["mine"] = accelir.codecs()["jpeg"]  # type: ignore[index]
    with pytest.raises(ValueError, match="frozen"):
        accelir.codecs()["jpeg"].name = "mine"
    with pytest.raises(TypeError):
        accelir.networks()["edsr-x4-f8"].options["width"] = 9  # type: ignore[index]
    assert accelir.networks()["edsr-x4-f8"].model_dump(mode="json")["options"]["width"] == 8
    with pytest.raises(ValueError, match="Extra inputs"):
        task_spec("mine", sumary="a typo")


def test_an_unknown_name_lists_the_installed_and_the_near_ones() -> None:
    with pytest.raises(accelir.UnknownNameError) as caught:
        accelir.codec("jpg")
    message = str(caught.value)
    assert message.startswith("No codec named 'jpg'. Installed: ")
    assert message.endswith("Did you mean 'jpeg'?")
    with pytest.raises(LookupError, match="No task named 'zzzzzz'") as caught_lookup:
        accelir.task("zzzzzz")
    assert "Did you mean" not in str(caught_lookup.value)


def test_instances_pass_through() -> None:
    for make, instance in (
        (accelir.codec, accelir.codec("jpeg")),
        (accelir.task, accelir.task("deblur")),
        (accelir.allocator, accelir.allocator("lagrangian")),
        (accelir.profiler, accelir.profiler("standard", crops=3)),
    ):
        assert make(instance) is instance


def test_what_is_neither_name_nor_instance_is_refused() -> None:
    with pytest.raises(accelir.InvalidInputError, match=r"an instance of accelir\.Codec; got int"):
        accelir.codec(3)  # type: ignore[arg-type]
    with pytest.raises(accelir.InvalidInputError, match=r"wrap a torch\.nn\.Module in accelir\.TorchNetwork"):
        accelir.network(object())  # type: ignore[arg-type]
    with pytest.raises(accelir.InvalidInputError, match="rdo"):
        accelir.codec(accelir.codec("jpeg"), rdo=0.1)


def test_a_network_is_made_on_a_device() -> None:
    import torch
    from torch import nn

    module = accelir.TorchNetwork(nn.Conv2d(3, 3, 1), accelir.task("deblur"), name="mine")
    moved = accelir.network(module, device="meta")
    assert moved is module
    assert moved.device == torch.device("meta")


def test_options_reach_the_factory() -> None:
    assert accelir.codec("jpeg", subsampling="444").options.subsampling == "444"  # type: ignore[attr-defined]
    with pytest.raises(accelir.InvalidInputError, match="subsamplin"):
        accelir.codec("jpeg", subsamplin="444")


def test_a_missing_package_is_named_with_the_way_to_install_it(plugin: Any, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "needy_plugin_module.py").write_text("import no_such_package_here")
    (tmp_path / "broken_package").mkdir()
    (tmp_path / "broken_package" / "__init__.py").write_text("raise OSError('libGL.so.1')")
    monkeypatch.syspath_prepend(tmp_path)
    plugin(
        codecs_plugin(
            CodecSpec(
                name="needy",
                factory="needy_plugin_module:Codec",
                summary="A codec",
                requires=("json.decoder", "no_such_package_here.part", "json.no_such_part", "broken_package.part"),
                install_hint="pip install no-such-package",
                extensions=(".needy",),
                signatures=(b"NEEDY",),
            )
        )
    )
    assert accelir.codecs()["needy"].missing == (
        "no_such_package_here.part",
        "json.no_such_part",
        "broken_package.part",
    )
    with pytest.raises(accelir.MissingDependencyError) as caught:
        accelir.codec("needy")
    assert "Codec 'needy'" in str(caught.value)
    assert "no_such_package_here" in str(caught.value)
    assert str(caught.value).endswith("Install it: pip install no-such-package")
    assert accelir.codec_for(b"NEEDY...") is None


@pytest.mark.parametrize("factory", ["no_such_module_here:Thing", "accelir.tasks:NoSuchTask", "accelir.nowhere.x:Y"])
def test_a_factory_that_does_not_exist_is_the_plugins_fault(plugin: Any, factory: str) -> None:
    plugin(tasks_plugin(task_spec("lost", factory=factory)))
    with pytest.raises(accelir.PluginError, match=factory):
        accelir.task("lost")


def test_the_codec_of_a_file_is_found_by_its_signature(plugin: Any) -> None:
    plugin(
        codecs_plugin(
            CodecSpec(
                name="other",
                factory=accelir.codecs()["jpeg"].factory,
                summary="A codec with a wildcard",
                extensions=(".other",),
                signatures=(b"RIFF????OTHR",),
            )
        )
    )
    found = accelir.codec_for(b"RIFF\x00\x01\x02\x03OTHR and more")
    assert found is not None
    assert found.name == "jpeg"
    assert accelir.codec_for(b"RIFF\x00\x01\x02\x03WAVE") is None
    assert accelir.codec_for(b"RIFF") is None
    assert accelir.codec_for(b"") is None
    assert accelir.codec_for(b"\xff\xd8\xff\xe0") is not None


def test_a_broken_codec_leaves_its_files_to_pillow(plugin: Any) -> None:
    png = b"\x89PNG\r\n\x1a\n"
    plugin(
        codecs_plugin(
            CodecSpec(
                name="png",
                factory="accelir.no_such_module:Codec",
                summary="A codec that is not there",
                extensions=(".png",),
                signatures=(png,),
            )
        )
    )
    assert accelir.codec_for(png) is None
    with pytest.raises(accelir.PluginError):
        accelir.codec("png")


@pytest.mark.parametrize(("factory", "said"), [("builtins:print", "NoneType"), ("json:loads", "cannot be made")])
def test_a_factory_that_makes_something_else_is_the_plugins_fault(plugin: Any, factory: str, said: str) -> None:
    plugin(tasks_plugin(task_spec("odd", factory=factory)))
    with pytest.raises(accelir.PluginError, match=said):
        accelir.task("odd")


def test_many_threads_find_the_plugins_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = discovery.Registry()
    calls: list[int] = []

    def counted(**_: Any) -> list[Any]:
        calls.append(1)
        return []

    monkeypatch.setattr(discovery, "entry_points", counted)
    contents: list[Any] = []
    threads = [threading.Thread(target=lambda: contents.append(fresh.content())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert all(content is contents[0] for content in contents)


def test_every_builtin_is_consistent_with_what_it_says() -> None:
    for name, codec_spec in accelir.codecs().items():
        codec = accelir.codec(name)
        assert (codec.name, codec.extensions, codec.signatures) == (name, codec_spec.extensions, codec_spec.signatures)
    for name in accelir.tasks():
        assert accelir.task(name).name == name
    for name, spec in accelir.networks().items():
        assert isinstance(spec, NetworkSpec)
        network = accelir.network(name)
        assert (network.name, network.family, network.width, network.task.name) == (
            name,
            spec.family,
            spec.width,
            spec.task,
        )
        assert spec.task in accelir.tasks()


def test_every_hook_has_its_docstring_and_its_lookup() -> None:
    from accelir import hookspecs

    hooks = [name for name in vars(hookspecs) if name.startswith("accelir_")]
    assert sorted(hooks) == sorted(kind.hook for kind in discovery.KINDS.values())
    for hook in hooks:
        assert getattr(hookspecs, hook).__doc__.startswith("Return the ")
        assert callable(getattr(accelir, hook.removeprefix("accelir_")))
