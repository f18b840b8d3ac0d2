"""Restored quality at equal bytes against other JPEG encoders, and against our own that knows nothing of the network.

    python benchmarks/peers.py DATA_FOLDER [--task sr|denoise|deblur] [--set Kodak24 ...] [--networks NAME ...]

The budget is Pillow's size (optimize=True, 4:2:0) at each quality, metadata stripped, and ours takes at most that. The
quality of mozjpeg and jpegli is a whole number: each is restored just below and just above the budget, and gets the
score between them at exactly the budget, linear in the logarithm of the bytes. Pillow and mozjpeg have the better of
4:2:0 and 4:4:4 on each picture, by the restored score, which they could not know; ours and its controls choose by what
they foresee. What it needs: accelir[peers].

Several processes share the work by ``--shard 0/2``, ``--shard 1/2``; a last run without it joins what they measured.
"""

from __future__ import annotations

import functools
import importlib.metadata
import io
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from common import (
    PLAIN_MSE,
    Job,
    Measured,
    Score,
    each_task,
    family,
    fingerprints,
    kernels,
    of_shard,
    pictures,
    progress,
    shown_command,
)
from PIL import Image, ImageFile

import accelir
from accelir.bench.measure import at_budget, straddle, summarise
from accelir.image import ImageArray
from accelir.network import IRNetwork
from accelir.profiling.controls import control_estimate
from accelir.profiling.estimate import Estimate
from accelir.profiling.profile import Profile
from accelir.profiling.sensitivity import measure_sensitivity
from accelir.variants import least_costly

SETS = ("Kodak24", "Set14", "BSD100")
LAMBDAS = (0.25, 0.5, 1.0, 2.0)
"""Of the control that has the profile's options: how its lambda is to that of the profile."""

SUBSAMPLING = {"sr": "auto", "denoise": "420", "deblur": "420"}
"""Of our files: whole chroma is for networks that enlarge."""

Peer = Callable[[ImageArray, int], bytes]


def mozjpeg(image: ImageArray, quality: int, table: int, subsampling: str = "on") -> bytes:
    """The smaller of its baseline and progressive files: trellis, overshoot deringing, optimised codes and scans."""
    import pyvips

    picture = pyvips.Image.new_from_array(image)
    save = functools.partial(
        picture.jpegsave_buffer,
        Q=quality,
        quant_table=table,
        trellis_quant=True,
        overshoot_deringing=True,
        optimize_coding=True,
        subsample_mode=subsampling,
        keep="none",
    )
    return min(save(), save(interlace=True, optimize_scans=True), key=len)


def jpegli(image: ImageArray, quality: int) -> bytes:
    """The only file that its binding writes: 4:2:0, baseline, optimised codes; gray as colour."""
    import pyjpegli

    colour = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    return bytes(pyjpegli.encode(np.ascontiguousarray(colour), colour.shape[1], colour.shape[0], quality))


def pillow(image: ImageArray, quality: int) -> bytes:
    """Its file in 4:4:4; in 4:2:0 it is what sets the budget."""
    stream = io.BytesIO()
    # Noise takes more room at the highest qualities than Pillow reckons with.
    ImageFile.MAXBLOCK = max(ImageFile.MAXBLOCK, 2 * image.size)
    Image.fromarray(image).save(stream, "JPEG", quality=quality, optimize=True, subsampling=0)
    return stream.getvalue()


WHOLE = "-444"
"""What the name of an encoder ends in where it keeps the chroma whole."""

# mozjpeg's own default; libvips' is table 0.
TABLES = {"mozjpeg": 3, "mozjpeg-flat": 1, "mozjpeg-psnr-hvs": 4}
PEERS: dict[str, Peer] = {
    f"pillow{WHOLE}": pillow,
    **{name: functools.partial(mozjpeg, table=table) for name, table in TABLES.items()},
    **{name + WHOLE: functools.partial(mozjpeg, table=table, subsampling="off") for name, table in TABLES.items()},
    "jpegli": jpegli,
}


