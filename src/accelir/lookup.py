"""Which profile an encoding goes by: one that was handed over, the pair's own, or that of the nearest width."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from accelir import registry
from accelir.codec import Codec
from accelir.errors import InvalidInputError, PluginError, ProfileNotFoundError
from accelir.image import outside
from accelir.network import IRNetwork
from accelir.profiling.estimate import Estimate
from accelir.profiling.profile import Profile

__all__ = ["ProfileWarning", "find_profile", "profile_for", "profile_of_each"]


class ProfileWarning(UserWarning):
    """A profile of another width of the family stands in."""


def profile_for(codec: str | Codec, network: str | IRNetwork) -> Profile:
    """The installed profile of a pair, else that of the nearest width in the network's family.

    Warns where that is for other weights, or another revision.

    Raises:
        ProfileNotFoundError: There is none; says the command that makes one.
    """
    coder, net = registry.codec(codec), registry.network(network)
    installed = registry.profiles()
    own = installed.get((coder.name, net.name))
    if own is not None:
        loaded = _installed_profile(own.path)
        if loaded.header.fingerprint == net.fingerprint():
            loaded.check(coder, net)
            return loaded
    specs = registry.networks()
    relatives = [
        (abs(np.log(specs[name].width / net.width)), name)
        for of_codec, name in installed
        if of_codec == coder.name and name in specs and specs[name].family == net.family and specs[name].width
        if net.width
    ]
    if not relatives:
        file = f"{coder.name}--{net.name}.safetensors"
        how = (
            f"    accelir profile FOLDER_OF_PHOTOGRAPHS --codec {coder.name} --network {net.name} --output {file}"
            if net.name in specs
            else f'    accelir.profiler("standard").fit(codec, network, photographs).save("{file}")'
        )
        without = (
            'Encode without one by estimate="measured", a few backward passes for each image; or make a profile:'
            if net.differentiable
            else "Make one:"
        )
        raise ProfileNotFoundError(
            f"No profile for codec {coder.name!r} and network {net.name!r}. {without}\n{how}\n"
            "and pass it as profile= (--profile on the command line), for several networks in a list of one for each "
            "(--profile repeated)."
        )
    nearest = min(relatives)[1]
    found = _installed_profile(installed[coder.name, nearest].path)
    if found.header.fingerprint == net.fingerprint():
        # The same weights under another name, as of an exported file.
        found.check(coder, net)
        return found
    known = (
        f"The profile of {net.name!r} is for other weights, or another revision"
        if own
        else f"No profile for {net.name!r}"
    )
    stand_in = "it" if nearest == net.name else f"that of {nearest!r}"
    warnings.warn(f"{known}; {stand_in} is used all the same.", ProfileWarning, stacklevel=outside())
    found.check(coder)
    return found


def profile_of_each(
    profile: Profile | str | Path | Sequence[Profile | str | Path | None] | None, networks: Sequence[IRNetwork]
) -> list[Profile | str | Path | None]:
    """What `encode` was handed as ``profile``, one for each network; None for what is installed.

    Raises:
        InvalidInputError: A list of another length, or what is no profile.
    """
    if isinstance(profile, list | tuple):
        if len(profile) != len(networks):
            raise InvalidInputError(f"{len(networks)} networks want as many profiles; got {len(profile)}.")
        each = list(profile)
    else:
        each = [profile, *[None] * (len(networks) - 1)]
    for one in each:
        if not (one is None or isinstance(one, Profile | str | Path)):
            raise InvalidInputError(f"A profile is a Profile or the path of one; got {type(one).__name__}.")
    return each


def find_profile(
    profile: Profile | str | Path | None, estimate: str | Estimate, codec: Codec, network: IRNetwork
) -> Profile | None:
    """The profile that an encoding goes by: what was handed over, else what is installed; a control needs none.

    Args:
        profile: As `accelir.encode` takes it for one network.
        estimate: As `accelir.encode` takes it.
        codec: That will write.
        network: That will restore.

    Raises:
        ProfileNotFoundError: There is none, and the estimate is to come from one.
        ProfileMismatchError: The profile handed over is for others.
        ProfileFormatError: A file that holds none.
        DecodeError: A file that cannot be read.
    """
    if profile is not None:
        loaded = profile if isinstance(profile, Profile) else Profile.load(profile)
        loaded.check(codec, network)
        return loaded
    if estimate == "profile":
        return profile_for(codec, network)
    if estimate == "measured":
        try:
            return profile_for(codec, network)
        except ProfileNotFoundError:
            return None
    return None


@functools.lru_cache(maxsize=16)
def _installed_profile(path: str) -> Profile:
    package, _, relative = path.partition(":")
    try:
        data = files(package).joinpath(relative).read_bytes()
    except (ImportError, OSError) as error:
        raise PluginError(f"The profile {path!r} that a plugin names is not there: {error}.") from error
    return Profile.load(data)
