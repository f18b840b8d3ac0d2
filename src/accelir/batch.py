"""Many pictures: encoded side by side, each for itself."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, Literal

import numpy as np

from accelir import registry
from accelir.allocation.allocator import Allocator
from accelir.allocation.budget import Budget
from accelir.codec import Codec, Guidance
from accelir.errors import InvalidInputError
from accelir.files import sources_and_targets
from accelir.guidance import require_guidable, require_passes
from accelir.lookup import ProfileWarning, profile_for, profile_of_each
from accelir.network import IRNetwork
from accelir.pipeline import check_request, encode, guidance_asked, networks_of
from accelir.profiling.estimate import Estimate
from accelir.profiling.profile import Profile
from accelir.threads import LIMIT, processors

__all__ = ["BatchResult", "encode_many"]


@dataclass(frozen=True)
class BatchResult:
    """What became of one picture.

    Attributes:
        source: The picture.
        target: The file that was to be written.
        size: Its bytes; 0 where there is none.
        error: Why there is none; empty where there is one.
        guidance: What following a teacher has brought; None where none taught.
    """

    source: Path
    target: Path
    size: int
    error: str = ""
    guidance: Guidance | None = None


def encode_many(
    sources: str | Path | Sequence[str | Path],
    folder: str | Path,
    *,
    network: str | IRNetwork | Sequence[str | IRNetwork],
    codec: str | Codec = "jpeg",
    budget: Budget,
    profile: Profile | str | Path | Sequence[Profile | str | Path | None] | None = None,
    estimate: str = "profile",
    allocator: str | Allocator = "lagrangian",
    teacher: str | IRNetwork | None = None,
    passes: int | None = None,
    metadata: Literal["keep", "strip"] = "keep",
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[BatchResult]:
    """Encode many pictures for the network that will restore them, into the files that `encode` makes of each.

    A picture that cannot be encoded spoils no other: its result says why. A file is written whole or not at all.
    Workers are processes of one thread each, so a script that calls this needs ``if __name__ == "__main__":``.

    Args:
        sources: A folder, searched through, or the paths of pictures.
        folder: Where the files go, under the names of the pictures; made where it is not there. Folders inside a folder
            are kept.
        network: As for `encode`, and so are ``codec``, ``profile``, ``allocator``, ``teacher``, ``passes`` and
            ``metadata``.
        codec: A name or an instance.
        budget: Of each file.
        profile: A Profile, the path of one, a list of one for each network, or None.
        estimate: As for `encode`, but no Estimate and no ``"oracle"``, which belong to one picture.
        allocator: A name or an instance.
        teacher: A name or an instance, or None.
        passes: For each file.
        metadata: Whether it is kept.
        workers: How many pictures are encoded at a time; None for one a processor. One works in this process, each
            picture with all threads. Where a teacher teaches, each worker holds one, and takes the memory of its tiles.
        progress: Called as ``progress(done, total)`` after each picture.

    Returns:
        One result for each picture, in the order of ``sources``; of a folder, by path.

    Raises:
        InvalidInputError: No picture, or two that would be written to one file, or a picture that would be; another
            number of profiles than of networks; a teacher for another task, or passes that follow none or are too few;
            or no worker can start.
        UnknownNameError: No codec, network or allocator of that name.
        ProfileNotFoundError: No profile for the pair; says how to make one.
        ProfileMismatchError: The profile is for another codec or network.
        ProfileFormatError: A path that holds no profile.
        CodecError, NotDifferentiableError: The codec, or a network, cannot be guided.
    """
    # Now, and not once for every picture.
    nets, coder = networks_of(network), registry.codec(codec)
    registry.allocator(allocator)
    check_request(estimate, budget, metadata)
    if isinstance(estimate, Estimate) or estimate == "oracle":
        raise InvalidInputError("An Estimate, and the oracle, belong to one picture; encode it by itself.")
    _, followed_for = guidance_asked(nets, estimate, reference=False, teacher=teacher, passes=passes)
    if followed_for:
        require_guidable(coder, np.zeros((8, 8, 3), np.uint8), nets)
        require_passes(followed_for, nets, measuring=False)
    profiles = [Profile.load(one) if isinstance(one, str | Path) else one for one in profile_of_each(profile, nets)]
    for net, own in zip(nets, profiles, strict=True):
        if own is not None:
            own.check(coder, net)
        elif estimate == "profile":
            profile_for(coder, net)
    if workers is not None and workers < 1:
        raise InvalidInputError(f"There is at least 1 worker; got {workers!r}.")
    pairs = sources_and_targets(sources, Path(folder), coder.extensions[0])
    count = min(workers or processors(), len(pairs))
    asked = {
        "network": network,
        "codec": codec,
        "budget": budget,
        "profile": profiles,
        "estimate": estimate,
        "allocator": allocator,
        "teacher": teacher,
        "passes": passes,
        "metadata": metadata,
    }
    results: list[BatchResult | None] = [None] * len(pairs)
    for done, (index, result) in enumerate(_all(pairs, count, asked), 1):
        results[index] = result
        if progress is not None:
            progress(done, len(pairs))
    return [result for result in results if result is not None]


def _all(pairs: Sequence[tuple[Path, Path]], workers: int, asked: dict[str, Any]) -> Iterator[tuple[int, BatchResult]]:
    """Each result and its place, as they come."""
    waiting, suspects = list(range(len(pairs))), list[int]()
    if workers == 1:
        made = _made(asked)
        for index in waiting:
            yield index, _one(*pairs[index], made)
        return
    try:
        request = pickle.dumps(asked)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InvalidInputError(
            f"This cannot be handed to other processes: {error}. Name networks and codecs, or encode with one worker."
        ) from error
    while waiting or suspects:
        # When a worker dies, all pictures of its pool go down with it. Those that it may have died of are tried again
        # one by one, and the others all together.
        careful = bool(suspects)
        batch = suspects if careful else waiting
        finished = set()
        for index, result in _pooled(pairs, batch, 1 if careful else workers, request):
            finished.add(index)
            yield index, result
        left = [index for index in batch if index not in finished]
        if not careful:
            suspects, waiting = left[:workers], left[workers:]
        elif left:
            yield left[0], BatchResult(*pairs[left[0]], 0, "A worker has died of it; it may have run out of memory.")
            suspects = left[1:]
        else:
            suspects = []


def _pooled(
    pairs: Sequence[tuple[Path, Path]], batch: Sequence[int], workers: int, request: bytes
) -> Iterator[tuple[int, BatchResult]]:
    """The results of some pictures, until all are there or a worker has died.

    Raises:
        InvalidInputError: No worker has come so far as to take a picture.
    """
    # Spawned and not forked: the threads of torch do not survive a fork.
    spawned = multiprocessing.get_context("spawn")
    ready = spawned.Event()
    pool = ProcessPoolExecutor(workers, mp_context=spawned, initializer=_start_worker, initargs=(request, ready))
    try:
        places = {pool.submit(_asked_of_worker, *pairs[index]): index for index in batch}
        for future in as_completed(places):
            yield places[future], future.result()
    except BrokenProcessPool as error:
        if not ready.is_set():
            raise InvalidInputError(
                "No worker could start; the lines above may say why. A script that calls this needs "
                "`if __name__ == '__main__':`, and what it hands over has to be known in other processes."
            ) from error
        return
    finally:
        pool.shutdown(cancel_futures=True)


_request: dict[str, Any] = {}
"""In a worker: what is asked of every picture."""


def _start_worker(request: bytes, ready: Event) -> None:
    import torch
    from threadpoolctl import threadpool_limits

    os.environ[LIMIT] = "1"
    torch.set_num_threads(1)
    # NumPy's linear algebra has threads of its own.
    threadpool_limits(1)
    # The caller has been warned.
    warnings.simplefilter("ignore", ProfileWarning)
    _request.update(_made(pickle.loads(request)))
    ready.set()


def _made(asked: dict[str, Any]) -> dict[str, Any]:
    """The same with the networks that were named, made once for all pictures."""
    teacher = asked["teacher"]
    made = None if teacher is None else registry.network(teacher)
    return asked | {"network": networks_of(asked["network"]), "teacher": made}


def _asked_of_worker(source: Path, target: Path) -> BatchResult:
    return _one(source, target, _request)


def _one(source: Path, target: Path, asked: dict[str, Any]) -> BatchResult:
    try:
        encoded = encode(source, **asked)
        target.parent.mkdir(parents=True, exist_ok=True)
        encoded.save(target)
    except Exception as error:
        return BatchResult(source, target, 0, str(error) or type(error).__name__)
    return BatchResult(source, target, len(encoded.data), guidance=encoded.guidance)