def main(
    data_folder: Annotated[Path, typer.Argument(help="Holds bench/ and kernels/blur_kernels.npz.")],
    task: Annotated[str | None, typer.Option(help="sr, denoise or deblur; all by default.")] = None,
    set_names: Annotated[list[str] | None, typer.Option("--set", help=f"Of {', '.join(SETS)}; all by default.")] = None,
    networks: Annotated[list[str] | None, typer.Option(help="Names; by default those of width 16.")] = None,
    images: Annotated[int | None, typer.Option(help="How many photographs of each set; all by default.")] = None,
    peers: Annotated[
        list[str] | None,
        typer.Option(help=f"Of {', '.join(PEERS)}, beside Pillow in 4:2:0, or none; all by default."),
    ] = None,
    measured: Annotated[bool, typer.Option(help="Measured sensitivity too.")] = False,
    guided: Annotated[
        int | None,
        typer.Option(help="Instead of the controls, files guided by the clean original: passes of the network."),
    ] = None,
    process: Annotated[str, typer.Option(help="Of our files: smaller (as mozjpeg's), baseline or progressive.")] = (
        "smaller"
    ),
    subsampling: Annotated[
        str | None, typer.Option(help="Of our files: auto, 420 or 444; by default auto for sr, 420 for the others.")
    ] = None,
    shard: Annotated[str, typer.Option(help="i/n: every n-th photograph from the i-th on, from 0.")] = "0/1",
    output: Annotated[Path, typer.Option()] = Path("benchmarks/results/peers.json"),
) -> None:
    check_mozjpeg()
    chosen = {name: PEERS[name] for name in peers or PEERS if name != "none"}
    sets = {name: pictures(data_folder, images, name) for name in set_names or SETS}
    blur = kernels(data_folder)
    jobs = {}
    for name, job in each_task(task):
        jobs[name] = (job, [net for net in family(job.family, networks) if networks or net.width == 16])
    settings = {
        "sets": {name: [path.name for path in paths] for name, paths in sets.items()},
        "jobs": {name: {"qualities": job.qualities, "plain": job.plain} for name, (job, _) in jobs.items()},
        "networks": fingerprints(net for _, members in jobs.values() for net in members),
        "measured": measured,
        **({"plain_mse": PLAIN_MSE} if guided is None else {"guided": guided}),
        "process": process,
        "subsampling": {name: subsampling or SUBSAMPLING[name] for name in jobs},
        "peers": ["pillow", *chosen],
        "peer_versions": {name: importlib.metadata.version(name) for name in ("pyvips-binary", "pyjpegli")},
        "peer_scores": "at the budget, linear in log(bytes) between the settings just below and just above it",
        "psnr": "RGB, 0..255, no border",
        "ssim": "luma (BT.601), 11x11 Gaussian window, sigma 1.5, windows inside the image",
    }
    command = shown_command(
        "peers.py", output, task=task, set=set_names, networks=networks, images=images, peers=peers, measured=measured,
        guided=guided, process=process if process != "smaller" else None,
        subsampling=subsampling,
    )  # fmt: skip
    results, part, parts = of_shard(shard, output, settings, command)
    work = [
        (name, set_name, index, path)
        for name in jobs
        for set_name, paths in sets.items()
        for index, path in enumerate(paths)
        if index % parts == part
    ]
    with progress() as bar:
        running = bar.add_task("", total=len(work))
        for name, set_name, index, path in work:
            bar.update(running, description=f"{name}, {set_name}, {path.name}")
            job, members = jobs[name]
            key = {"task": name, "set": set_name, "image": path.name}
            missing = [net for net in members if not results.has(**key, network=net.name)]
            if missing:
                picture = Picture(Measured(members[0], path, index, blur), job, process, settings["subsampling"][name])
                for net in missing:
                    rows = measure(picture, net, chosen, measured, guided)
                    results.add(key | {"network": net.name, "qualities": rows})
            bar.advance(running)
    if parts == 1:
        results.summary = [
            overview(results.records, name, net.name, set_name, quality)
            for name, (job, members) in jobs.items()
            for net in members
            for set_name in sets
            for quality in job.qualities
        ]
        results.write()
        for row in results.summary:
            typer.echo(line(row))


def check_mozjpeg() -> None:
    """Whether libvips obeys: built with libjpeg-turbo it takes mozjpeg's options and ignores them."""
    import pyvips

    noise = pyvips.Image.gaussnoise(64, 64, mean=128, seed=1).cast("uchar")
    if noise.jpegsave_buffer(optimize_coding=True) == noise.jpegsave_buffer(optimize_coding=True, trellis_quant=True):
        raise SystemExit("This libvips has no mozjpeg: pip install 'accelir[peers]'.")


class Way(NamedTuple):
    """A codec whose options leave nothing open, and what it goes by."""

    codec: accelir.Codec
    estimate: Estimate


