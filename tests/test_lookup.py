"""Which profile an encoding goes by."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import accelir
from accelir.errors import InvalidInputError, ProfileMismatchError
from accelir.lookup import ProfileWarning, find_profile
from accelir.pictures import picture


@pytest.fixture(scope="module")
def noisy() -> np.ndarray:
    return accelir.Denoise(25).degrade(picture(320, 400), np.random.default_rng(0))


def test_a_network_without_a_profile_borrows_its_relatives_or_says_how_to_make_one(noisy) -> None:
    relative = accelir.network("dncnn-s25-f16")
    relative.name, relative.width = "dncnn-s25-f20", 20
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert accelir.profile_for("jpeg", relative).header.network == "dncnn-s25-f16"
    with torch.no_grad():
        next(relative.modules[0].parameters()).mul_(1.001)
    with pytest.warns(ProfileWarning, match="dncnn-s25-f"):
        accelir.encode(noisy[:48, :48], network=relative, budget=accelir.BitsPerPixel(2))
    stranger = accelir.network("dncnn-s25-f16")
    stranger.name = stranger.family = "stranger"
    with pytest.raises(accelir.ProfileNotFoundError, match=r"measured.*\n.*profiler.*fit.*\n.*profile="):
        accelir.encode(noisy[:48, :48], network=stranger, budget=accelir.BitsPerPixel(2))


def test_a_profile_for_other_weights_is_named_as_such(noisy) -> None:
    changed = accelir.network("dncnn-s25-f8")
    with torch.no_grad():
        next(changed.modules[0].parameters()).mul_(1.001)
    with pytest.warns(ProfileWarning, match="other weights") as caught:
        accelir.encode(noisy[:48, :48], network=changed, budget=accelir.BitsPerPixel(2))
    assert caught[0].filename == __file__


def test_a_profile_lends_a_control_its_options(noisy) -> None:
    small = np.ascontiguousarray(noisy[:64, :64])
    profile = accelir.profile_for("jpeg", "dncnn-s25-f16")
    options = profile.header.codec_options
    assert options != {"rdo": 0.05, "shape": 1.0}
    arguments = {"network": "dncnn-s25-f16", "budget": accelir.BitsPerPixel(2), "estimate": "uniform"}
    lent = accelir.encode(small, profile=profile, **arguments)
    assert lent.data == accelir.encode(small, codec=accelir.codec("jpeg", **options), **arguments).data
    assert lent.data != accelir.encode(small, **arguments).data


def test_each_of_several_networks_may_have_a_profile_of_its_own(noisy) -> None:
    names = ["dncnn-s25-f8", "dncnn-s25-f16"]
    installed = [accelir.profile_for("jpeg", name) for name in names]
    budget = accelir.Bytes(4000)
    usual = accelir.encode(noisy, network=names, budget=budget).data
    for profiles in (installed[0], installed, [None, installed[1]]):
        assert accelir.encode(noisy, network=names, budget=budget, profile=profiles).data == usual
    with pytest.raises(InvalidInputError, match="2 networks want as many profiles; got 1"):
        accelir.encode(noisy, network=names, budget=budget, profile=installed[:1])
    with pytest.raises(ProfileMismatchError):
        accelir.encode(noisy, network=names, budget=budget, profile=installed[::-1])


def test_a_profile_of_another_network_is_refused(tmp_path, noisy) -> None:
    path = accelir.profile_for("jpeg", "dncnn-s25-f16").save(tmp_path / "p.safetensors")
    with pytest.raises(accelir.ProfileMismatchError):
        accelir.encode(noisy, network="dncnn-s25-f8", budget=accelir.BitsPerPixel(2), profile=path)


def test_only_what_needs_a_profile_finds_one(tmp_path) -> None:
    codec, network = accelir.codec("jpeg"), accelir.network("dncnn-s25-f16")
    own = accelir.profile_for(codec, network)
    assert find_profile(None, "profile", codec, network) is find_profile(None, "measured", codec, network) is own
    assert find_profile(None, "uniform", codec, network) is None
    assert find_profile(own, "uniform", codec, network) is own
    network.name = network.family = "stranger"
    assert find_profile(None, "measured", codec, network) is None
    with pytest.raises(accelir.ProfileNotFoundError):
        find_profile(None, "profile", codec, network)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"none")
    with pytest.raises(accelir.ProfileFormatError, match="broken"):
        find_profile(broken, "profile", codec, network)
