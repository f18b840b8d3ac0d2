"""Profiler: from a codec, a network and photographs to a Profile."""

from __future__ import annotations

import functools
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from accelir.codec import Codec, Sensitivity
from accelir.errors import InvalidInputError
from accelir.image import ImageArray, ImageLike, block_grid, in_colour, one_of_many
from accelir.network import IRNetwork
from accelir.profiling.curves import BlockSamples, block_errors, fit_curves, harmonise, measure_blocks
from accelir.profiling.estimate import Curves
from accelir.profiling.grouping import described_by_basis, grouped, sensitivity_of_groups
from accelir.profiling.predictor import Predictor, train_predictor
from accelir.profiling.profile import Profile, ProfileHeader
from accelir.profiling.sensitivity import pull_backs, sensitivity_from_gradients
from accelir.profiling.tuning import Example, best_start, best_tuning, middling_sizes
from accelir.tasks import Task

__all__ = ["Profiler", "StandardProfiler"]

Progress = Callable[[int, int, str], None]

# Least side of crops, in pixels and in blocks.
_SIDE = 192
_BLOCKS = 6
# The same in pixels where the whole picture matters: of a small crop networks make something else, or it shows less.
_SIDE_OF_WHOLE = 384


class Profiler(ABC):
    """Makes profiles."""

    @abstractmethod
    def fit(
        self,
        codec: Codec,
        network: IRNetwork,
        images: Sequence[ImageLike],
        *,
        progress: Progress | None = None,
        checkpoint: Path | None = None,
    ) -> Profile:
        """Learn what a network needs from a codec.

        Args:
            codec: To write files with.
            network: To restore with.
            images: Clean references, at least one.
            progress: Called as ``progress(done, total, what)``.
            checkpoint: Folder that keeps what was measured, so that an interrupted run resumes. It may be removed
                once the profile is saved.
        """


@dataclass(frozen=True)
class _Sample:
    reference: ImageArray
    image: ImageArray
    gradients: npt.NDArray[np.float32] | None