class Picture:
    """One input of one task: what does not depend on the budget is made once, and what does not on the network too.

    Args:
        shared: Restores.
        job: Names the options of the plain-MSE control.
        process: Of our files.
        subsampling: Of our files.
    """

    def __init__(self, shared: Measured, job: Job, process: str, subsampling: str) -> None:
        self.shared = shared
        self.job = job
        self.peer = functools.cache(lambda name, quality: PEERS[name](shared.image, quality))
        self._codec = functools.partial(accelir.codec, "jpeg", process=process, subsampling=subsampling)
        self._plain: dict[int, Estimate] = {}

    def ours(self, network: IRNetwork, profile: Profile, measured: bool, controls: bool) -> dict[str, list[Way]]:
        """The ways among which each arm of ours chooses."""
        image = self.shared.image
        own = profile.options(image)
        arms = {"profile": [Way(codec, profile.predict(image, codec)) for codec in self._variants(own)]}
        if measured:
            arms["measured"] = [
                Way(codec, replace(predicted, sensitivity=measure_sensitivity(codec, network, image)))
                for codec, predicted in arms["profile"]
            ]
        if not controls:
            return arms
        for options in self.job.plain:
            arms[f"plain-mse {json.dumps(options)}"] = self._controls(options, network)
        # All that was tuned for the network but the sensitivities, and one level for all blocks, which is best for
        # squared error: lambda is tried on either side.
        for factor in LAMBDAS:
            options = {**own, "trust": 0.0, "rdo": factor * own["rdo"]}
            arms[f"own options, lambda x {factor:g}"] = self._controls(options, network)
        return arms

    def file(self, network: IRNetwork, ways: list[Way], budget: int) -> bytes:
        """That of the best of some ways, as `accelir.encode` chooses."""
        image, asked = self.shared.image, {"network": network, "budget": accelir.Bytes(budget)}
        found = []
        for way in ways:
            try:
                found.append((way, accelir.encode(image, **asked, **way._asdict())))
            except accelir.BudgetError:
                # Whole chroma may not go into so little.
                if not found and way is ways[-1]:
                    raise
        files = [(way.codec, way.estimate.sensitivity, encoded) for way, encoded in found]
        return files[least_costly(files, image)][2].data

    def guided(self, network: IRNetwork, profile: Profile, budget: int, passes: int) -> bytes:
        """The file that follows the clean original."""
        return accelir.encode(
            self.shared.image, network=network, codec=self._codec(), budget=accelir.Bytes(budget), profile=profile,
            reference=self.shared.reference, passes=passes,
        ).data  # fmt: skip

    def _variants(self, options: dict[str, Any]) -> Sequence[accelir.Codec]:
        return self._codec().tuned(options).variants(self.shared.image)

    def _controls(self, options: dict[str, Any], network: IRNetwork) -> list[Way]:
        found = []
        for codec in self._variants(options):
            # With one level for all blocks, curves only say where the search for a size begins.
            block = codec.block(self.shared.image)
            if block not in self._plain:
                self._plain[block] = control_estimate("uniform", codec, network, self.shared.image, None)
            found.append(Way(codec, self._plain[block]))
        return found


def measure(
    picture: Picture, network: IRNetwork, peers: dict[str, Peer], measured: bool, guided: int | None
) -> list[dict[str, Any]]:
    """All arms of one network on one picture, at each quality."""
    shared = picture.shared
    profile = accelir.profile_for("jpeg", network)
    arms = picture.ours(network, profile, measured, controls=guided is None)
    rows = []
    for quality in picture.job.qualities:
        started = time.perf_counter()
        budget = len(shared.usual(quality))
        sizes, scores = {"pillow": budget}, {"pillow": shared.score(network, shared.usual(quality))}
        files = {arm: picture.file(network, ways, budget) for arm, ways in arms.items()}
        if guided is not None:
            files["guided"] = picture.guided(network, profile, budget, guided)
        for arm, data in files.items():
            if len(data) > budget:
                raise SystemExit(f"{arm} took {len(data)} bytes of {budget}")
            sizes[arm], scores[arm] = len(data), shared.score(network, data)
        brackets = {}
        for name in peers:
            found = straddle(lambda setting, name=name: len(picture.peer(name, setting)), budget, 1, 100)
            files = {setting: picture.peer(name, setting) for setting in found}
            around = [(len(data), shared.score(network, data)) for data in files.values()]
            scores[name] = Score(
                at_budget(budget, [(size, score.psnr) for size, score in around]),
                at_budget(budget, [(size, score.ssim) for size, score in around]),
            )
            brackets[name] = [
                [setting, size, round(score.psnr, 5), round(score.ssim, 6)]
                for setting, (size, score) in zip(files, around, strict=True)
            ]
        rows.append(
            {
                "quality": quality,
                "bytes": sizes,
                "psnr": {arm: round(score.psnr, 5) for arm, score in scores.items()},
                "ssim": {arm: round(score.ssim, 6) for arm, score in scores.items()},
                "peer_settings": brackets,
                "seconds": round(time.perf_counter() - started, 2),
            }
        )
    return rows


