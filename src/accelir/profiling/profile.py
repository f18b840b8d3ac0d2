"""Profile: what profiling learned for a codec and a network, as one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError
from safetensors.torch import load, save

from accelir.codec import Codec
from accelir.errors import InvalidInputError, ProfileFormatError, ProfileMismatchError
from accelir.files import read_bytes, write_atomically
from accelir.image import ImageArray, block_grid
from accelir.network import IRNetwork
from accelir.profiling.context import SPECTRUM, Context
from accelir.profiling.estimate import Curves, Estimate
from accelir.profiling.predictor import CELL, Predictor, PredictorNet
from accelir.tensors import channels_last
from accelir.threads import ranges

__all__ = ["Basis", "Profile", "ProfileHeader"]

FORMAT = "accelir-profile"
VERSION = 2
"""Raised when an older library could not read the file."""

BLOCKS_AT_ONCE = 4096
"""Whose sensitivities are made together."""


class ProfileHeader(BaseModel):
    """What a profile says of itself, stored as JSON in the file's metadata.

    Attributes:
        format: Always the same.
        version: Of the file's format.
        codec: Its name.
        codec_version: What levels and coefficients mean.
        codec_options: That restore best.
        gray_options: The same of gray pictures; None where they are those of colour.
        block: Side of a block in pixels.
        network: Its name.
        family: Of the network.
        width: Of the network.
        fingerprint: Of its weights.
        provenance: What the profile was made from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str = FORMAT
    version: int = VERSION
    codec: str
    codec_version: int
    codec_options: dict[str, Any] = Field(default_factory=dict)
    gray_options: dict[str, Any] | None = None
    block: int
    network: str
    family: str
    width: int
    fingerprint: str
    provenance: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Basis:
    """A low-dimensional description of log-sensitivities.

    Attributes:
        mean: float32 (K,): of the logarithm.
        directions: float32 (R, K): orthonormal rows.
    """

    mean: npt.NDArray[np.float32]
    directions: npt.NDArray[np.float32]

    def describe(self, sensitivity: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """(rows, cols, K) to coefficients (rows, cols, R)."""
        return ((np.log(sensitivity + 1e-12) - self.mean) @ self.directions.T).astype(np.float32)

    def restore(self, coefficients: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Coefficients (rows, cols, R) to a sensitivity (rows, cols, K)."""
        rank, count = self.directions.shape
        result = np.empty((*coefficients.shape[:-1], count), np.float32)
        wanted, given = torch.from_numpy(result).view(-1, count), torch.from_numpy(coefficients).reshape(-1, rank)
        mean, directions = torch.from_numpy(self.mean), torch.from_numpy(self.directions)
        # In place, and a part at a time that stays in the processor's cache; not by NumPy, whose threads are others.
        for part in ranges(len(wanted), BLOCKS_AT_ONCE):
            torch.addmm(mean, given[part], directions, out=wanted[part]).exp_()
        return result


@dataclass(frozen=True, eq=False)
class Profile:
    """What profiling learned for a (codec, network) pair.

    Attributes:
        header: What it belongs to.
        curves: Of the groups.
        predictor: Tells group and sensitivity from pixels.
        basis: Of the sensitivities; None for a codec without coefficients or a network without gradients.
        group_sensitivity: float32 (G, K): geometric mean of each group, to look at (prediction is block by block), or
            None.
    """

    header: ProfileHeader
    curves: Curves
    predictor: Predictor
    basis: Basis | None = None
    group_sensitivity: npt.NDArray[np.float32] | None = field(default=None, repr=False)

    def options(self, image: ImageArray) -> dict[str, Any]:
        """The codec's options that restore best: `ProfileHeader.codec_options`, or those of gray.

        Args:
            image: uint8 (H, W, 3) or (H, W), which alone counts as gray.
        """
        header = self.header
        of_colour = image.ndim == 3 or header.gray_options is None
        return dict(header.codec_options if of_colour else header.gray_options or {})

    def predict(self, image: ImageArray, codec: Codec) -> Estimate:
        """Tell an unseen image's groups and sensitivity, no network run.

        Args:
            image: uint8 (H, W, 3) or (H, W): what will be encoded.
            codec: What will encode it.

        Returns:
            An Estimate on the codec's block grid for this image.
        """
        coefficients, groups = self.predictor.predict(image)
        sensitivity = None if self.basis is None else self.basis.restore(coefficients)
        same_blocks = codec.block(image) == self.header.block and image.ndim == 3
        if sensitivity is not None and not (same_blocks and _counts_alike(codec, sensitivity)):
            sensitivity = codec.convert(sensitivity, image)
        if same_blocks:
            return Estimate(groups, self.curves, sensitivity)
        share = (codec.block(image) / self.header.block) ** 2
        counts = np.bincount(groups.ravel(), minlength=len(self.curves.size))[:, None]
        mean = Curves(
            (self.curves.size * counts).sum(0, keepdims=True) / counts.sum() * share,
            (self.curves.error * counts).sum(0, keepdims=True) / counts.sum() * share,
        )
        return Estimate(np.zeros(block_grid(image, codec.block(image)), np.int32), mean, sensitivity)

    def check(self, codec: Codec, network: IRNetwork | None = None) -> None:
        """Make sure that the profile is for this codec and network.

        Raises:
            ProfileMismatchError: It is not; the message says in what.
        """
        found = (self.header.codec, self.header.codec_version)
        if found != (codec.name, codec.version):
            raise ProfileMismatchError(
                f"This profile is for codec {found[0]!r} version {found[1]}, "
                f"not {codec.name!r} version {codec.version}."
            )
        block = codec.tuned(self.header.codec_options).block(np.zeros((1, 1, 3), np.uint8))
        if block != self.header.block and type(codec).convert is Codec.convert:
            raise ProfileMismatchError(
                f"This profile is for blocks of {self.header.block} pixels; codec {codec.name!r} has blocks of {block}."
            )
        if self.curves.size.shape[1] != len(codec.levels):
            raise ProfileMismatchError(
                f"This profile has {self.curves.size.shape[1]} levels, codec {codec.name!r} {len(codec.levels)}."
            )
        if network is not None and self.header.fingerprint != network.fingerprint():
            raise ProfileMismatchError(
                f"This profile is for network {self.header.network!r} ({self.header.fingerprint}); "
                f"{network.name!r} has other weights, or another revision ({network.fingerprint()})."
            )

    def save(self, path: str | Path) -> Path:
        """Write one safetensors file, whole or not at all."""
        tensors = {
            f"predictor.{key}": value.half().contiguous() for key, value in self.predictor.net.state_dict().items()
        }
        tensors |= {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in self._arrays()}
        return write_atomically(path, save(tensors, {"accelir": self.header.model_dump_json()}))

    @classmethod
    def load(cls, source: str | Path | bytes) -> Profile:
        """Read a profile.

        Raises:
            DecodeError: The file cannot be read.
            ProfileFormatError: It is not a profile, or was written by a newer version of the library.
        """
        data = read_bytes(source)
        what = "Not an accelir profile" if isinstance(source, bytes) else f"{source} is not an accelir profile"
        try:
            tensors = load(data)
            length = int.from_bytes(data[:8], "little")
            metadata = json.loads(data[8 : 8 + length])["__metadata__"]["accelir"]
            raw = json.loads(metadata)
            if raw.get("format") != FORMAT:
                of_weights = ", but the weights of a network" if "network" in raw and "provenance" in raw else ""
                raise ProfileFormatError(f"{what}{of_weights}.")
            if raw.get("version", 0) > VERSION:
                raise ProfileFormatError(
                    f"{'This profile' if isinstance(source, bytes) else source} has format version {raw['version']}; "
                    f"this library reads up to {VERSION}. Update it."
                )
            header = ProfileHeader.model_validate(raw)
            curves = Curves(tensors["curves.size"].numpy(), tensors["curves.error"].numpy())
            basis = None
            if "basis.mean" in tensors:
                basis = Basis(tensors["basis.mean"].numpy(), tensors["basis.directions"].numpy())
            weights = {
                key.removeprefix("predictor."): value.float()
                for key, value in tensors.items()
                if key.startswith("predictor.")
            }
            stem = "patches" if weights["features.0.weight"].shape[-1] == CELL else "pixels"
            net = PredictorNet(header.block, len(weights["sensitivity.bias"]), len(curves.size), stem=stem)
            channels_last(net.float()).load_state_dict(weights)
            group_sensitivity = tensors.get("group_sensitivity")
            context = None
            if "context.mean" in tensors:
                context = Context(tensors["context.mean"].numpy(), tensors["context.weights"].numpy())
                if context.weights.shape != (net.coefficients, len(context.mean)) or len(context.mean) != SPECTRUM:
                    raise ProfileFormatError(f"{what}, or it is damaged: its context is {context.weights.shape}.")
        except ProfileFormatError:
            raise
        except InvalidInputError as error:
            raise ProfileFormatError(f"{what}, or it is damaged: {error}") from error
        except (
            SafetensorError,
            LookupError,
            TypeError,
            ValueError,
            AttributeError,
            RuntimeError,
        ) as error:
            raise ProfileFormatError(f"{what}: {error}.") from error
        of_groups = None if group_sensitivity is None else group_sensitivity.numpy()
        return cls(header, curves, Predictor(net.eval(), context), basis, of_groups)

    def _arrays(self) -> Iterator[tuple[str, npt.NDArray[Any]]]:
        yield "curves.size", self.curves.size
        yield "curves.error", self.curves.error
        if self.predictor.context is not None:
            yield "context.mean", self.predictor.context.mean
            yield "context.weights", self.predictor.context.weights
        if self.basis is not None:
            yield "basis.mean", self.basis.mean
            yield "basis.directions", self.basis.directions
        if self.group_sensitivity is not None:
            yield "group_sensitivity", self.group_sensitivity


def _counts_alike(codec: Codec, sensitivity: npt.NDArray[np.float32]) -> bool:
    """Whether the codec's blocks of colour have as many coefficients as a sensitivity's."""
    projected = codec.project(np.zeros((1, 1, 3), np.float32))
    return projected is not None and projected.shape[2] == sensitivity.shape[2]
