"""encode() and restore(): the path of an image, from one end to the other."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import numpy.typing as npt

from accelir import registry
from accelir.allocation.allocator import Allocator
from accelir.allocation.budget import Budget, fit_budget
from accelir.codec import Codec, Encoded, Prepared, PreparedWithMetadata, metadata_bytes
from accelir.errors import BudgetError, CodecError, DecodeError, InvalidInputError
from accelir.files import read_bytes
from accelir.guidance import PASSES, falls_behind, guide, require_guidable, require_passes
from accelir.image import FramesWarning, ImageArray, ImageLike, as_image_array, read_image, with_metadata
from accelir.lookup import find_profile, profile_of_each
from accelir.metadata import Metadata, MetadataWarning
from accelir.network import IRNetwork
from accelir.profiling.controls import CONTROLS, control_estimate
from accelir.profiling.estimate import Estimate
from accelir.profiling.profile import Profile
from accelir.profiling.sensitivity import mean_sensitivity, measure_sensitivity
from accelir.tasks import Task
from accelir.variants import Attempt, best_attempt

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

    from accelir.profiling.profiler import Progress

__all__ = ["FramesWarning", "MetadataWarning", "check_request", "encode", "guidance_asked", "networks_of", "restore"]


def encode(
    image: ImageLike | None = None,
    *,
    network: str | IRNetwork | Sequence[str | IRNetwork],
    codec: str | Codec = "jpeg",
    budget: Budget,
    profile: Profile | str | Path | Sequence[Profile | str | Path | None] | None = None,
    estimate: str | Estimate = "profile",
    allocator: str | Allocator = "lagrangian",
    reference: ImageLike | None = None,
    teacher: str | IRNetwork | None = None,
    passes: int | None = None,
    metadata: Literal["keep", "strip"] = "keep",
    progress: Progress | None = None,
) -> Encoded:
    """Encode an image for the network that will restore it.

    With ``reference``, the clean original, encoding is *guided*: passes of the network tell how the file is to be
    changed for the restored image to come nearer to it. The result never restores worse than the file made without,
    for any of the networks named; see `accelir.guidance`. ``teacher`` guides where there is no clean original: a heavy
    network restores the image here, once, and the file is changed for a light one to come near to that.

    Args:
        image: What the network will get: a path, bytes, a PIL image, or uint8 (H, W, 3) or (H, W). None makes it
            from ``reference`` by the network's task.
        network: A name or an instance; or several of one task, where it is not known which of them the receiver has.
            Then sensitivities are their mean, and the first one's profile gives the rest, so that the order counts.
        codec: A name or an instance.
        budget: `Bytes`, `BitsPerPixel` or `LikeQuality`; never exceeded.
        profile: A Profile or the path of one; None takes the pair's own, else that of the nearest width. Of several
            networks it is the first one's, or a list says one for each (None for what is installed). To a control it
            only lends the codec's options that it found best.
        estimate: ``"profile"`` (no network run), ``"measured"`` (a few backward passes), one of the controls
            ``"uniform"``, ``"plain-mse"``, ``"variance"``, ``"oracle"``, or an Estimate.
        allocator: A name or an instance.
        reference: The clean original, of ``image``'s shape times the task's scale: guides, where ``estimate`` is no
            control; makes ``image`` where that is None; and is what ``estimate="oracle"`` measures with.
        teacher: A network of the same kind of task and scale whose restoration of ``image`` guides in the place of a
            reference. The better it restores, the more it teaches; ``network`` itself teaches what is lost by coding.
        passes: Forward and backward passes of the networks that guidance may take, all together; 0 for no guidance.
            None for 40 of each network, but for 0 where a reference stands beside a control. Those of
            ``estimate="measured"`` come on top, and so does what a teacher takes.
        metadata: Whether the file keeps the ICC profile, EXIF and XMP of ``image`` (of ``reference`` without one). The
            EXIF orientation is applied to the pixels and reset.
        progress: Told (done, total, what) while the file is guided.

    Returns:
        The file and what is known of it; what guiding it brought is its ``guidance``.

    Raises:
        BudgetError: No file of this codec is that small; says the smallest.
        ProfileNotFoundError: No profile for the pair; says how to make one.
        ProfileMismatchError: The profile is for another codec or network.
        NotDifferentiableError: ``"measured"``, or guidance, with a network without gradients.
        CodecError: The codec cannot hold this image, or its metadata, or cannot be guided or measured.
        DecodeError: A path or bytes that are no picture.
        InvalidInputError: An argument of the wrong kind, a reference that does not belong to the image, a teacher
            beside one or for another task, or too few passes to follow it.
    """
    nets = networks_of(network)
    net = nets[0]
    coder = registry.codec(codec)
    check_request(estimate, budget, metadata)
    master, passes = guidance_asked(nets, estimate, reference=reference is not None, teacher=teacher, passes=passes)
    clean, kept = (None, Metadata()) if reference is None else read_image(reference)
    if image is None:
        if clean is None:
            raise InvalidInputError("encode() needs an image, or reference= to make it from.")
        cropped = net.task.crop(clean)
        if 0 in cropped.shape:
            raise InvalidInputError(f"A reference of shape {clean.shape} is too small for {net.task.name!r}.")
        array = net.task.degrade(cropped, np.random.default_rng(0))
    else:
        array, kept = read_image(image)
    if metadata == "strip":
        kept = Metadata()
    if kept and type(coder).embed is Codec.embed:
        warnings.warn(
            f"Codec {coder.name!r} keeps no metadata; the picture's is left out.", MetadataWarning, stacklevel=2
        )
        kept = Metadata()
    kept = kept.of_size(*array.shape[:2])
    if clean is not None:
        clean = net.task.matching(clean, array)
    if passes:
        require_guidable(coder, array, nets)
        require_passes(passes, nets, measuring=False)
    limit = budget.resolve(array, coder, kept)
    profiles = profile_of_each(profile, nets)
    known = find_profile(profiles[0], estimate, coder, net)
    if known is not None:
        coder = coder.tuned(known.options(array))
    chosen = registry.allocator(allocator)

    def attempt(way: Codec, pixels: ImageArray, size: int) -> Attempt:
        guess = _estimate(estimate, way, nets, pixels, clean, known, profiles[1:])
        if passes:
            require_passes(passes, nets, measuring=guess.sensitivity is None)
        prepared: Prepared = way.prepare(pixels, sensitivity=guess.sensitivity)
        if kept and pixels is array:
            prepared = PreparedWithMetadata(way, prepared, kept)
        return Attempt(way, guess, prepared, fit_budget(way, prepared, guess, chosen, size))

    # An estimate that was handed over is of one geometry.
    ways = [coder] if isinstance(estimate, Estimate) else coder.variants(array)
    try:
        best = best_attempt(
            ways, array, limit, attempt,
            metadata=metadata_bytes(coder, kept) if len(ways) > 1 else 0,
            # The original of a mosaic would be one too.
            sampled=not (isinstance(estimate, str) and estimate == "oracle"),
        )  # fmt: skip
    except BudgetError as error:
        raise BudgetError(
            error.asked, error.smallest, coder.name, error.metadata,
            budget=budget.in_words(), least=budget.least_in_words(error.smallest, array),
        ) from None  # fmt: skip
    if not passes:
        return best.encoded
    if master is not None and progress is not None:
        progress(0, 1, f"restoring by {master.name}")
    followed = clean if master is None else master.restore(array)
    if followed is None:
        return best.encoded
    guided = best
    if best.codec is not ways[0]:
        # With whole chroma a network's idiosyncrasies have more to play on: what the networks named gain, others lose.
        # So the file of the first way is guided, unless too much is to be made good.
        with suppress(BudgetError):
            first = attempt(ways[0], array, limit)
            guided = best if falls_behind(first.encoded, best.encoded, coder, nets, followed) else first

    def fit(wanted: Prepared) -> Encoded:
        return fit_budget(guided.codec, wanted, guided.estimate, chosen, limit)

    return guide(
        guided.codec, array, guided.prepared, best.encoded, fit, nets, followed, guided.estimate.sensitivity,
        passes=passes, teacher=None if master is None else master.name, progress=progress,
    )  # fmt: skip


def check_request(estimate: str | Estimate, budget: Budget, metadata: str) -> None:
    """Make sure that these arguments of `encode` are of the right kind.

    Raises:
        InvalidInputError: One of them is not.
    """
    if not isinstance(estimate, Estimate) and estimate not in ("profile", "measured", *CONTROLS):
        raise InvalidInputError(
            f"An estimate is 'profile', 'measured', {', '.join(map(repr, CONTROLS))} or an Estimate; got {estimate!r}."
        )
    if not isinstance(budget, Budget):
        raise InvalidInputError(
            f"A budget is Bytes, BitsPerPixel or LikeQuality; got {budget!r}.{_advice_on_budget(budget)}"
        )
    if metadata not in ("keep", "strip"):
        raise InvalidInputError(f"metadata is 'keep' or 'strip'; got {metadata!r}.")


def guidance_asked(
    networks: Sequence[IRNetwork],
    estimate: str | Estimate,
    *,
    reference: bool,
    teacher: str | IRNetwork | None,
    passes: int | None,
) -> tuple[IRNetwork | None, int]:
    """What guides a file beside a reference, and for how many passes.

    Args:
        networks: That will restore it, at least one.
        estimate: As for `encode`.
        reference: Whether there is one.
        teacher: As for `encode`.
        passes: As for `encode`.

    Returns:
        The teacher, if any, and the passes, 0 for no guidance.

    Raises:
        InvalidInputError: A teacher beside a reference or for another task, or passes that follow nothing.
        UnknownNameError: No network of the teacher's name.
    """
    if teacher is not None and reference:
        raise InvalidInputError("A file follows a reference or a teacher; give one of reference= and teacher=.")
    master = None if teacher is None else registry.network(teacher)
    if master is not None and _kind(master) != _kind(networks[0]):
        raise InvalidInputError(
            f"A teacher undoes what the network does that follows it; {networks[0].name!r} is for "
            f"{networks[0].task.name!r}, the teacher {master.name!r} for {master.task.name!r}."
        )
    followed = reference or master is not None
    if passes is None:
        control = isinstance(estimate, str) and estimate in CONTROLS and master is None
        return master, PASSES * len(networks) if followed and not control else 0
    if not _whole(passes) or passes < 0:
        raise InvalidInputError(f"passes is a whole number, 0 or more; got {passes!r}.")
    if passes and not followed:
        raise InvalidInputError(
            "passes= is for following a reference; give reference=, the clean original, or teacher=, a network."
        )
    return master, int(passes)


def _kind(network: IRNetwork) -> tuple[type[Task], int]:
    return type(network.task), network.task.scale


def _advice_on_budget(value: object) -> str:
    return f" For {value} bytes, say Bytes({value})." if _whole(value) else ""


def _whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


@overload
def restore(
    source: npt.NDArray[Any],
    *,
    network: str | IRNetwork,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> ImageArray: ...
@overload
def restore(
    source: str | Path | bytes | Image | Encoded,
    *,
    network: str | IRNetwork,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> Image: ...
def restore(
    source: ImageLike | Encoded,
    *,
    network: str | IRNetwork,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> Image | ImageArray:
    """Decode a file and restore the picture.

    Args:
        source: A file's path or bytes (any format that a codec or Pillow reads), what `encode` returned, a PIL image,
            or an array.
        network: A name or an instance.
        device: Any torch device; None for where the network is.
        dtype: torch.float32 or torch.bfloat16; None for bfloat16 where the machine computes it fast.

    Returns:
        A PIL image, upright, with the file's ICC profile, EXIF and XMP in its ``info``; for an array, an array. Gray
        comes back gray.

    Raises:
        DecodeError: The bytes are not a picture that can be read.
    """
    from PIL import Image as PILImage

    net = registry.network(network)
    if isinstance(source, Encoded):
        source = source.data
    if isinstance(source, np.ndarray):
        return net.restore(as_image_array(source), device=device, dtype=dtype)
    try:
        pixels, metadata = read_image(_opened(source) if isinstance(source, str | Path | bytes) else source)
    except DecodeError as error:
        if isinstance(source, str | Path) and str(source) not in str(error):
            raise DecodeError(f"{source}: {error}") from error
        raise
    restored = PILImage.fromarray(net.restore(pixels, device=device, dtype=dtype))
    restored.info.update(metadata.of_size(restored.height, restored.width).info())
    return restored


def _opened(source: str | Path | bytes) -> Image | str | Path | bytes:
    """What the codec of a file makes of it; itself where no codec claims it."""
    data = read_bytes(source)
    coder = registry.codec_for(data)
    return source if coder is None else with_metadata(coder.decode(data), data, source)


def networks_of(wanted: str | IRNetwork | Sequence[str | IRNetwork]) -> list[IRNetwork]:
    """The instances, at least one, all of one task.

    Raises:
        UnknownNameError: No network of that name.
        InvalidInputError: None, of several tasks, or in no list.
    """
    if isinstance(wanted, Set | Mapping | Iterator):
        raise InvalidInputError(f"Several networks are a list, whose order counts; got a {type(wanted).__name__}.")
    several = [wanted] if isinstance(wanted, str) or not isinstance(wanted, Sequence) else wanted
    nets = [registry.network(each) for each in several]
    if not nets:
        raise InvalidInputError("encode() needs a network.")
    for net in nets[1:]:
        if net.task != nets[0].task:
            raise InvalidInputError(
                f"One file is encoded for networks of one task; {nets[0].name!r} is for {nets[0].task.name!r}, "
                f"{net.name!r} for {net.task.name!r}."
            )
    return nets


def _estimate(
    wanted: str | Estimate,
    codec: Codec,
    networks: Sequence[IRNetwork],
    image: ImageArray,
    reference: ImageArray | None,
    profile: Profile | None,
    of_others: Sequence[Profile | str | Path | None],
) -> Estimate:
    first = networks[0]
    if isinstance(wanted, Estimate):
        return wanted
    if wanted == "measured":
        measured = mean_sensitivity([measure_sensitivity(codec, network, image) for network in networks])
        if measured is None:
            raise CodecError(
                f"Codec {codec.name!r} has no coefficients whose sensitivity could be measured; encode with "
                "estimate='profile' (--estimate profile)."
            )
        base = profile.predict(image, codec) if profile else control_estimate("uniform", codec, first, image, None)
        return replace(base, sensitivity=measured)
    if wanted == "profile" and profile is not None:
        estimate = profile.predict(image, codec)
        found = [find_profile(own, "profile", codec, net) for own, net in zip(of_others, networks[1:], strict=True)]
        others = [each.predict(image, codec).sensitivity for each in found if each is not None]
        return replace(estimate, sensitivity=mean_sensitivity([estimate.sensitivity, *others]))
    return control_estimate(wanted, codec, first, image, reference)