def overview(records: list[dict[str, Any]], task: str, network: str, set_name: str, quality: int) -> dict[str, Any]:
    """Means and spread over the pictures; plain-MSE at the options that are best for it on these very pictures."""
    rows = [
        row
        for record in records
        if (record["task"], record["network"], record["set"]) == (task, network, set_name)
        for row in record["qualities"]
        if row["quality"] == quality
    ]
    arms = list(rows[0]["psnr"])
    ours = [arm for arm in ("profile", "measured", "guided") if arm in arms]
    encoders = ["pillow", *rows[0]["peer_settings"]]
    # Each with the chroma halved or whole, as is better for it on the picture.
    peers = [name for name in encoders if not name.endswith(WHOLE)]

    def theirs(row: dict[str, Any], metric: str, peer: str) -> float:
        own = [row[metric][name] for name in (peer, peer + WHOLE) if name in row[metric]]
        return float(max(own))

    def over_peer(metric: str, arm: str, peer: str) -> dict[str, Any]:
        return summarise([row[metric][arm] - theirs(row, metric, peer) for row in rows]).model_dump()

    def gain(metric: str, arm: str, over: str) -> dict[str, Any]:
        return summarise([row[metric][arm] - row[metric][over] for row in rows]).model_dump()

    def over_best(metric: str, arm: str) -> dict[str, Any]:
        best = [max(row[metric][name] for name in encoders) for row in rows]
        return summarise([row[metric][arm] - other for row, other in zip(rows, best, strict=True)]).model_dump()

    def best_of(kind: str) -> str:
        return max((arm for arm in arms if arm.startswith(kind)), key=lambda arm: mean(rows, "psnr", arm))

    found = {
        "task": task,
        "network": network,
        "set": set_name,
        "quality": quality,
        "psnr": {arm: round(mean(rows, "psnr", arm), 4) for arm in arms},
        "ssim": {arm: round(mean(rows, "ssim", arm), 5) for arm in arms},
        "gain_over_peers": {peer: over_peer("psnr", "profile", peer) for peer in peers},
        "ssim_gain_over_peers": {peer: over_peer("ssim", "profile", peer) for peer in peers},
        "gain_over_best_peer": over_best("psnr", "profile"),
    }
    if "guided" in ours:
        return found | {
            "guided_gain_over_peers": {peer: over_peer("psnr", "guided", peer) for peer in peers},
            "guided_ssim_gain_over_peers": {peer: over_peer("ssim", "guided", peer) for peer in peers},
            "guided_gain_over_best_peer": over_best("psnr", "guided"),
        }
    plain, own = best_of("plain-mse"), best_of("own options")
    return found | {
        "plain_mse_options": json.loads(plain.partition(" ")[2]),
        "gain_over_plain_mse": {arm: gain("psnr", arm, plain) for arm in ours},
        "own_options_lambda": own.rpartition(" ")[2],
        "gain_over_own_options": {arm: gain("psnr", arm, own) for arm in ours},
        "ssim_gain_over_plain_mse": {arm: gain("ssim", arm, plain) for arm in ours},
    }


def line(row: dict[str, Any]) -> str:
    """What a row of the summary says at a glance, in dB."""
    lines = [f"{row['network']}, {row['set']}, quality {row['quality']}, {row['gain_over_best_peer']['count']} images"]
    for of in ("", "guided_"):
        if f"{of}gain_over_peers" in row:
            peers = ", ".join(f"{peer} {gain['mean']:+.3f}" for peer, gain in row[f"{of}gain_over_peers"].items())
            share = 100 * row[f"{of}gain_over_best_peer"]["share_better"]
            lines.append(f"  {of.strip('_') or 'ours'} over {peers}; over the best on {share:.0f} % of the images")
    for control, said in (
        ("gain_over_plain_mse", "plain MSE"),
        ("gain_over_own_options", "plain MSE with the profile's options"),
    ):
        if control in row:
            gains = ", ".join(
                f"{arm} {gain['mean']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"
                for arm, gain in row[control].items()
            )
            lines.append(f"  over {said}: {gains}")
    return "\n".join(lines)


def mean(rows: list[dict[str, Any]], metric: str, arm: str) -> float:
    return sum(row[metric][arm] for row in rows) / len(rows)


if __name__ == "__main__":
    typer.run(main)