class StandardProfiler(Profiler):
    """Sensitivities by random probes, curves by real files, groups by k-means, prediction by a light CNN.

    Where what a network undoes is shared by all blocks of a picture, the whole picture tells what it can first, and the
    CNN the rest (`accelir.profiling.context`): then many crops of few probes each tell more than few of many.

    Args:
        groups: Number of block groups.
        coefficients: Numbers that describe a block's sensitivity.
        crops: Crops to measure, spread over the images; None for 96, or 256 where `Task.shared`.
        side: Side of the crops in input pixels, rounded up to whole blocks; None for 192, for 384 where the network's
            receptive field has no end or `Task.shared` says that the whole picture matters, or six blocks where that
            is more: on a few blocks neither the predictor nor the search learns what a map of them does.
        probes: Backward passes per crop; None for 4, or 1 where `Task.shared`: there pictures count, not blocks.
        curve_crops: How many of the crops get their curves measured.
        tuning_crops: How many of the crops the codec's options are compared on; 0 keeps its first tuning, for gray as
            for colour.
        options_of: A profile of the same codec, or its file, whose options are taken instead of compared: networks of
            one family want much the same.
        predictor_steps: Optimiser steps of the predictor.
        task: What makes the inputs, of the same scale, where they differ from those of the network's own task: with
            blur kernels of one's own, say.
        trust: How far the groups' measured slopes may differ where sensitivity already allocates (see `harmonise`).
            On Kodak24 with dncnn-s25-f16, trust 1 restored 0.1 dB worse than 0, so 0 is the default.
        seed: Of every random choice.
    """

    def __init__(
        self,
        *,
        groups: int = 8,
        coefficients: int = 12,
        crops: int | None = None,
        side: int | None = None,
        probes: int | None = None,
        curve_crops: int = 24,
        tuning_crops: int = 12,
        options_of: Profile | str | Path | None = None,
        predictor_steps: int = 1500,
        task: Task | None = None,
        trust: float = 0.0,
        seed: int = 0,
    ) -> None:
        settings = {
            "groups": groups,
            "coefficients": coefficients,
            "crops": crops,
            "side": side,
            "probes": probes,
            "curve_crops": curve_crops,
        }
        for name, value in settings.items():
            if value is not None and value < 1:
                raise InvalidInputError(f"A profiler's {name} is 1 or more; got {value}.")
        if min(tuning_crops, predictor_steps) < 0:
            raise InvalidInputError(
                f"A profiler's tuning_crops and predictor_steps are 0 or more; got {tuning_crops}, {predictor_steps}."
            )
        self.groups = groups
        self.coefficients = coefficients
        self.crops = crops
        self.side = side
        self.probes = probes
        self.curve_crops = curve_crops
        self.tuning_crops = tuning_crops
        self.options_of = Profile.load(options_of) if isinstance(options_of, str | Path) else options_of
        self.predictor_steps = predictor_steps
        self.task = task
        self.trust = trust
        self.seed = seed

    def fit(
        self,
        codec: Codec,
        network: IRNetwork,
        images: Sequence[ImageLike],
        *,
        progress: Progress | None = None,
        checkpoint: Path | None = None,
    ) -> Profile:
        tell = progress or (lambda done, total, what: None)
        taken = None if self.options_of is None else self.options_of.header
        if taken is not None and (taken.codec, taken.codec_version) != (codec.name, codec.version):
            raise InvalidInputError(
                f"Options come from a profile of the same codec, {codec.name} {codec.version}; "
                f"got one of {taken.codec} {taken.codec_version}."
            )
        if self.task is not None and self.task.scale != network.task.scale:
            raise InvalidInputError(
                f"Inputs for {network.name} are of scale {network.task.scale}; those of {self.task.name} are of "
                f"{self.task.scale}."
            )
        untuned, samples = codec, self._measure(codec, network, images, tell, checkpoint)
        examples = [
            Example(sample.reference, sample.image, functools.partial(self._sensitivity, sample=sample))
            for sample in samples[: self.tuning_crops]
        ]
        start = best_start(codec, network, examples, tell, codec.tunings) if taken is None else taken.codec_options
        codec = codec.tuned(start)
        block = codec.block(samples[0].image)
        sensitivities = [self._sensitivity(codec, sample) for sample in samples]
        basis, described = described_by_basis(sensitivities, block_grid(samples[0].image, block), self.coefficients)
        measured = self._curves(codec, network, samples[: self.curve_crops], sensitivities, tell)
        if basis is None:
            # Nothing but its curve tells a block's group.
            samples, described = samples[: self.curve_crops], described[: self.curve_crops]
        groups = grouped(described, measured, self.groups, self.seed)
        shape = described[0].shape[:2]
        predictor = train_predictor(
            [sample.image for sample in samples],
            described,
            [part.reshape(shape) for part in np.split(groups, len(samples))],
            self.groups,
            block,
            steps=self.predictor_steps,
            seed=self.seed,
            whole=self._makes_inputs(network).shared and basis is not None,
            sources=[number % len(images) for number in range(len(samples))],
            report=lambda done, total: tell(done, total, "training the predictor"),
        )
        header = ProfileHeader(
            codec=codec.name,
            codec_version=codec.version,
            codec_options=_chosen(codec),
            block=block,
            network=network.name,
            family=network.family,
            width=network.width,
            fingerprint=network.fingerprint(),
            provenance={
                "crops": len(samples),
                "side": len(samples[0].image),
                "probes": self._crops_and_probes(network)[1],
                "seed": self.seed,
            }
            | ({} if self.task is None else {"task": self.task.name}),
        )
        curves = self._curves_as_predicted(predictor, samples, measured, harmonised=basis is not None)
        profile = Profile(
            header, curves, predictor, basis, sensitivity_of_groups(basis, described, groups, self.groups)
        )
        if taken is None:
            return replace(profile, header=self._tuned(header, untuned, network, examples, profile, tell))
        gray = None if taken.gray_options is None else _chosen(untuned.tuned(taken.gray_options))
        provenance = {**header.provenance, "options_of": taken.network}
        return replace(profile, header=header.model_copy(update={"gray_options": gray, "provenance": provenance}))

    def _tuned(
        self,
        header: ProfileHeader,
        codec: Codec,
        network: IRNetwork,
        examples: Sequence[Example],
        profile: Profile,
        tell: Progress,
    ) -> ProfileHeader:
        """The header with the options that restore best with what the profile foretells, of colour and of gray.

        A network of colour may do much less for gray: noise, say, that is the same in all three channels looks like
        texture to it, and the best that a file can do is to leave it out. Its restored PSNR may then fall with the
        size, so that gray options are compared at the middling sizes of the same pictures in colour.
        """
        if not codec.fine_control:
            return header
        colours, grays = [], []
        for number, example in enumerate(examples):
            tell(number, len(examples), "looking for middling sizes")
            sizes = middling_sizes(codec.tuned(header.codec_options), network, example)
            foretold = functools.partial(_foretold, profile, example.image)
            colours.append(Example(example.reference, example.image, foretold, sizes))
            reference = np.asarray(Image.fromarray(example.reference).convert("L"))
            image = self._makes_inputs(network).degrade(reference, np.random.default_rng([self.seed, number]))
            grays.append(Example(reference, image, functools.partial(_foretold, profile, image), sizes))
        tuned = codec.tuned(best_tuning(codec, network, colours, tell, [header.codec_options]))
        options = _chosen(tuned)

        def tell_gray(done: int, total: int, what: str) -> None:
            tell(done, total, f"{what} for gray")

        of_gray = codec.tuned(best_tuning(codec, network, grays, tell_gray, [options, *codec.tunings]))
        gray = None if of_gray.options == tuned.options else _chosen(of_gray)
        return header.model_copy(update={"codec_options": options, "gray_options": gray})

    def _curves_as_predicted(
        self, predictor: Predictor, samples: Sequence[_Sample], measured: BlockSamples, *, harmonised: bool
    ) -> Curves:
        """The curves of the groups as the predictor tells them, since that is how they will be used."""
        told = [predictor.predict(sample.image)[1].ravel() for sample in samples[: self.curve_crops]]
        groups = np.concatenate(told)
        curves = fit_curves(measured, groups, self.groups)
        if not harmonised:
            return curves
        return harmonise(curves, np.bincount(groups, minlength=self.groups).astype(np.float64), self.trust)

    def _measure(
        self, codec: Codec, network: IRNetwork, images: Sequence[ImageLike], tell: Progress, checkpoint: Path | None
    ) -> list[_Sample]:
        if len(images) < 1:
            raise InvalidInputError("Profiling needs at least one image.")
        if checkpoint is not None:
            checkpoint.mkdir(parents=True, exist_ok=True)
        order = np.random.default_rng(self.seed).permutation(len(images))
        differentiated = network.differentiable and codec.project(np.zeros((1, 1, 3), np.float32)) is not None
        samples = []
        crops, probes = self._crops_and_probes(network)
        for number in range(crops):
            tell(number, crops, "measuring sensitivities")
            rng = np.random.default_rng([self.seed, number])
            reference = self._crop(one_of_many(images[order[number % len(images)]]), codec, network, rng)
            image = np.ascontiguousarray(self._makes_inputs(network).degrade(reference, rng))
            if not differentiated:
                samples.append(_Sample(reference, image, None))
                continue
            file = None
            if checkpoint is not None:
                identity = hashlib.sha256(image.tobytes() + f"{network.fingerprint()} {probes} {number}".encode())
                file = checkpoint / f"crop-{number:04}-{identity.hexdigest()[:16]}.npy"
            if file is not None and file.exists():
                samples.append(_Sample(reference, image, np.load(file)))
                continue
            gradients = pull_backs(network, image, probes=probes, seed=number)
            samples.append(_Sample(reference, image, gradients))
            if file is not None:
                temporary = file.with_suffix(".tmp.npy")
                np.save(temporary, gradients)
                temporary.replace(file)
        return samples

    def _crops_and_probes(self, network: IRNetwork) -> tuple[int, int]:
        crops, probes = (256, 1) if self._makes_inputs(network).shared else (96, 4)
        return self.crops or crops, self.probes or probes

    def _makes_inputs(self, network: IRNetwork) -> Task:
        return network.task if self.task is None else self.task

    def _crop(self, reference: ImageArray, codec: Codec, network: IRNetwork, rng: np.random.Generator) -> ImageArray:
        reference = in_colour(reference)
        block = codec.block(np.zeros((1, 1, 3), np.uint8))
        whole = network.receptive_field is None or self._makes_inputs(network).shared
        least = _SIDE_OF_WHOLE if whole else _SIDE
        wanted = max(least, _BLOCKS * block) if self.side is None else self.side
        side = -(-wanted // block) * block * network.task.scale
        height, width = reference.shape[:2]
        if height < side or width < side:
            reference = np.pad(
                reference, ((0, max(side - height, 0)), (0, max(side - width, 0)), (0, 0)), mode="symmetric"
            )
            height, width = reference.shape[:2]
        candidates = []
        for _ in range(2):
            top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
            candidates.append(reference[top : top + side, left : left + side])
        return np.ascontiguousarray(max(candidates, key=lambda crop: float(crop[::4, ::4].std())))

    def _sensitivity(self, codec: Codec, sample: _Sample) -> Sensitivity | None:
        return None if sample.gradients is None else sensitivity_from_gradients(codec, sample.gradients)

    def _curves(
        self,
        codec: Codec,
        network: IRNetwork,
        samples: Sequence[_Sample],
        sensitivities: Sequence[Sensitivity | None],
        tell: Progress,
    ) -> BlockSamples:
        parts = []
        for number, sample in enumerate(samples):
            tell(number, len(samples), "measuring curves")
            side = codec.block(sample.image) * network.task.scale
            parts.append(
                measure_blocks(
                    codec,
                    codec.prepare(sample.image, sensitivity=sensitivities[number]),
                    block_grid(sample.image, codec.block(sample.image)),
                    lambda decoded, s=sample, d=side: block_errors(network.restore(decoded), s.reference, d),  # type: ignore[misc]
                    seed=self.seed + number,
                )
            )
        return BlockSamples(
            np.concatenate([part.size for part in parts]),
            np.concatenate([part.error for part in parts]),
            np.concatenate([part.count for part in parts]),
        )


def _chosen(codec: Codec) -> dict[str, Any]:
    """What was set, by tuning or by the caller (4:4:4, say)."""
    return codec.options.model_dump(include=codec.options.model_fields_set)


def _foretold(profile: Profile, image: ImageArray, codec: Codec) -> Sensitivity | None:
    return profile.predict(image, codec).sensitivity
