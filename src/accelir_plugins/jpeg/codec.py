"""`JpegCodec`: one JPEG whose blocks differ in lambda, weighted by what the restoring network needs."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Self, get_args

import numpy as np
import numpy.typing as npt

from accelir.codec import Codec, CodecOptions, Encoded, LevelMap, Prepared, Sensitivity
from accelir.errors import CodecError
from accelir.image import ImageArray, decode_by_pillow, require_image
from accelir.metadata import Metadata
from accelir.threads import ranges
from accelir_plugins.jpeg import adjoint, container, entropy, progressive, quantise, transform
from accelir_plugins.jpeg import tables as quantisation_tables
from accelir_plugins.jpeg.compensation import compensated
from accelir_plugins.jpeg.options import JpegOptions
from accelir_plugins.jpeg.quantise import Costs
from accelir_plugins.jpeg.sample import ENOUGH, Sample, take_sample
from accelir_plugins.planar.codec import unwritten

__all__ = ["JpegCodec", "JpegOptions", "JpegPrepared"]

# libjpeg opens no larger side, although the format could hold 65535.
_LARGEST_SIDE = 65500
_COARSEST_STEP = 96.0
_LEVELS_PER_OCTAVE = 4
_FARTHEST_TRIM = 128.0
# How much coarser than the finest step of the map the file's table may be: a block can be made coarser than its table
# at little loss, but not finer.
_TABLE_OVER_FINEST = 2**0.5
# At high rates the error is step^2 / 12 per coefficient, so a bit more saves 2 ln 2 * step^2 / 12.
_SLOPE = np.log(2) / 6
_ROW_MAJOR = np.argsort(transform.ZIGZAG)
# The step at which `rdo_falloff` leaves `rdo` as it is.
_FALLOFF_STEP = 16.0
# The trellis needs a lambda above zero.
_LEAST_LAGRANGIAN = 1e-9
# Trust by which a way to store chroma is chosen: from a quarter to three quarters it matters little, 0 and 1 are
# a little worse (benchmarks/results/chroma_choice.json).
_JUDGED_BY = np.float32(0.75)
# Bytes of entropy-coded segments with a zero after each that is 0xFF, over those without.
_STUFFED = 1.0025
# Logarithm of the sizes of two files that one sample serves.
_ALIKE = 0.3
# Of which an error is weighed at once.
_UNITS_AT_ONCE = 4096


class JpegCodec(Codec):
    """Baseline or progressive JPEG with optimal quantisation and Huffman codes.

    Level i aims at a step of 96 * 2^(-i / 4) for a coefficient of mean sensitivity, in every image. The table belongs
    to the file; a block that is to be coarser than it has a larger lambda.
    """

    name: ClassVar[str] = "jpeg"
    version: ClassVar[int] = 1
    media_type: ClassVar[str] = "image/jpeg"
    extensions: ClassVar[tuple[str, ...]] = (".jpg", ".jpeg")
    signatures: ClassVar[tuple[bytes, ...]] = (b"\xff\xd8\xff",)
    levels: ClassVar[tuple[str, ...]] = tuple(
        f"step {_COARSEST_STEP * 2 ** (-level / _LEVELS_PER_OCTAVE):.3g}" for level in range(29)
    )
    fill: ClassVar[float] = 0.98
    fine_control: ClassVar[bool] = True
    continuous_levels: ClassVar[bool] = True
    tunings: ClassVar[Sequence[dict[str, Any]]] = (
        {"rdo": 0.05, "shape": 1.0},
        # Networks that enlarge: every frequency counts, and sharpness is soon lost.
        {"rdo": 0.05, "shape": 0.0},
        {"rdo": 0.05, "shape": 0.0, "trust": 0.5, "emphasis": 0.1, "chroma_emphasis": 0.3, "zeroing": 0.9},
        # That smooth: differences between blocks count most.
        {"rdo": 0.14, "shape": 0.7, "emphasis": 0.2, "zeroing": 0.85},
        {
            "rdo": 0.2,
            "rdo_falloff": 0.5,
            "shape": 1.2,
            "trust": 0.5,
            "emphasis": 0.5,
            "zeroing": 0.9,
            "compensation": 1,
        },
        # That sharpen.
        {"rdo": 0.05, "shape": 0.5, "emphasis": 0.15, "zeroing": 0.85},
        {"rdo": 0.1, "shape": 0.5, "trust": 0.5, "compensation": 0.35},
        # That leave noise as it is.
        {"rdo": 0.8, "shape": 1.5, "trust": 0.0},
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "rdo": (0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 0.8, 1.2),
        "trust": (0.0, 0.25, 0.5, 0.75, 1.0),
        "shape": (0.0, 0.35, 0.7, 1.2, 1.6),
        "emphasis": (0.0, 0.1, 0.2, 0.35, 0.5, 0.7),
        "zeroing": (0.7, 0.85, 1.0),
        "chroma_emphasis": (-0.3, 0.0, 0.3, 0.5),
        "compensation": (0.35, 0.7, 1.0),
        "rdo_falloff": (0.0, 0.5, 1.0),
        "subsampling": ("auto",),
    }
    Options: ClassVar[type[CodecOptions]] = JpegOptions
    options: JpegOptions

    @property
    def subsampling(self) -> transform.Subsampling:
        """That of the option, where it is not left open: until then blocks and coefficients are those of 4:2:0."""
        return "420" if self.options.subsampling == "auto" else self.options.subsampling

    def variants(self, image: ImageArray) -> Sequence[Self]:
        """4:2:0 and 4:4:4 of a colour picture where the subsampling is "auto"."""
        if self.options.subsampling != "auto" or image.ndim == 2:
            return (self,)
        chosen = self.options.model_dump(include=self.options.model_fields_set)
        return tuple(type(self)(**{**chosen, "subsampling": form}) for form in ("420", "444"))

    def weighted_error(self, image: ImageArray, decoded: ImageArray, sensitivity: Sensitivity | None) -> float:
        """By the coefficients that this codec would have of both pictures, emphasised as it wants them.

        What chroma loses by halving is no small error, and sensitivities are believed in part only.
        """
        options = self.options
        form = transform.layout(image.shape, self.subsampling)
        wanted, found = (transform.coefficients(pixels, form, options.chroma) for pixels in (image, decoded))
        wanted = transform.emphasised(wanted, form, options.emphasis, options.chroma_emphasis)
        norms = adjoint.coefficient_norms(form.components, self.subsampling)[None].astype(np.float32)
        weights = norms
        if sensitivity is not None:
            weights = quantisation_tables.trusted(_checked(sensitivity, form), norms, _JUDGED_BY)
        total = 0.0
        for part in ranges(len(wanted), _UNITS_AT_ONCE):
            error = (found[part] - wanted[part].astype(np.float32)) / 8
            own = weights[part] if len(weights) > 1 else weights
            total += float((own[:, :, transform.ZIGZAG] * error**2).sum(dtype=np.float64))
        return total

    def block(self, image: ImageArray) -> int:
        """16 for colour in 4:2:0 and 4:2:2, else 8."""
        return transform.layout((1, 1, *image.shape[2:]), self.subsampling).block

    def prepare(self, image: ImageArray, *, sensitivity: Sensitivity | None = None) -> JpegPrepared:
        """Colour conversion, DCT and normalised weights.

        Args:
            image: uint8 (H, W, 3) or (H, W).
            sensitivity: float32 (rows, cols, K), finite and not negative; K = 384 in 4:2:0 (four luma blocks, Cb, Cr,
                each 64 row-major), 512 in 4:2:2 (two luma blocks, Cb, Cr of the upper half, then of the lower), 192 in
                4:4:4 (Y, Cb, Cr), 64 in gray. None for plain squared error of RGB.

        Raises:
            CodecError: A side is longer than 65500 pixels, or the sensitivity has another shape or invalid values.
        """
        image = require_image(image)
        _check_size(image)
        form = transform.layout(image.shape, self.subsampling, self.options.restart_interval)
        norms = adjoint.coefficient_norms(form.components, self.subsampling)[None].astype(np.float32)
        trust = np.float32(self.options.trust)
        made = sensitivity is not None and trust != 1
        weights = norms if sensitivity is None else _checked(sensitivity, form)
        if made:
            weights = quantisation_tables.trusted(weights, norms, trust)
        ordered, means = quantisation_tables.normalise(weights, form, in_place=made)
        return JpegPrepared(self, image, form, ordered, means)

    def decode(self, data: bytes) -> ImageArray:
        """See `decode_by_pillow`."""
        return decode_by_pillow(data, "JPEG")

    def project(self, gradient: npt.NDArray[np.float32]) -> Sensitivity:
        """The exact adjoint of the linear part of decoding; see `adjoint.project`."""
        return adjoint.project(np.asarray(gradient, dtype=np.float32), self.subsampling)

    def convert(self, sensitivity: Sensitivity, image: ImageArray) -> Sensitivity | None:
        """Between the geometries of 4:2:0, 4:2:2, 4:4:4 and gray, but not from gray: it tells nothing of the chroma."""
        wanted = transform.layout(image.shape, self.subsampling)
        if sensitivity.shape[2] == wanted.coefficients:
            return sensitivity
        for subsampling in get_args(transform.Subsampling):
            source = transform.layout((*image.shape[:2], 3), subsampling)
            if sensitivity.shape == (source.block_rows, source.columns, source.coefficients):
                return adjoint.convert(sensitivity, source, wanted)
        return None

    def embed(self, data: bytes, metadata: Metadata) -> bytes:
        """EXIF and XMP of up to about 64 kB each, and an ICC profile."""
        return container.embed(data, metadata)

    def usual(self, image: ImageArray, quality: int) -> bytes:
        """Pillow's JPEG with optimised Huffman tables, no metadata.

        Raises:
            CodecError: The picture is larger than JPEG holds, or libjpeg writes.
        """
        from PIL import Image

        _check_size(image)
        stream = io.BytesIO()
        try:
            Image.fromarray(image).save(stream, "JPEG", quality=quality, optimize=True)
        except (ValueError, OSError) as error:
            raise unwritten(self.name, image, error) from error
        return stream.getvalue()


class JpegPrepared(Prepared):
    """An image as coefficients and weights.

    Attributes:
        form: The layout of units and parts.
        coefficients: int16 (units, parts, 64), zigzag, eight times the orthonormal DCT.
        weights: float32 (units or 1, parts, 64), zigzag, 1 on average.
    """

    def __init__(
        self,
        codec: JpegCodec,
        image: ImageArray,
        form: transform.Layout,
        weights: npt.NDArray[np.float32],
        mean_weights: npt.NDArray[np.float64],
    ) -> None:
        self.form = form
        self.weights = weights
        self.coefficients = transform.emphasised(
            transform.coefficients(image, form, codec.options.chroma),
            form,
            codec.options.emphasis,
            codec.options.chroma_emphasis,
        )
        self._codec = codec
        self._image = image
        self._mean_weights = mean_weights
        self._rdo, self._rdo_falloff = codec.options.rdo, codec.options.rdo_falloff
        self._zeroing = codec.options.zeroing
        self._compensation = codec.options.compensation
        self._guided = False
        # That sizes are foreseen from, and the size of the file that it was taken for.
        self._sample: tuple[Sample, float] | None = None
        self.foresees = len(self.coefficients) >= ENOUGH

    @cached_property
    def _typical(self) -> Sample:
        """What statistics are learned from: not the sample of sizes, so that no file depends on what was foreseen."""
        return take_sample(self.coefficients, self.weights, self.form)

    def size(self, levels: int | LevelMap, trim: float = 0.0) -> float:
        """That of a baseline file, from a sample of the units of a large image; see `Prepared.size`."""
        if not self.foresees:
            return super().size(levels, trim)
        plan = self._plan(self._codec.level_map(self._image, levels), trim)
        if self._sample is not None:
            sample, size_then = self._sample
            size = self._foreseen(sample, *plan)
            if abs(np.log(size / size_then)) < _ALIKE:
                return size
        # Those that the loop asks for next will be of about this size.
        sample = take_sample(self.coefficients, self.weights, self.form, plan)
        size = self._foreseen(sample, *plan)
        self._sample = sample, size
        return size

    def _foreseen(self, sample: Sample, tables: npt.NDArray[np.int64], lagrangians: npt.NDArray[np.float64]) -> float:
        form = sample.form
        if lagrangians.any():
            quantised = quantise.optimise(
                sample.coefficients, sample.weights, lagrangians[sample.units], tables, form,
                self._costs(tables, lagrangians), self._zeroing, self._luma_after(sample.coefficients, tables, form),
            )  # fmt: skip
        else:
            quantised = quantise.round_all(sample.coefficients, tables, form)
        counts = entropy.count_symbols(quantised, form)
        dc, ac = (entropy.choose_codes(kind, self.form.components == 3) for kind in counts)
        empty = [b""] * len(self.form.intervals)
        interval = self.form.interval_rows * self.form.columns
        scan = entropy.Scan(tuple(range(form.components)), 0, 63, dc, ac, empty, interval)
        height, width = self._image.shape[:2]
        rest = len(container.assemble(height, width, form, tables, [scan], progressive=False))
        return rest + _STUFFED * entropy.coded_bits(counts, dc, ac) / sample.share / 8

    def write(self, levels: int | LevelMap, trim: float = 0.0) -> Encoded:
        """Quantise and code; see `Prepared.write`. A trim of 1 is one level finer for all blocks, any real number."""
        level_map = self._codec.level_map(self._image, levels)
        quantised, tables = self.quantise(level_map, trim)
        form = self.form
        height, width = self._image.shape[:2]
        files = []
        if self._codec.options.process in ("baseline", "smaller"):
            scan, bits = entropy.sequential_scan(quantised, form)
            files.append((container.assemble(height, width, form, tables, [scan], progressive=False), bits))
        if self._codec.options.process in ("progressive", "smaller"):
            scans, bits = progressive.scans(quantised, form)
            files.append((container.assemble(height, width, form, tables, scans, progressive=True), bits))
        data, bits = min(files, key=lambda file: len(file[0]))
        block_bits = np.add.reduceat(bits.reshape(form.rows, -1), np.arange(0, form.rows, form.stacked), axis=0)
        return Encoded(
            data=data,
            levels=np.clip(np.rint(level_map + _within(trim)), 0, len(self._codec.levels) - 1).astype(np.int32),
            block=form.block,
            width=width,
            height=height,
            overhead_bits=float(8 * len(data) - int(bits.sum())),
            block_bits=block_bits.astype(np.float32),
            block_bits_kind="exact",
            media_type=self._codec.media_type,
            coefficient_error=self._coefficient_error(quantised, tables) if self._guided else None,
        )

    def moved(self, shift: npt.NDArray[np.float32]) -> JpegPrepared:
        """See `Prepared.moved`: ``shift`` is in units of the orthonormal DCT, row-major."""
        expected = (self.form.block_rows, self.form.columns, self.form.coefficients)
        if np.shape(shift) != expected:
            raise CodecError(f"The coefficients of this image have shape {expected}; got {np.shape(shift)}.")
        ordered = adjoint.of_units(shift, self.form).reshape(self.coefficients.shape)[:, :, transform.ZIGZAG]
        if not np.isfinite(ordered).all():
            raise CodecError("A shift of coefficients is finite.")
        wanted = np.clip(
            np.rint(self.coefficients + 8 * ordered), transform.SMALLEST_COEFFICIENT, transform.LARGEST_COEFFICIENT
        )
        other = copy.copy(self)
        other.coefficients = np.ascontiguousarray(wanted, dtype=np.int16)
        other._guided = True
        # What zeroing costs, and what chroma is off by, comes back in the shift.
        other._rdo, other._rdo_falloff, other._zeroing = self._codec.options.guided_rdo, 0.0, 1.0
        other._compensation = 0.0
        # Those of the coefficients before they were moved.
        other._sample = None
        other.__dict__.pop("_typical", None)
        return other

    def _coefficient_error(
        self, quantised: npt.NDArray[np.int16], tables: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        """See `Encoded.coefficient_error`; 0 in blocks that only fill up units."""
        steps = tables[np.minimum(self.form.component_of_part, 1)]
        error = quantised * steps - self.coefficients / 8
        error[~self.form.real] = 0
        form = self.form
        units = np.zeros((form.stacked * form.block_rows, form.columns, form.coefficients // form.stacked), np.float32)
        units[: form.rows] = error[:, :, _ROW_MAJOR].reshape(form.rows, form.columns, -1)
        return adjoint.of_blocks(units, form)

    def quantise(self, level_map: LevelMap, trim: float) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
        """The levels of all coefficients and the tables of the file.

        Args:
            level_map: int32 (rows, cols).
            trim: Finite.

        Returns:
            int16 (units, parts, 64) and int64 (2, 64), both zigzag.
        """
        tables, lagrangians = self._plan(level_map, trim)
        if not lagrangians.any():
            return quantise.round_all(self.coefficients, tables, self.form), tables
        levels = quantise.optimise(
            self.coefficients, self.weights, lagrangians, tables, self.form, self._costs(tables, lagrangians),
            self._zeroing, self._luma_after(self.coefficients, tables, self.form),
        )  # fmt: skip
        return levels, tables

    def _luma_after(
        self, coefficients: npt.NDArray[np.int16], tables: npt.NDArray[np.int64], form: transform.Layout
    ) -> Callable[[npt.NDArray[np.int16]], npt.NDArray[np.int16]] | None:
        """What luma makes up for once chroma has its levels, if for anything."""
        if not self._compensation:
            return None
        return lambda levels: compensated(coefficients, levels, tables, form, self._compensation)

    def _costs(self, tables: npt.NDArray[np.int64], lagrangians: npt.NDArray[np.float64]) -> Costs:
        """What bits are counted with: from the image itself, or from a sample of a large one."""
        zeroing = self._zeroing
        if not self.foresees:
            return quantise.learn_costs(self.coefficients, self.weights, lagrangians, tables, self.form, zeroing)
        sample = self._typical
        own = lagrangians[sample.units]
        return quantise.learn_costs(sample.coefficients, sample.weights, own, tables, sample.form, zeroing)

    def _plan(self, level_map: LevelMap, trim: float) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """The tables of the file, and the lambda of each unit: 0 for all, or for none."""
        if not np.isfinite(trim):
            raise CodecError(f"trim is a finite number of levels; got {trim}.")
        trim = _within(trim)
        options = self._codec.options
        level_map = np.repeat(level_map, self.form.stacked, axis=0)[: self.form.rows]
        log_steps = np.log2(_COARSEST_STEP) - (level_map.ravel() + trim) / _LEVELS_PER_OCTAVE
        steps = np.exp2(log_steps)
        table_step = float(min(np.exp2(log_steps.mean()), steps.min() * _TABLE_OVER_FINEST))
        # The mean of equal logarithms is not always their value to the last bit.
        if level_map.min() == level_map.max():
            table_step = float(steps[0])
        if options.table == "annex-k":
            tables = quantisation_tables.annex_k_tables(table_step)
        else:
            shape = options.shape if options.table == "shaped" else 0.0
            tables = quantisation_tables.shaped_tables(table_step, self._mean_weights, shape)
        # Up to the table's own step lambda is the option's share of step^2. Beyond it the block has to become coarser
        # by lambda alone, so lambda grows with the slope of error over bits that rounding with that step would have.
        coarser = np.maximum((steps - table_step) * (steps + table_step), 0)
        rdo = self._rdo * (_FALLOFF_STEP / table_step) ** self._rdo_falloff
        lagrangians = rdo * np.minimum(steps, table_step) ** 2 + max(rdo, _SLOPE) * coarser
        return tables, np.maximum(lagrangians, _LEAST_LAGRANGIAN) if lagrangians.any() else lagrangians


def _within(trim: float) -> float:
    """A trim far beyond the coarsest and the finest tables, so that numbers keep in range."""
    return min(max(trim, -_FARTHEST_TRIM), _FARTHEST_TRIM)


def _check_size(image: ImageArray) -> None:
    if max(image.shape[:2]) > _LARGEST_SIDE:
        raise CodecError(
            f"JPEG holds at most {_LARGEST_SIDE}x{_LARGEST_SIDE} pixels; got {image.shape[1]}x{image.shape[0]}."
        )


def _checked(sensitivity: Sensitivity, form: transform.Layout) -> npt.NDArray[np.float32]:
    """The sensitivity as float32 (units, parts, 64)."""
    expected = (form.block_rows, form.columns, form.coefficients)
    if np.shape(sensitivity) != expected:
        raise CodecError(f"The sensitivity of this image has shape {expected}; got {np.shape(sensitivity)}.")
    if not (np.min(sensitivity) >= 0 and np.max(sensitivity) < np.inf):
        raise CodecError("Sensitivities are finite and not negative.")
    weights = adjoint.of_units(np.asarray(sensitivity, dtype=np.float32), form)
    return np.ascontiguousarray(weights).reshape(-1, len(form.component_of_part), 64)
