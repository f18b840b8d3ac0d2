"""The command line, run as a user runs it."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from typer.testing import CliRunner

import accelir
from accelir import registry
from accelir.bench import demo as demo_module
from accelir.cli import app
from accelir.errors import AccelIRError
from accelir.weights import WeightsRecord, pack_weights

NETWORKS = sorted(name for name, spec in registry.networks().items() if spec.task.startswith("sr"))
PROFILED = sorted(name for codec, name in registry.profiles() if codec == "jpeg")
needs_network = pytest.mark.skipif(not NETWORKS, reason="no super-resolution network is installed")
needs_profile = pytest.mark.skipif(not PROFILED, reason="no profile is installed")


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def picture(tmp_path):
    rows, columns = np.mgrid[:48, :64]
    waves = 127 + 80 * np.sin(columns / 5) * np.cos(rows / 7)
    path = tmp_path / "small.png"
    Image.fromarray(np.stack([waves, waves[::-1], 255 - waves], axis=2).astype(np.uint8)).save(path)
    return path


def assert_one_line(result, code, *words):
    assert result.exit_code == code, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("accelir: ")
    for word in words:
        assert word in lines[0]


def test_help_lists_the_commands_and_loads_no_torch():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom accelir.cli import app\n"
        "result = CliRunner().invoke(app, ['--help'])\nprint(result.output)\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for command in ("encode", "restore", "profile", "train", "export", "plugins", "demo"):
        assert command in done.stdout


def test_short_help_is_the_long_one():
    for words in ((), ("encode",), ("train",)):
        assert run(*words, "-h").output == run(*words, "--help").output != ""


def test_version():
    result = run("--version")
    assert result.exit_code == 0
    assert result.output.startswith("accelir ")


class TestEncode:
    @needs_network
    def test_measured_encoding_writes_a_jpeg_within_the_budget(self, picture):
        result = run("encode", picture, "-n", NETWORKS[0], "--bytes", 1500, "--estimate", "measured")
        assert result.exit_code == 0, result.output
        written = picture.with_name("small-accelir.jpg")
        assert written.stat().st_size <= 1500
        with Image.open(written) as opened:
            assert opened.size == (64, 48)
        assert "bits per pixel" in result.stdout

    @needs_network
    def test_the_name_is_always_the_same_and_what_is_metadata_is_told(self, picture):
        with Image.open(picture) as opened:
            opened.save(picture, icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
        other = picture.with_suffix(".jpg")
        other.write_bytes(b"another photograph")
        asked = ["encode", picture, "-n", NETWORKS[0], "--estimate", "uniform"]
        for size in (3000, 2500):
            result = run(*asked, "--bytes", size)
            assert result.exit_code == 0, result.output
            assert picture.with_name("small-accelir.jpg").stat().st_size <= size
            assert "of them metadata" in result.stdout
        assert other.read_bytes() == b"another photograph"
        assert "metadata" not in run(*asked, "--bytes", 3000, "--strip").stdout

    @needs_profile
    def test_the_profile_is_the_default(self, picture, tmp_path):
        output = tmp_path / "out.jpg"
        result = run("encode", picture, "-n", PROFILED[0], "--like-quality", 75, "-o", output)
        assert result.exit_code == 0, result.output
        with Image.open(output) as opened:
            assert opened.format == "JPEG"

    @needs_network
    @pytest.mark.parametrize(("name", "codec"), [("out.webp", "webp"), ("out.JPEG", "jpeg"), (None, "jpeg")])
    def test_the_ending_decides_the_codec(self, picture, tmp_path, name, codec):
        asked = ("encode", picture, "-n", NETWORKS[0], "--like-quality", 75, "--estimate", "uniform")
        target = picture.with_name("small-accelir.jpg") if name is None else tmp_path / name
        result = run(*asked, *([] if name is None else ["-o", target]))
        assert result.exit_code == 0, result.output
        assert accelir.codec_for(target.read_bytes()).name == codec

    @needs_network
    @pytest.mark.parametrize(
        ("name", "codec", "words"),
        [
            ("out.webp", ["-c", "jpeg"], "does not end like a jpeg file (.jpg, .jpeg)"),
            ("out.xyz", [], "ends like no codec's files (.jpg"),
            ("out", [], "name the --codec"),
        ],
    )
    def test_an_ending_that_does_not_fit_is_a_wrong_call(self, picture, tmp_path, name, codec, words):
        result = run("encode", picture, "-n", NETWORKS[0], "--bytes", 2500, "-o", tmp_path / name, *codec)
        assert result.exit_code == 2
        assert words.replace(" ", "") in re.sub(r"[\s│]+", "", result.output)

    @needs_network
    def test_a_folder_s_name_decides_nothing(self, picture, tmp_path):
        asked = ("-n", NETWORKS[0], "--like-quality", 75, "--estimate", "uniform", "--workers", 1)
        result = run("encode", picture.parent, "-o", tmp_path / "to.webp", *asked)
        assert (tmp_path / "to.webp" / "small.jpg").exists(), result.output

    @needs_network
    def test_options_reach_the_codec(self, picture):
        options = ["--option", "process=progressive", "--option", "subsampling=444"]
        result = run("encode", picture, "-n", NETWORKS[0], "--bytes", 2500, "--estimate", "uniform", *options)
        assert result.exit_code == 0, result.output
        with Image.open(picture.with_name("small-accelir.jpg")) as opened:
            assert opened.info["progressive"]
            assert [layer[1:3] for layer in opened.layer] == [(1, 1)] * 3

    def test_an_option_that_is_none_is_told(self, picture):
        assert run("encode", picture, "-n", "any", "--bytes", 1500, "--option", "progressive").exit_code == 2
        result = run("encode", picture, "-n", "any", "--bytes", 1500, "--option", "proces=progressive")
        assert_one_line(result, 1, "proces: there is no such option", "process")

    @pytest.mark.parametrize("budget", [[], ["--bytes", "9", "--bpp", "1"], ["--bpp", "0"], ["--bytes", "0"]])
    def test_a_budget_is_said_once(self, picture, budget):
        assert run("encode", picture, "-n", "any", *budget).exit_code == 2

    def test_the_input_is_never_written_over(self, picture):
        before = picture.read_bytes()
        result = run("encode", picture, "-n", "any", "--bytes", 1500, "-o", picture)
        assert result.exit_code == 2
        assert picture.read_bytes() == before

    @needs_network
    def test_a_jpeg_is_encoded_beside_itself(self, picture):
        source = picture.with_name("photo.jpg")
        with Image.open(picture) as opened:
            opened.save(source)
        before = source.read_bytes()
        result = run("encode", source, "-n", NETWORKS[0], "--bytes", 1500, "--estimate", "uniform")
        assert result.exit_code == 0, result.output
        assert source.read_bytes() == before
        assert picture.with_name("photo-accelir.jpg").exists()

    @needs_profile
    def test_the_reference_makes_the_image_and_guides_for_several_networks(self, picture):
        clean = picture.with_name("clean.png")
        with Image.open(picture) as opened:
            opened.resize((256, 192)).save(clean)
        names = ["-n", "edsr-x4-f8", "-n", "edsr-x4-f16"]
        result = run("encode", "--reference", clean, *names, "--like-quality", 75, "--passes", 6)
        assert result.exit_code == 0, result.output
        assert "following the reference" in result.stderr
        gain = r"\+\d\.\d\d dB for"
        told = rf"guided by clean\.png: {gain} edsr-x4-f8, {gain} edsr-x4-f16 in 6 passes"
        assert re.search(told, result.stdout), result.stdout
        guided = clean.with_name("clean-accelir.jpg")
        with Image.open(guided) as opened:
            assert opened.size == (64, 48)
        plain = accelir.encode(
            reference=clean, network=names[1::2], budget=accelir.LikeQuality(75), passes=0, metadata="strip"
        )
        assert guided.read_bytes() != plain.data

    @needs_profile
    def test_a_teacher_guides_a_picture_and_a_folder(self, picture, tmp_path):
        asked = ["-n", "edsr-x4-f8", "--like-quality", 75, "--teacher", "edsr-x4-f16", "--passes", 4]
        result = run("encode", picture, *asked)
        assert result.exit_code == 0, result.output
        told = r"guided by the picture of edsr-x4-f16: \+\d\.\d\d dB for edsr-x4-f8 nearer to that in 4 passes\n"
        assert re.search(told, result.stdout), result.stdout
        folder = tmp_path / "in"
        folder.mkdir()
        shutil.copy(picture, folder)
        result = run("encode", folder, "-o", tmp_path / "out", "--workers", 1, *asked)
        assert result.exit_code == 0, result.output
        written = picture.with_name(f"{picture.stem}-accelir.jpg").read_bytes()
        assert (tmp_path / "out" / f"{picture.stem}.jpg").read_bytes() == written
        assert re.search(r"guided by the pictures of edsr-x4-f16: \+\d\.\d\d dB for edsr-x4-f8 ", result.stdout)
        assert run("encode", picture, *asked, "--reference", picture).exit_code == 2
        assert_one_line(run("encode", picture, *asked[:-3], "dncnn-s25-f8"), 1, "sr-x4", "denoise-s25")
        named = ["-n", "dncnn-s25-f8", "--task", "denoise-s25", "--teacher", "dncnn-blind-f16", "--passes", 3]
        result = run("encode", picture, *named, "--bpp", 2)
        assert result.exit_code == 0, result.output

    @needs_profile
    def test_guidance_that_finds_nothing_says_so(self, picture):
        Image.new("RGB", (64, 64), "white").save(picture)
        result = run("encode", "--reference", picture, "-n", "edsr-x4-f8", "--bytes", 2000, "--passes", 3)
        assert result.exit_code == 0, result.output
        assert re.search(r"guided by small\.png: nothing better was found in (1 pass|3 passes)\n", result.stdout)

    @needs_profile
    def test_what_cannot_be_guided_is_one_line(self, picture):
        clean = picture.with_name("clean.png")
        with Image.open(picture) as opened:
            opened.resize((256, 192)).save(clean)
        asked = ["encode", "--reference", clean, "-n", "edsr-x4-f8", "--bpp", 2]
        assert_one_line(run(*asked, "-c", "webp"), 1, "'webp'", "--passes 0")
        assert_one_line(run(*asked, "--passes", 1), 1, "2 passes or more", "--passes 0")

    @needs_profile
    def test_each_network_may_have_a_profile(self, picture, tmp_path):
        names = ["edsr-x4-f8", "edsr-x4-f16"]
        paths = [accelir.profile_for("jpeg", name).save(tmp_path / f"{name}.safetensors") for name in names]
        asked = ["encode", "-n", names[0], "-n", names[1], "--bytes", 2000]
        result = run(*asked, picture, "--profile", paths[0], "--profile", paths[1])
        assert result.exit_code == 0, result.output
        written = picture.with_name("small-accelir.jpg").read_bytes()
        assert written == accelir.encode(picture, network=names, budget=accelir.Bytes(2000)).data
        assert_one_line(run(*asked, picture, "--profile", paths[1], "--profile", paths[0]), 1, names[1])
        assert_one_line(run(*asked, picture, *["--profile", paths[0]] * 3), 1, "2 networks", "got 3")
        folder = tmp_path / "in"
        folder.mkdir()
        picture.rename(folder / picture.name)
        result = run(*asked, folder, "-o", tmp_path / "out", *["--profile", paths[0], "--profile", paths[1]])
        assert result.exit_code == 0, result.output
        assert (tmp_path / "out" / "small.jpg").read_bytes() == written
        wrong = run(*asked, folder, "-o", tmp_path / "out", *["--profile", paths[0], "--profile", paths[0]])
        assert_one_line(wrong, 1, names[0])

    def test_the_reference_is_named_for_passes_and_for_no_image(self, picture):
        assert run("encode", picture, "-n", "any", "--bytes", 1500, "--passes", 5).exit_code == 2
        assert run("encode", "-n", "any", "--bytes", 1500).exit_code == 2
        before = picture.read_bytes()
        result = run("encode", "--reference", picture, "-n", "any", "--bytes", 1500, "-o", picture)
        assert result.exit_code == 2
        assert picture.read_bytes() == before

    def test_an_unknown_network_is_one_line(self, picture):
        assert_one_line(run("encode", picture, "-n", "edsr-x4-f61", "--bytes", 1500), 1, "edsr-x4-f61")

    def test_an_unknown_codec_is_one_line(self, picture):
        assert_one_line(run("encode", picture, "-n", "any", "-c", "jepg", "--bytes", 1500), 1, "jepg", "jpeg")

    @needs_network
    def test_an_impossible_budget_says_the_smallest(self, picture):
        result = run("encode", picture, "-n", NETWORKS[0], "--bytes", 20, "--estimate", "uniform")
        assert_one_line(result, 1, "20 bytes", "smallest")
        assert not picture.with_name("small-accelir.jpg").exists()

    @needs_network
    def test_a_missing_picture_is_one_line(self, tmp_path):
        assert_one_line(run("encode", tmp_path / "none.png", "-n", NETWORKS[0], "--bpp", 1), 1, "none.png")


class TestRestore:
    @needs_network
    def test_it_writes_a_larger_png(self, picture):
        result = run("restore", picture, "-n", NETWORKS[0])
        assert result.exit_code == 0, result.output
        with Image.open(picture.with_name("small-restored.png")) as opened:
            restored = opened.copy()
        scale = registry.network(NETWORKS[0]).task.scale
        assert restored.size == (64 * scale, 48 * scale)

    @pytest.mark.parametrize("folder", [".", "/", ""])
    def test_what_is_made_of_a_folder_goes_to_a_folder(self, folder, picture):
        assert run("restore", folder, "-n", "any").exit_code == 2
        assert run("restore", folder, "-n", "any", "-o", picture).exit_code == 2

    @needs_network
    def test_a_folder_is_restored_whatever_one_picture_is_like(self, picture, tmp_path):
        folder = tmp_path / "folder"
        (folder / "inner").mkdir(parents=True)
        shutil.copy(picture, folder / "a.png")
        shutil.copy(picture, folder / "inner" / "b.png")
        (folder / "broken.png").write_bytes(b"no picture")
        result = run("restore", folder, "-n", NETWORKS[0], "-o", tmp_path / "out", "--ending", ".JPG")
        assert result.exit_code == 1 and result.stdout.strip().endswith("2 of 3 pictures")
        assert "broken.png" in result.stderr
        assert run("restore", picture, "-n", NETWORKS[0], "-o", tmp_path / "alone.jpg").exit_code == 0
        for name in ("a.jpg", "inner/b.jpg"):
            assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "alone.jpg").read_bytes()
        shutil.copy(picture, folder / "a.webp")
        assert_one_line(run("restore", folder, "-n", NETWORKS[0], "-o", tmp_path / "out"), 1, "a.png and", "a.webp")

    def test_an_unknown_ending_is_a_wrong_call(self, picture, tmp_path):
        assert run("restore", picture, "-n", "any", "-o", tmp_path / "out.xyz").exit_code == 2

    @needs_network
    def test_metadata_that_a_format_cannot_hold_is_one_line(self, picture, tmp_path):
        note = PngInfo()
        note.add_itxt("XML:com.adobe.xmp", "x" * 70_000)
        with Image.open(picture) as opened:
            opened.save(tmp_path / "noted.png", pnginfo=note)
        output = tmp_path / "out.jpg"
        assert_one_line(run("restore", tmp_path / "noted.png", "-n", NETWORKS[0], "-o", output), 1, "out.jpg")
        assert not output.exists()

    @needs_network
    def test_heic_is_written_where_pillow_can(self, picture, tmp_path):
        pytest.importorskip("pillow_heif")
        output = tmp_path / "out.heic"
        result = run("restore", picture, "-n", NETWORKS[0], "-o", output)
        assert result.exit_code == 0, result.output
        assert accelir.codec_for(output.read_bytes()).name == "heic"

    @needs_network
    def test_a_file_that_is_no_picture_is_one_line(self, tmp_path):
        (tmp_path / "words.jpg").write_text("no picture")
        assert_one_line(run("restore", tmp_path / "words.jpg", "-n", NETWORKS[0]), 1, "words.jpg")
        (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8\xff" + bytes(9))
        assert_one_line(run("restore", tmp_path / "cut.jpg", "-n", NETWORKS[0]), 1, "cut.jpg")

    @needs_network
    def test_an_unknown_device_is_one_line(self, picture):
        assert_one_line(run("restore", picture, "-n", NETWORKS[0], "--device", "warp"), 1, "warp")


class TestProfile:
    def test_a_folder_without_pictures_is_a_wrong_call(self, tmp_path):
        result = run("profile", tmp_path, "-n", "any", "-o", tmp_path / "p.safetensors")
        assert result.exit_code == 2
        assert run("profile", tmp_path / "none", "-n", "any", "-o", tmp_path / "p").exit_code == 2

    @needs_network
    def test_pictures_are_found_and_the_profile_is_written(self, picture, tmp_path, monkeypatch):
        seen = {}

        class Made:
            def save(self, path):
                path.write_bytes(b"profile")

        class Quick(accelir.Profiler):
            def fit(self, codec, network, images, *, progress, checkpoint):
                progress(1, 2, "half")
                seen.update(codec=codec.name, network=network.name, images=images, checkpoint=checkpoint)
                return Made()

        monkeypatch.setattr("accelir.profiling.profiler.StandardProfiler", Quick)
        output = tmp_path / "p.safetensors"
        kept = tmp_path / "p.safetensors.checkpoint"
        kept.mkdir()
        (kept / "crop-0000-a.npy").touch()
        (kept / "somebody's").touch()
        result = run("profile", tmp_path, "-n", NETWORKS[0], "-o", output)
        assert result.exit_code == 0, result.output
        # Only what profiling wrote is removed.
        assert [path.name for path in kept.iterdir()] == ["somebody's"]
        assert output.read_bytes() == b"profile"
        assert seen["codec"] == "jpeg"
        assert seen["images"] == [picture]
        assert seen["checkpoint"] == tmp_path / "p.safetensors.checkpoint"

    @needs_profile
    def test_weights_are_not_written_over_by_their_profile(self, tmp_path):
        Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
        weights = tmp_path / "tuned.safetensors"
        weights.write_bytes(b"weights")
        for network in (weights, f"accelir_plugins.edsr:EDSR@{weights}"):
            assert run("profile", tmp_path, "-n", network, "-o", weights).exit_code == 2
        assert weights.read_bytes() == b"weights"

    @needs_profile
    def test_profiles_and_weights_are_told_from_each_other(self, picture, tmp_path):
        profile = accelir.profile_for("jpeg", PROFILED[0]).save(tmp_path / "profile.safetensors")
        assert_one_line(run("restore", picture, "-n", profile), 1, "is a profile", "--profile")
        record = WeightsRecord(network=PROFILED[0], task="sr-x4")
        weights = tmp_path / "weights.safetensors"
        weights.write_bytes(pack_weights({"a": torch.zeros(1)}, record))
        result = run("encode", picture, "-n", PROFILED[0], "--profile", weights, "--bytes", 2000)
        assert_one_line(result, 1, "weights.safetensors", "weights of a network")


class TestPlugins:
    def test_the_table_names_the_built_in_codec(self):
        result = run("plugins")
        assert result.exit_code == 0, result.output
        assert "jpeg" in result.stdout

    def test_json_is_for_programs(self):
        found = json.loads(run("plugins", "--json").stdout)
        assert {"plugins", "codecs", "networks", "profiles"} <= found.keys()
        assert "jpeg" in [codec["name"] for codec in found["codecs"]]

    def test_what_is_not_installed_is_named_with_the_way_to_install_it(self, monkeypatch):
        found = importlib.util.find_spec
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pillow_heif" else found(name))
        codecs = {codec["name"]: codec for codec in json.loads(run("plugins", "--json").stdout)["codecs"]}
        assert codecs["heic"]["missing"] == ["pillow_heif"]
        assert codecs["heic"]["install_hint"] == "pip install 'accelir[heif]'"
        assert not {"missing", "install_hint"} & codecs["jpeg"].keys()
        assert "pip install 'accelir[heif]'" in run("plugins").stdout


class TestDemo:
    def test_the_page_is_a_png(self, tmp_path):
        assert run("demo", "-o", tmp_path / "page.gif").exit_code == 2

    def test_the_photograph_is_never_written_over(self, picture):
        assert run("demo", "--image", picture, "-o", picture).exit_code == 2

    def test_an_error_is_one_line(self, tmp_path, monkeypatch):
        def fail(*arguments, **more):
            raise AccelIRError("first\nsecond")

        monkeypatch.setattr(demo_module, "run_demo", fail)
        assert_one_line(run("demo", "-o", tmp_path / "page.png"), 1, "first second")
