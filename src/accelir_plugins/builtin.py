"""The built-in plugin: tables of what there is, and the hooks that hand them over."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from accelir.hookspecs import (
    AllocatorSpec,
    CodecSpec,
    NetworkFileSpec,
    NetworkSpec,
    ProfilerSpec,
    ProfileSpec,
    TaskSpec,
    hookimpl,
)

PACKAGE = "accelir_plugins"

FAMILIES: tuple[tuple[str, str, str, dict[str, Any], tuple[int, ...], str], ...] = (
    # family, module, task, options of its load(), widths, summary; a width is there once its weights are
    ("edsr-x4", "edsr", "sr-x4", {}, (8, 16, 32, 64), "EDSR, 8 residual blocks, super-resolution x4"),
    ("fsrcnn-x4", "fsrcnn", "sr-x4", {}, (16, 32, 56), "FSRCNN, 4 mapping layers, super-resolution x4"),
    ("carn-x4", "carn", "sr-x4", {}, (16, 32, 48, 64), "CARN-M, 4 groups, super-resolution x4"),
    ("span-x4", "span", "sr-x4", {}, (16, 24, 32, 48), "SPAN, 6 blocks, super-resolution x4"),
    ("swinir-x4", "swinir", "sr-x4", {}, (30, 42, 60), "Lightweight SwinIR, 4 groups of 6, super-resolution x4"),
    ("edsr-x2", "edsr", "sr-x2", {"scale": 2}, (16, 64), "EDSR, 8 residual blocks, super-resolution x2"),
    ("dncnn-s25", "dncnn", "denoise-s25", {}, (8, 16, 32, 64), "DnCNN, 12 layers, noise of sigma 25"),
    ("dncnn-blind", "dncnn", "denoise-s0to55", {"sigma": (0, 55)}, (16, 64), "DnCNN, 12 layers, noise up to sigma 55"),
    ("restormer-s25", "restormer", "denoise-s25", {}, (8, 16, 24), "Restormer, 14 blocks, noise of sigma 25"),
    ("nafnet-deblur", "nafnet", "deblur", {}, (8, 16, 24, 32), "NAFNet, 12 blocks, camera shake"),
    ("mimounet-deblur", "mimounet", "deblur", {}, (8, 16, 32), "MIMO-UNet, camera shake"),
)

TASKS: tuple[tuple[str, str, dict[str, Any], str], ...] = (
    ("sr-x2", "SuperResolution", {"scale": 2}, "Super-resolution by 2"),
    ("sr-x4", "SuperResolution", {"scale": 4}, "Super-resolution by 4"),
    ("denoise-s25", "Denoise", {"sigma": 25}, "White Gaussian noise of sigma 25"),
    ("denoise-s0to55", "Denoise", {"sigma": (0, 55)}, "White Gaussian noise of any sigma up to 55"),
    ("deblur", "Deblur", {}, "Camera shake"),
)

ALLOCATORS = (
    ("lagrangian", "LagrangianAllocator", "One slope of restored error over bits for all blocks"),
    ("uniform", "UniformAllocator", "One level for all blocks"),
)


@hookimpl
def accelir_codecs() -> list[CodecSpec]:
    return [
        CodecSpec(
            name="jpeg",
            factory=f"{PACKAGE}.jpeg.codec:JpegCodec",
            summary="JPEG, baseline or progressive, quantised for the network",
            extensions=(".jpg", ".jpeg"),
            signatures=(b"\xff\xd8\xff",),
        ),
        CodecSpec(
            name="webp",
            factory=f"{PACKAGE}.webp.codec:WebpCodec",
            summary="Lossy WebP, quantised for the network",
            extensions=(".webp",),
            signatures=(b"RIFF????WEBP",),
        ),
        CodecSpec(
            name="heic",
            factory=f"{PACKAGE}.heic:HeicCodec",
            summary="HEIC, a quantiser for each block",
            requires=("pillow_heif",),
            install_hint="pip install 'accelir[heif]'",
            extensions=(".heic", ".heif"),
            signatures=(b"????ftypheic", b"????ftypheix"),
        ),
        CodecSpec(
            name="avif",
            factory=f"{PACKAGE}.avif:AvifCodec",
            summary="AVIF, a quantiser for each superblock",
            requires=("PIL._avif",),
            install_hint="pip install 'accelir[avif]'",
            extensions=(".avif",),
            signatures=(b"????ftypavif",),
        ),
    ]


@hookimpl
def accelir_networks() -> list[NetworkSpec]:
    weights = _stems("weights")
    return [
        NetworkSpec(
            name=name,
            factory=f"{PACKAGE}.{module}:load",
            summary=f"{summary}, width {width}",
            options={"name": name, "width": width, **options},
            family=family,
            width=width,
            task=task,
        )
        for family, module, task, options, widths, summary in FAMILIES
        for width in widths
        if (name := f"{family}-f{width}") in weights
    ]


@hookimpl
def accelir_network_files() -> list[NetworkFileSpec]:
    return [
        NetworkFileSpec(
            name="onnx",
            factory=f"{PACKAGE}.onnx_network:load",
            summary="ONNX, run by onnxruntime",
            extensions=(".onnx",),
            requires=("onnxruntime",),
            install_hint="pip install 'accelir[onnx]'",
        ),
        NetworkFileSpec(
            name="spandrel",
            factory=f"{PACKAGE}.spandrel_adapter:load",
            summary="Checkpoints of the architectures that spandrel knows",
            extensions=(".pth", ".pt", ".ckpt", ".safetensors"),
            requires=("spandrel",),
            install_hint="pip install 'accelir[spandrel]'",
        ),
    ]


@hookimpl
def accelir_tasks() -> list[TaskSpec]:
    return [
        TaskSpec(name=name, factory=f"accelir.tasks:{class_name}", summary=summary, options=options)
        for name, class_name, options, summary in TASKS
    ]


@hookimpl
def accelir_profilers() -> list[ProfilerSpec]:
    return [
        ProfilerSpec(
            name="standard",
            factory="accelir.profiling.profiler:StandardProfiler",
            summary="Probed sensitivities, measured curves, a light CNN",
        )
    ]


@hookimpl
def accelir_allocators() -> list[AllocatorSpec]:
    return [
        AllocatorSpec(name=name, factory=f"accelir.allocation.lagrangian:{class_name}", summary=summary)
        for name, class_name, summary in ALLOCATORS
    ]


@hookimpl
def accelir_profiles() -> list[ProfileSpec]:
    return [
        ProfileSpec(codec=codec, network=network, path=f"{PACKAGE}:profiles/{stem}.safetensors")
        for stem in sorted(_stems("profiles"))
        for codec, separator, network in [stem.partition("--")]
        if separator
    ]


def _stems(folder: str) -> set[str]:
    """Names of the safetensors files in a folder of this package."""
    root = files(PACKAGE) / folder
    if not root.is_dir():
        return set()
    suffix = ".safetensors"
    return {entry.name.removesuffix(suffix) for entry in root.iterdir() if entry.name.endswith(suffix)}
