"""Write docs/zoo.md and its plot from the records beside the weights: python benchmarks/zoo_cards.py [--check].

Times come from benchmarks/results/restore_speed.json. The plot needs matplotlib: ``pip install --group plots``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

import accelir
from accelir.network import IRNetwork

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "zoo.md"
PLOT = ROOT / "docs" / "pictures" / "zoo.svg"
SPEED = ROOT / "benchmarks" / "results" / "restore_speed.json"
WEIGHTS = ROOT / "src" / "accelir_plugins" / "weights"

TASKS = {
    "sr-x4": ("Super-resolution by 4", ("clean", "q50", "q75", "q90")),
    "sr-x2": ("Super-resolution by 2", ("clean", "q50", "q75", "q90")),
    "denoise-s25": ("Noise of sigma 25", ("clean", "q10", "q20", "q40")),
    "denoise-s0to55": ("Noise up to sigma 55", ("clean", "q10", "q20", "q40")),
    "deblur": ("Camera shake", ("clean", "q50", "q75", "q90")),
}


@dataclass(frozen=True)
class Published:
    """What the literature states for a network of this kind.

    Attributes:
        psnr: In dB: of Set5's luma for super-resolution, of Kodak24's RGB for noise.
        of: Which network, and where it says so.
    """

    psnr: float
    of: str


PUBLISHED = {
    "edsr-x4-f64": Published(32.09, "EDSR baseline of 16 blocks (of Lim et al. 2017, as later papers state it)"),
    "fsrcnn-x4-f56": Published(30.71, "FSRCNN (Dong et al. 2016, as Ahn et al. 2018 state it)"),
    "carn-x4-f64": Published(31.92, "CARN-M (Ahn et al. 2018)"),
    "span-x4-f48": Published(32.20, "SPAN (Wan et al. 2024)"),
    "swinir-x4-f60": Published(32.44, "lightweight SwinIR (Liang et al. 2021)"),
    "edsr-x2-f64": Published(37.99, "EDSR baseline of 16 blocks (of Lim et al. 2017, as later papers state it)"),
    "dncnn-s25-f64": Published(32.14, "colour DnCNN of 20 layers (Zhang et al. 2017, as later papers state it)"),
    "restormer-s25-f24": Published(33.04, "Restormer of 26 million parameters (Zamir et al. 2022)"),
}

OTHER_BLURS = {"kodak24_unseen_psnr_rgb": "unseen", "kodak24_sharp_psnr_rgb": "sharp"}
"""Scores of a record against blur, and the name of their columns."""

NOTES = {
    "deblur": """Kodak24 is blurred here by the 20 kernels of the bench data. Of what the networks were last
trained on 45 % was blurred by these very kernels, 45 % by random trajectories of a camera, and a tenth not at all: they
know the kernels far better than anything else. *Unseen* is Kodak24 blurred by trajectories that no training has shown
(but the first, which is one of 4,096 on the GPU), the input and what is restored of it, and is what to expect of a
photograph of yours: little gain. *Sharp* is Kodak24 with slight noise and no blur.

""",
    "denoise-s0to55": """Each picture has noise of a strength of its own, drawn evenly from 0 to 55.

""",
}
"""After the table of a task."""

HEAD = """# The zoo

<!-- Written by benchmarks/zoo_cards.py from the records beside the weights; edit that. -->

Every network that ships: how large, how fast, how well it restores. PSNR is in dB over RGB, mean of Kodak24, of clean
inputs and of inputs stored by Pillow's JPEG at the quality in the column's name; *input* is the clean input itself,
which for super-resolution is enlarged by Pillow's bicubic. *Set5 Y* is of the luma of Set5, with as many pixels left
out at the border as the scale has. MACs are multiply-accumulates for a megapixel of output, each of two FLOPs.
Milliseconds are for a megapixel of output too, by `restore()` on {machine}.
Weights are {megabytes:.1f} MB in all, in half precision, under {licence}.

