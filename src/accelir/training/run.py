"""A whole training: a folder of photographs in; weights, a log, scores and provenance out."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from torch import nn

import accelir
from accelir.codec import Codec
from accelir.errors import AccelIRError, InvalidInputError, NotDifferentiableError
from accelir.files import PICTURE_ENDINGS, pictures_in
from accelir.image import size_of
from accelir.network import IRNetwork, as_module
from accelir.tasks import Deblur, Denoise, Task
from accelir.threads import processors
from accelir.training.checkpoint import Checkpoint, write_together
from accelir.training.compression import RandomFiles
from accelir.training.material import least_side, material_for
from accelir.training.recipe import Recipe, train
from accelir.training.scores import HeldOut, Scores
from accelir.training.subject import Subject
from accelir.training.team import Team
from accelir.weights import WeightsRecord, load_weights, pack_weights

__all__ = ["Training", "recipe_for", "train_network"]

Progress = Callable[[int, int, str], None]

LEAST_GAIN = 0.15
"""dB by which a module that deblurs is better than its inputs; one that stays near the identity gains up to 0.1."""

HELD_OUT = 12
"""At most so many pictures are held out where none are named: one in ten, and at least one."""


@dataclass(frozen=True)
class Training:
    """What a training brought.

    Attributes:
        network: The trained one, on the CPU.
        weights: The file that holds it.
        log: JSON lines: step, mean loss since the line before, seconds of training.
        record: JSON: scores and provenance.
        untouched: Scores of the held-out inputs themselves, enlarged by bicubic interpolation where they are small.
        before: Scores of the network as it was.
        after: Scores of the trained one, by the weights in the file.
    """

    network: IRNetwork
    weights: Path
    log: Path
    record: Path
    untouched: Scores
    before: Scores
    after: Scores


def recipe_for(task: Task, **changes: Any) -> Recipe:
    """The recipe that a task's networks are trained by, with what is asked for otherwise.

    Args:
        task: Decides the batch, the side of the crops and the loss.
        **changes: Fields of `Recipe`; None leaves one as it is.

    Raises:
        InvalidInputError: A value out of range.
    """
    if isinstance(task, Denoise):
        usual = Recipe(patch=48, loss="mse")
    else:
        usual = Recipe(batch=4, patch=96) if isinstance(task, Deblur) else Recipe()
    try:
        return replace(usual, **{name: value for name, value in changes.items() if value is not None})
    except TypeError as error:
        raise InvalidInputError(f"A recipe has {', '.join(asdict(usual))}; got {', '.join(changes)}.") from error


def train_network(
    folder: str | Path,
    *,
    network: str | Path | IRNetwork | nn.Module,
    output: str | Path,
    task: str | Task | None = None,
    arguments: Mapping[str, Any] | None = None,
    start: str | Path | None = None,
    recipe: Recipe | Mapping[str, Any] | None = None,
    codecs: str | Codec | Sequence[str | Codec] = ("jpeg",),
    qualities: tuple[int, int] | None = None,
    clean: float = 0.25,
    pairs: int = 4000,
    held_out: str | Path | None = None,
    licence: str = "not said",
    half: bool = False,
    force: bool = False,
    device: str | torch.device = "cpu",
    workers: int | None = None,
    progress: Progress | None = None,
) -> Training:
    """Train a network, or fine-tune one, on clean and compressed inputs made from photographs.

    Writes the weights to ``output``, the log and the record beside them (``.log.jsonl``, ``.json``): all three or none.
    An interrupted training goes on where it was, from the folder ``output.checkpoint``, when it is asked for again.
    Crops are made in processes of their own, so a script that calls this needs ``if __name__ == "__main__":``, or
    ``workers=1``.

    Args:
        folder: Clean photographs, searched through.
        network: As `accelir.network` takes it, or a module or network of one's own, which is changed in place. An
            installed network, or one in a file, starts from its weights; what a factory makes, from what it makes.
        output: The weights to write, ``.safetensors``. Its name without the ending becomes the network's.
        task: What the network is to undo, where it does not say so itself or is to learn another of the same scale.
        arguments: Keyword arguments of a factory.
        start: Weights to start from instead, as training writes them.
        recipe: How to train, or what is to differ from the recipe that `recipe_for` gives the task; the loss of a
            module with a ``pyramid`` is then multiscale.
        codecs: Whose files the inputs go through, and those of the scores; none for clean inputs only.
        qualities: The lowest and the highest of the usual encoders; None for those of the task.
        clean: Share of the inputs that go through no file; against kernels of one's own, of those after what helps a
            network to begin.
        pairs: Crops that are prepared beforehand, of twice the recipe's patch, and what a blur reaches into around it.
        held_out: A folder of photographs to score with; None takes one in ten of ``folder``, and trains on the others.
        licence: Of the weights, for the record.
        half: Store the weights in float16.
        force: Replace an output that exists, and begin anew whatever a checkpoint says. An interrupted training that
            was begun so goes on without it.
        device: Any torch device.
        workers: Processes that make crops; None for one a processor.
        progress: Told (done, total, what).

    Raises:
        InvalidInputError: No pictures, or some that are too small; a task, network or loss that does not fit; a device
            that is not there; an output that exists; a checkpoint of another training; a loss that is not finite.
        UnknownNameError: No network, codec or task of that name.
        NotDifferentiableError: A network without gradients, or not of one torch module.
        DecodeError: A picture, weights or a checkpoint that cannot be read.
        SaveError: The output cannot be written.
    """
    target = Path(output)
    checkpoint = Checkpoint(target.with_name(f"{target.name}.checkpoint"))
    outputs = _outputs(target, force=force or checkpoint.replaces)
    seed = recipe.seed if isinstance(recipe, Recipe) else Recipe(seed=(recipe or {}).get("seed") or 0).seed
    trained_on, scored_on = _pictures(Path(folder), held_out, seed)
    torch.manual_seed(seed)
    subject = Subject.of(network, task, arguments)
    net = subject.network
    if not net.differentiable or len(net.modules) != 1:
        raise NotDifferentiableError(
            f"Network {net.name!r} is not one torch module with gradients: it cannot be trained."
        )
    (module,) = net.modules
    if start is not None:
        load_weights(module, start)
    if not isinstance(recipe, Recipe):
        asked = {name: value for name, value in (recipe or {}).items() if value is not None}
        recipe = recipe_for(net.task, **({"loss": "multiscale"} if hasattr(module, "pyramid") else {}) | asked)
    if recipe.loss == "multiscale" and not hasattr(module, "pyramid"):
        raise InvalidInputError(f"The loss multiscale is for modules with a pyramid; {net.name!r} has none.")
    side = 2 * recipe.patch
    least = least_side(net.task, recipe)
    _check_sides(trained_on, least, f"crops of {side} pixels for task {net.task.name!r} need")
    _check_sides(scored_on, 16 * net.task.scale, f"scores for task {net.task.name!r} need")
    if pairs < 1 or (workers is not None and workers < 1):
        raise InvalidInputError(f"There is at least 1 pair and 1 worker; got {pairs} and {workers}.")
    compress = RandomFiles.of(codecs, net.task, qualities=qualities, clean=clean)

    team = Team.of_this_process(str(device))
    place = team.device(str(device))
    net.to(place)
    tell = progress if progress is not None and team.first else _silent
    identity = {
        "network": {**subject.source, "name": net.name, "weights": _shapes(module)},
        "starts_from": net.fingerprint(),
        "start": None if start is None else _digest([Path(start)]),
        "task": net.task.name,
        "data": {"digest": _digest(trained_on), "pictures": len(trained_on), "pairs": pairs, "side": side},
        "held_out": {"digest": _digest(scored_on), "pictures": len(scored_on)},
        "codecs": [{"name": one.name, "version": one.version, **one.options.model_dump()} for one in compress.codecs],
        "qualities": list(compress.qualities),
        "clean": clean,
        "recipe": asdict(recipe),
        "processes": team.size,
    }
    test = HeldOut(scored_on, net.task, compress.codecs, recipe.seed)

    def beginning() -> dict[str, Any]:
        tell(0, 1, "scoring")
        return {"untouched": test.score_untouched(), "before": test.score(net)}

    facts = checkpoint.begin(identity, beginning, force=force) if team.first else beginning()
    team.wait()
    source, auxiliary = material_for(
        as_module(net),
        net.task,
        recipe,
        trained_on,
        count=-(-pairs // team.size),
        compress=compress,
        deblurs=subject.experienced or start is not None or _gains(facts),
        # Each process prepares crops of its own.
        seed=recipe.seed + 1000 * team.rank,
        workers=processors() if workers is None else workers,
        progress=lambda done, total: tell(done, total, "preparing crops"),
    )

    def report(step: int, steps: int, loss: float) -> None:
        checkpoint.log(step, loss)
        tell(step, steps, "training")

    checkpoint.start_clock()
    try:
        average = train(
            as_module(net),
            source,
            recipe,
            device=place,
            checkpoint=checkpoint.state,
            checkpoint_every=min(200, max(recipe.steps // 10, 1)),
            keep_checkpoint=True,
            report=report,
            report_every=min(100, max(recipe.steps // 20, 1)),
            auxiliary=auxiliary,
            name=net.name,
        )
    except AccelIRError:
        # Of what failed before a step was kept there is nothing to go on with.
        if team.first and not checkpoint.state.exists():
            checkpoint.remove()
        raise
    seconds = round(checkpoint.seconds)

    tell(0, 1, "scoring")
    trained: Any = average if as_module(net) is module else average.parts[0]  # type: ignore[index]
    tensors = {key: _as_stored(value, half) for key, value in trained.state_dict().items()}
    net.to("cpu")
    module.load_state_dict(tensors)
    net.name = target.stem
    net.family = net.family if subject.installed else net.name
    after = test.score(net)
    provenance = {
        "name": net.name,
        **identity,
        "network": subject.source,
        "licence": licence,
        "seconds": seconds,
        "device": torch.cuda.get_device_name(place) if place.startswith("cuda") else place,
        "versions": {
            "accelir": accelir.__version__,
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
            "pillow": PIL.__version__,
        },
        "psnr_rgb": {"untouched": facts["untouched"], "before": facts["before"], "after": after},
    }
    net.provenance = provenance
    if team.first:
        record = WeightsRecord(**subject.source, task=net.task.name, provenance=provenance)
        log = "".join(json.dumps(line) + "\n" for line in checkpoint.lines())
        contents = pack_weights(tensors, record, half=half), log.encode(), json.dumps(provenance, indent=1).encode()
        write_together(dict(zip(outputs, contents, strict=True)))
        checkpoint.remove()
    team.wait()
    return Training(net, *outputs, facts["untouched"], facts["before"], after)


def _gains(facts: Mapping[str, Any]) -> bool:
    return float(facts["before"]["clean"]) > float(facts["untouched"]["clean"]) + LEAST_GAIN


def _shapes(module: nn.Module) -> dict[str, list[int]]:
    return {key: list(value.shape) for key, value in module.state_dict().items() if isinstance(value, torch.Tensor)}


def _silent(done: int, total: int, what: str) -> None:
    pass


def _as_stored(tensor: torch.Tensor, half: bool) -> torch.Tensor:
    return tensor.half().float() if half and tensor.dtype is torch.float32 else tensor


def _outputs(target: Path, *, force: bool) -> tuple[Path, Path, Path]:
    """The files to write: weights, log, record."""
    if target.suffix.lower() != ".safetensors":
        raise InvalidInputError(f"Weights are written as .safetensors; {target} ends otherwise.")
    if not target.parent.is_dir():
        raise InvalidInputError(f"There is no folder {target.parent}.")
    outputs = target, target.with_suffix(".log.jsonl"), target.with_suffix(".json")
    taken = [path for path in outputs if path.exists()]
    if taken and (not force or any(path.is_dir() for path in taken)):
        raise InvalidInputError(
            f"{taken[0]} exists; name another output, or force its replacement (force=True, --force)."
        )
    return outputs


def _pictures(folder: Path, held_out: str | Path | None, seed: int) -> tuple[list[Path], list[Path]]:
    """The photographs to train on and those to score with."""
    for one in (folder, *([] if held_out is None else [Path(held_out)])):
        if not one.is_dir():
            raise InvalidInputError(f"{one} is not a folder.")
        if not pictures_in(one):
            raise InvalidInputError(f"{one} holds no picture ({', '.join(sorted(PICTURE_ENDINGS))}).")
    found = pictures_in(folder)
    if held_out is not None:
        scored_on = pictures_in(held_out)
        real = {path.resolve() for path in scored_on}
        found = [path for path in found if path.resolve() not in real]
        if not found:
            raise InvalidInputError(f"All pictures of {folder} are held out: none is left to train on.")
        return found, scored_on
    if len(found) < 2:
        raise InvalidInputError(f"{folder} holds one picture: at least two are needed, one of them to score with.")
    count = min(max(len(found) // 10, 1), HELD_OUT)
    chosen = set(np.random.default_rng(seed).permutation(len(found))[:count].tolist())
    return (
        [path for number, path in enumerate(found) if number not in chosen],
        [path for number, path in enumerate(found) if number in chosen],
    )


def _check_sides(pictures: Sequence[Path], least: int, why: str) -> None:
    small = []
    for path in pictures:
        size = size_of(path)
        if min(size) < least:
            small.append(f"{path.name} ({size[0]}x{size[1]})")
    if small:
        shown = ", ".join(small[:3]) + (", ..." if len(small) > 3 else "")
        raise InvalidInputError(
            f"{len(small)} of {len(pictures)} pictures are too small: {why} {least} pixels a side; {shown}."
        )


def _digest(files: Sequence[Path]) -> str:
    """Of the content of files, in their order, whatever they are called."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