Which one? For super-resolution SPAN restores most for its work, and FSRCNN takes the least; SwinIR trains slowly, and
with the hours that it had here does not repay its work. Against noise Restormer restores most, also for its
operations, but takes far longer for them than DnCNN. EDSR by 2 gains next to nothing by width. The
networks against camera shake are for measuring only, see [there](#camera-shake).

![PSNR over multiply-accumulates](pictures/zoo.svg)

"""

TRAINED = """
## How they were trained

On photographs of open licences (public domain, CC0, CC-BY, CC-BY-SA, Unsplash, and of packages under GPL and LGPL),
none of which is in any set reported on. For super-resolution and against noise a quarter of the inputs stay clean (or
as many as the table says), and the others go through a JPEG of random quality and manner, so that no encoder is
favoured. Against camera shake a network from scratch sees clean inputs only for 60 % of its training (the first of
`nafnet-deblur-f16`: 70 %), and in the rest 45 % go through such a JPEG; where a network that deblurs went on, 56 %
did, and in six trainings of `nafnet-deblur-f16` and those that began with its weights only over their last quarter.
From commit 2377878 on, nothing blurs a tenth of the inputs and random trajectories half of the others; before, they
blurred an eighth, and nothing was sharp. The first training of `nafnet-deblur-f8` was interrupted halfway. Where 137
of the 162 photographs are named, no more of them went to the machine.
A GPU makes its batches itself: the same mixture, with libjpeg's arithmetic in floating point. Where a machine is
named, up to ten networks were trained on it at a time.

The record beside the weights of each network (`src/accelir_plugins/weights/NAME.json`) holds the commands that made it,
one for each row here; where it says *by the clock*, the steps are those that went into the time. `python
benchmarks/train_zoo.py DATA NAME` alone goes by `benchmarks/zoo_jobs.py`, whose steps are others for some of them.
The oldest rows go by what was the default then (optimiser and steps stand here), and name no commit.
`accelir train` is the same loop and optimiser for photographs of yours, with inputs stored as real files instead of
this mixture and steps of its own.

| network | steps | batch x side | rate | loss | optimiser | started from | minutes | data |
|---|---|---|---|---|---|---|---|---|
"""

GAP = """
## Against the literature

From clean inputs. The published networks saw clean inputs only, and days on a GPU; ours see compressed inputs too, and
minutes to a few hours on two cores or a share of a GPU. What else differs, and could close the gap: more steps, more
photographs, clean inputs alone, and the published depth (EDSR has half of its blocks here, DnCNN 12 of 20 layers,
Restormer a third of its blocks). NAFNet (4 of 28 encoder blocks at the fourth scale here) and MIMO-UNet (2 of 8 blocks
in each stage, no loss in frequency) have no published figure for these blurs.

| network | measure | here | published | gap | of |
|---|---|---|---|---|---|
"""


def main(check: Annotated[bool, typer.Option(help="Only tell whether the page is up to date.")] = False) -> None:
    records = [json.loads(path.read_text()) for path in sorted(WEIGHTS.glob("*.json"))]
    fresh = page(records)
    if check:
        raise typer.Exit(int(not PAGE.exists() or fresh != PAGE.read_text()))
    PAGE.write_text(fresh)
    draw(records)


def page(records: list[dict[str, Any]]) -> str:
    """The whole page."""
    speed = json.loads(SPEED.read_text()) if SPEED.exists() else {"records": [], "settings": {}}
    times = {record["network"]: record["milliseconds_per_megapixel"] for record in speed["records"]}
    text = HEAD.format(
        machine=_machine(speed["settings"]),
        megabytes=sum(path.stat().st_size for path in WEIGHTS.glob("*.safetensors")) / 1e6,
        licence=" and ".join(sorted({record["licence"] for record in records})),
    )
    for task, (title, columns) in TASKS.items():
        members = [record for record in records if record["task"] == task]
        if members:
            text += f"## {title}\n\n" + "\n".join(_table(members, columns, times)) + "\n\n" + NOTES.get(task, "")
    text += GAP.lstrip("\n") + "\n".join(_gaps(records)) + "\n"
    text += TRAINED + "\n".join(_trainings(records)) + "\n"
    remarks = list(_remarks(records))
    return text + ("\n" + "\n".join(remarks) + "\n" if remarks else "")


def _table(members: list[dict[str, Any]], columns: tuple[str, ...], times: dict[str, float]) -> Iterator[str]:
    set5 = any("set5_psnr_y" in record for record in members)
    others = [key for key in OTHER_BLURS if any(key in record for record in members)]
    names = ["network", "parameters", "GMACs", "ms", "input", *columns, *(["Set5 Y, clean"] if set5 else [])]
    for key in others:
        names += [f"{OTHER_BLURS[key]} input", OTHER_BLURS[key]]
    yield f"| {' | '.join(names)} |"
    yield "|---" * len(names) + "|"
    for record in sorted(members, key=_order):
        name, scores = record["name"], record["kodak24_psnr_rgb"]
        params, macs = cost(accelir.network(name))
        cells = [f"`{name}`", f"{params:,}", f"{macs / 1e9:.3g}", f"{times[name]:.0f}" if name in times else ""]
        cells += [f"{scores[key]:.2f}" for key in ("untouched", *columns)]
        cells += [f"{record['set5_psnr_y']['clean']:.2f}"] if set5 else []
        for key in others:
            cells += [f"{record[key][part]:.2f}" if key in record else "" for part in ("untouched", "clean")]
        yield f"| {' | '.join(cells)} |"


def _gaps(records: list[dict[str, Any]]) -> Iterator[str]:
    for record in sorted(records, key=_order):
        known = PUBLISHED.get(record["name"])
        if known is None:
            continue
        luma = record.get("set5_psnr_y")
        measure, here = ("Set5 Y", luma["clean"]) if luma else ("Kodak24 RGB", record["kodak24_psnr_rgb"]["clean"])
        cells = [
            f"`{record['name']}`",
            measure,
            f"{here:.2f}",
            f"{known.psnr:.2f}",
            f"{here - known.psnr:+.2f}",
            known.of,
        ]
        yield f"| {' | '.join(cells)} |"


def _trainings(records: list[dict[str, Any]]) -> Iterator[str]:
    for record in sorted(records, key=_order):
        for stage in reversed(list(_stages(record))):
            recipe = stage["recipe"]
            cells = [
                f"`{record['name']}`",
                f"{recipe['steps']:,}",
                f"{recipe['batch']} x {recipe['patch']}",
                f"{recipe['learning_rate']:g}",
                recipe["loss"],
            ]
            minutes = f"{stage['seconds'] / 60:.0f}" + (f", {stage['machine']}" if "machine" in stage else "")
            minutes += ", by the clock" if "schedule" in stage else ""
            cells += [recipe.get("optimiser", "adam"), _start(stage), minutes]
            cells += [stage["data"].partition(";")[0]]
            yield f"| {' | '.join(cells)} |"


def _remarks(records: list[dict[str, Any]]) -> Iterator[str]:
    for record in sorted(records, key=_order):
        for stage in reversed(list(_stages(record))):
            if "remark" in stage:
                yield f"- `{record['name']}`, the {stage['recipe']['steps']:,} steps: {stage['remark']}"


def _stages(record: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield record
    if "continues" in record:
        yield from _stages(record["continues"])


def _start(stage: dict[str, Any]) -> str:
    return "itself" if "continues" in stage else (stage["grown_from"] or "")


def _order(record: dict[str, Any]) -> tuple[int, str, int]:
    return list(TASKS).index(record["task"]), record["name"].rsplit("-f", 1)[0], record["width"]


def _machine(settings: dict[str, Any]) -> str:
    known = settings.get("machine")
    if not known:
        return "a machine that has not been measured yet"
    return f"{known['processors']} {known['architecture']} cores in {known['bfloat16'].removeprefix('torch.')}"


def cost(network: IRNetwork) -> tuple[int, int]:
    """Parameters, and multiply-accumulates for a megapixel of output."""
    side = 960 // network.task.scale
    found = network.cost(side, side)
    return found.params, round(found.macs * 1e6 / 960**2)


def draw(records: list[dict[str, Any]]) -> None:
    """The plot: a panel for each task of several networks, a line for each family."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams |= {"svg.hashsalt": "accelir", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False}
    from matplotlib import pyplot
    from matplotlib.ticker import LogLocator, NullFormatter

    shown = {"sr-x4": "q75", "denoise-s25": "q20", "deblur": "q75"}
    figure, panels = pyplot.subplots(1, len(shown), figsize=(11, 3.8), layout="constrained")
    for panel, (task, quality) in zip(panels, shown.items(), strict=True):
        families: dict[str, list[dict[str, Any]]] = {}
        # Of lines that lie close the labels go to different sides.
        above: dict[str, bool] = {}
        for record in sorted(records, key=_order):
            if record["task"] == task:
                families.setdefault(record["name"].rsplit("-f", 1)[0], []).append(record)
        for family, members in families.items():
            flops = [2 * cost(accelir.network(record["name"]))[1] / 1e9 for record in members]
            scores = [record["kodak24_psnr_rgb"][quality] for record in members]
            (line,) = panel.plot(flops, scores, "o-", markersize=4, label=family)
            for x, y, record in zip(flops, scores, members, strict=True):
                panel.annotate(
                    f"f{record['width']}",
                    (x, y),
                    (-4, 4) if above.setdefault(family, len(above) % 2 == 1) else (4, -9),
                    textcoords="offset points",
                    fontsize=7,
                    color=line.get_color(),
                    horizontalalignment="right" if above[family] else "left",
                )
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(lambda flops, _: f"{flops:g}")
        panel.margins(x=0.08)
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_title(f"{TASKS[task][0]}, JPEG of quality {quality[1:]}")
        panel.set_xlabel("GFLOPs for a megapixel of output")
        panel.grid(alpha=0.25, which="both")
        panel.spines["right"].set_visible(False)
        panel.legend(frameon=False, loc="lower right")
    panels[0].set_ylabel("PSNR of Kodak24 in dB (RGB)")
    figure.savefig(PLOT, metadata={"Date": None})


if __name__ == "__main__":
    typer.run(main)
