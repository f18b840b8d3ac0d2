"""Write the measured figures into the pages: python benchmarks/tables.py [--check].

A page names the tables that it wants in a mark, ``<!-- tables: quality flops -->``; what stands from there to the mark
that ends them is written anew from the files in benchmarks/results/.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer
from captions import (
    CONTROLS,
    FLOPS,
    FORMATS,
    GUIDED,
    GUIDED_PEERS,
    PEERS,
    QUALITY,
    SIMILARITY,
    TAUGHT,
    TIME,
    TIME_BESIDE,
)
from common import fingerprints, job

import accelir

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "docs" / "results.md")
MARKED = re.compile(r"(?<=<!-- tables: )([a-z -]+) -->\n.*?(?=<!-- end of tables -->)", re.DOTALL)
TASKS = {"sr": "super-resolution x4", "denoise": "denoising, sigma 25", "deblur": "deblurring"}


def main(check: Annotated[bool, typer.Option(help="Only tell whether the pages are up to date.")] = False) -> None:
    made = tables()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if not text.count("<!-- tables:") == text.count("<!-- end of tables -->") == len(MARKED.findall(text)) > 0:
            raise SystemExit(f"{page.name} has a mark for tables without its end, or none.")
        fresh = MARKED.sub(lambda mark: f"{mark[1]} -->\n" + _written([made[name] for name in mark[1].split()]), text)
        if check and fresh != text:
            raise typer.Exit(1)
        page.write_text(fresh, encoding="utf-8")


FORMAT_NAMES = {"jpeg": "JPEG", "webp": "WebP", "heic": "HEIC", "avif": "AVIF"}
OTHERS = ("pillow", "mozjpeg", "mozjpeg-flat", "mozjpeg-psnr-hvs", "jpegli")


EARLIER = "†"
OTHER_PROFILE = "‡"
LEVELS = "§"
NOTES = {
    EARLIER: "Measured before networks of this family were trained again, or computed otherwise.",
    OTHER_PROFILE: "Of files by the profile that this network had before the present one.",
    LEVELS: "Held against plain MSE with a level for each block, which is a weaker control than one level for all.",
}


def tables() -> dict[str, str]:
    """Each table by name, and as ``commands`` those that made their figures."""
    used: dict[str, None] = {}

    def table(head: str, rows: Callable[..., list[str]], files: Iterable[tuple[str, tuple[str, ...]]]) -> str:
        """One row or more for each file of results that is there; ``rows`` is called with its key and what it holds."""
        body = []
        for name, key in files:
            found = _load(f"{name}.json")
            if found:
                used.setdefault(found["command"])
                body += rows(*key, found)
        return head + "\n".join(body) + "\n"

    def by_task(name: str) -> list[tuple[str, tuple[str, ...]]]:
        """A family may be measured network by network: sr.json, and sr_f64.json beside it."""
        return [
            (path.stem, (task,))
            for task in TASKS
            for path in (
                RESULTS / f"{name.format(task)}.json",
                *sorted(RESULTS.glob(f"{name.format(task)}_*.json")),
            )
        ]

    flops = [
        (f"{name}_{task}", (codec, task))
        for codec, name in (("jpeg", "flops"), ("webp", "flops_webp"))
        for task in TASKS
    ]
    formats = [(f"{codec}_{task}", (codec, task)) for codec in ("webp", "heic", "avif") for task in TASKS]
    guided: list[tuple[str, tuple[str, ...]]] = [(path.stem, ()) for path in sorted(RESULTS.glob("guided_*.json"))]
    made = {
        "quality": table(QUALITY, _quality_rows, by_task("{}")),
        "flops": table(FLOPS, _flops_rows, flops),
        "peers": table(PEERS, _peer_rows, by_task("peers_{}")),
        "ssim": table(SIMILARITY, _similarity_rows, by_task("peers_{}")),
        "controls": table(CONTROLS, _control_rows, by_task("peers_{}")),
        "formats": table(FORMATS, _format_rows, formats),
        "guided": table(GUIDED, _guided_rows, guided),
        "taught": table(TAUGHT, _taught_rows, by_task("taught_{}")),
        "guided-peers": table(GUIDED_PEERS, _guided_peer_rows, by_task("peers_guided_{}")),
        "time": table(TIME, _time_rows, [("speed", ())]),
    }
    return made | {"commands": "\n```sh\n" + "\n".join(used) + "\n```\n"}


def _written(parts: list[str]) -> str:
    """Tables one below the other, and what the marks in them mean."""
    text = "".join(parts)
    return text + "".join(f"\n{mark} {note}\n" for mark, note in NOTES.items() if mark in text) + "\n"


def _load(name: str) -> dict[str, Any] | None:
    """A finished measurement."""
    path = RESULTS / name
    found: dict[str, Any] | None = json.loads(path.read_text()) if path.exists() else None
    return found if found and found["summary"] else None


def _quality_rows(task: str, found: dict[str, Any]) -> list[str]:
    rows = []
    for network in dict.fromkeys(row["network"] for row in found["summary"]):
        mine = [row for row in found["summary"] if row["network"] == network]
        gains = [row["gain_over_pillow"]["profile"] for row in mine]
        plain = [row["gain_over_pillow"].get("plain-mse") for row in mine]
        saved = [row["bytes_saved"]["profile"]["mean"] for row in mine]
        mean, low, high = _spread(found, network)
        cells = [
            TASKS[task],
            _named(found, network),
            " / ".join(f"{gain['mean']:+.2f}" for gain in gains),
            f"{mean:+.2f} ({low:+.2f} to {high:+.2f})",
            _percent(saved),
            " / ".join("-" if item is None else f"{item['mean']:+.2f}" for item in plain) + _weaker(found),
        ]
        rows.append(_row(cells))
    return rows


def _format_rows(codec: str, task: str, found: dict[str, Any]) -> list[str]:
    rows = []
    for network in dict.fromkeys(row["network"] for row in found["summary"]):
        mine = [row for row in found["summary"] if row["network"] == network]
        mean, low, high = _spread(found, network)
        cells = [
            FORMAT_NAMES[codec],
            TASKS[task],
            _named(found, network),
            str(mine[0]["gain_over_pillow"]["profile"]["count"]),
            " / ".join(str(row["quality"]) for row in mine),
            " / ".join(f"{row['gain_over_pillow']['profile']['mean']:+.2f}" for row in mine),
            f"{mean:+.2f} ({low:+.2f} to {high:+.2f})",
            _percent([row["bytes_saved"]["profile"]["mean"] for row in mine]),
            " / ".join(f"{row['gain_over_pillow']['uniform']['mean']:+.2f}" for row in mine),
        ]
        rows.append(_row(cells))
    return rows


def _spread(found: dict[str, Any], network: str) -> tuple[float, float, float]:
    """Mean, smallest and largest over the images of the mean gain over the qualities."""
    gains = []
    for record in found["records"]:
        if record["network"] == network:
            rows = record["qualities"]
            gains.append(sum(row["psnr"]["profile"] - row["psnr"]["pillow"] for row in rows) / len(rows))
    return sum(gains) / len(gains), min(gains), max(gains)


def _flops_rows(codec: str, task: str, found: dict[str, Any]) -> list[str]:
    rows = found["summary"]
    saved = [row["saved"]["mean"] for row in rows]
    losing = [row["saved_by_losing"]["mean"] for row in rows]
    cells = [
        FORMAT_NAMES[codec],
        TASKS[task],
        _named(found, rows[0]["heavy"], found["settings"]["networks"]),
        _percent(saved),
        _percent([sum(saved) / len(saved)]),
        _percent(losing),
        _percent([row["share_reached"] for row in rows]),
    ]
    return [_row(cells)]


def _peer_rows(task: str, found: dict[str, Any]) -> list[str]:
    rows = []
    for (network, bench_set), mine in _by(found, "network", "set"):
        cells = [
            TASKS[task],
            _named(found, network),
            bench_set,
            *_means(mine, "gain_over_peers", OTHERS[1:]),
            _percent([row["gain_over_best_peer"]["share_better"] for row in mine]),
            _intervals([row["gain_over_plain_mse"]["profile"] for row in mine]) + _weaker(found),
            _kept([row["gain_over_plain_mse"] for row in mine]),
        ]
        rows.append(_row(cells))
    return rows


def _kept(gains: list[dict[str, dict[str, float]]]) -> str:
    """What prediction keeps of the gain that measured sensitivities have, in per cent."""
    measured = [gain.get("measured", {"mean": 0.0, "low": 0.0}) for gain in gains]
    kept = [
        f"{100 * gain['profile']['mean'] / most['mean']:.0f}" if most["low"] > 0 else "-"
        for gain, most in zip(gains, measured, strict=True)
    ]
    return " / ".join(kept) + " %" if set(kept) != {"-"} else "-"


def _weaker(found: dict[str, Any]) -> str:
    """The mark of files whose plain-MSE control is not the strongest."""
    return "" if "plain_mse" in found["settings"] else f" {LEVELS}"


def _similarity_rows(task: str, found: dict[str, Any]) -> list[str]:
    rows = []
    for (network, bench_set), mine in _by(found, "network", "set"):
        gains = [
            " / ".join(f"{1000 * row['ssim_gain_over_peers'][peer]['mean']:+.1f}" for row in mine) for peer in OTHERS
        ]
        rows.append(_row([TASKS[task], _named(found, network), bench_set, *gains]))
    return rows


def _guided_peer_rows(task: str, found: dict[str, Any]) -> list[str]:
    rows = []
    for (network, bench_set), mine in _by(found, "network", "set"):
        cells = [
            TASKS[task],
            _named(found, network),
            f"{bench_set} ({mine[0]['guided_gain_over_best_peer']['count']})",
            str(found["settings"]["guided"]),
            *_means(mine, "guided_gain_over_peers", OTHERS),
            _percent([row["guided_gain_over_best_peer"]["share_better"] for row in mine]),
        ]
        gains = [_gains(found, "guided", "profile", row) for row in mine]
        cells += [" / ".join(f"{pick(each):+.2f}" for each in gains) for pick in (fmean, min)]
        cells.append(" / ".join(f"{100 * (row['ssim']['guided'] - row['ssim']['profile']):+.1f}" for row in mine))
        rows.append(_row(cells))
    return rows


def _gains(found: dict[str, Any], arm: str, over: str, row: dict[str, Any]) -> list[float]:
    """Restored PSNR of an arm over another on each image of a row of the summary."""
    return [
        mine["psnr"][arm] - mine["psnr"][over]
        for record in found["records"]
        if all(record[key] == row[key] for key in ("task", "network", "set"))
        for mine in record["qualities"]
        if mine["quality"] == row["quality"]
    ]


def _control_rows(task: str, found: dict[str, Any]) -> list[str]:
    rows = []
    for (network, bench_set), mine in _by(found, "network", "set"):
        cells = [TASKS[task], _named(found, network), bench_set]
        for control, weaker in (("gain_over_plain_mse", _weaker(found)), ("gain_over_own_options", "")):
            cells.append(_intervals([row[control]["profile"] for row in mine]) + weaker)
        rows.append(_row([*cells, _kept([row["gain_over_own_options"] for row in mine])]))
    return rows


def _guided_rows(found: dict[str, Any]) -> list[str]:
    rows = []
    family = next(row["network"] for row in found["summary"] if row["named"]).rpartition("-f")[0]
    for (arm, network), mine in _by(found, "for", "network"):
        guides = [f"{family}-f{word}" if word.isdigit() else word for word in arm.split(",")]
        cells = [
            TASKS[mine[0]["task"]],
            " and ".join(guides),
            _named(found, network, guides) + ("" if mine[0]["named"] else " (not named)"),
            " / ".join(f"{row['gain']['mean']:+.2f}" for row in mine),
            " / ".join(f"{row['gain']['min']:+.2f}" for row in mine),
            " / ".join(str(row["gain"]["count"]) for row in mine),
            str(found["settings"]["passes"] * len(arm.split(","))),
            " / ".join(
                f"{row['psnr_original'] - row['psnr']['guided']:+.2f}" if "psnr_original" in row else "-"
                for row in mine
            ),
        ]
        rows.append(_row(cells))
    return rows


def _taught_rows(task: str, found: dict[str, Any]) -> list[str]:
    rows = []
    for (light, heavy), mine in _by(found, "network", "teacher"):
        gains = [
            " / ".join(f"{row['gain'][name]['mean']:+.2f}" if name in row["gain"] else "-" for row in mine)
            for name in ("taught by itself", "heavy", "sent restored")
        ]
        cells = [
            TASKS[task],
            _named(found, light),
            _named(found, heavy),
            f"{100 * mine[0]['flops_share']:.0f} %",
            " / ".join(f"{row['gain']['taught']['mean']:+.2f}" for row in mine),
            " / ".join(f"{row['gain']['taught']['min']:+.2f}" for row in mine),
            *gains,
            str(mine[0]["gain"]["taught"]["count"]),
            str(found["settings"]["passes"]),
        ]
        rows.append(_row(cells))
    return rows


def _time_rows(found: dict[str, Any]) -> list[str]:
    def measured(of: str) -> list[dict[str, Any]]:
        return [record for record in found["records"] if record["of"] == of]

    rows = []
    budgets = measured("budget")
    for network, threads in dict.fromkeys((record["network"], record["threads"]) for record in budgets):
        mine = [record for record in budgets if (record["network"], record["threads"]) == (network, threads)]
        task = next(task for task in TASKS if network.startswith(job("jpeg", task).family))
        cells = [
            TASKS[task],
            _named(found, network),
            str(threads),
            " / ".join(f"{record['seconds']:.2f}" for record in mine),
            " / ".join(f"{record['seconds'] / record['mozjpeg_seconds_of_a_pass']:.2f}" for record in mine),
            " / ".join(f"{record['seconds'] / record['mozjpeg_seconds']:.2f}" for record in mine),
        ]
        rows.append(_row(cells))
    calls = {record["cache"]: record["seconds_of_first_call"] for record in measured("first call")}
    sizes = sorted((record["height"] * record["width"] / 1e6, record) for record in measured("pixels"))
    one, two = sorted(measured("folder"), key=lambda record: int(record["workers"]))
    memory = [f"{record['gigabytes_at_most']:.2f} GB" for record in measured("memory")]
    of = [f"{record['height'] * record['width'] / 1e6:.0f}" for record in measured("memory")]
    beside = TIME_BESIDE.format(
        first=calls["empty"], kept=calls["kept"], memory=" and ".join(memory), megapixels=" and ".join(of),
        each=" / ".join(f"{record['seconds_per_megapixel']:.2f}" for _, record in sizes),
        sizes=" / ".join(f"{size:.2g}" for size, _ in sizes),
        folder=two["pictures_per_second_after"] / one["pictures_per_second_after"],
        start=two["seconds_to_first"], whole=one["seconds"] / two["seconds"], pictures=two["pictures"],
    )  # fmt: skip
    return [*rows, beside.rstrip()]


def _named(found: dict[str, Any], network: str, encoded_for: Iterable[str] | None = None) -> str:
    """A network, marked where any of its family was measured with other weights than ship, or files by other profiles.

    Args:
        found: A measurement.
        network: That restores.
        encoded_for: Whose profiles the files are of; by default its own.
    """
    known = found["settings"]["networks"]
    family = network.rpartition("-f")[0]
    members = [name for name in known if name.rpartition("-f")[0] == family]
    codec = found["settings"].get("codec", "jpeg")
    marks = ""
    if any(_fingerprint(name) != known[name]["weights"] for name in members):
        marks = f" {EARLIER}"
    elif any(_profile(codec, name) != known[name]["profile"] for name in encoded_for or [network]):
        marks = f" {OTHER_PROFILE}"
    return network + marks


@functools.cache
def _profile(codec: str, network: str) -> str:
    return fingerprints([accelir.network(network)], codec)[network]["profile"]


@functools.cache
def _fingerprint(network: str) -> str:
    return accelir.network(network).fingerprint()


def _by(found: dict[str, Any], *keys: str) -> list[tuple[tuple[str, ...], list[dict[str, Any]]]]:
    """The rows of a summary that have these alike, in the order in which the first of them stands."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in found["summary"]:
        alike.setdefault(tuple(row[key] for key in keys), []).append(row)
    return list(alike.items())


def _means(rows: list[dict[str, Any]], gain: str, peers: Iterable[str]) -> list[str]:
    return [" / ".join(f"{row[gain][peer]['mean']:+.2f}" for row in rows) for peer in peers]


def _intervals(gains: list[dict[str, float]]) -> str:
    return " / ".join(f"{gain['mean']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})" for gain in gains)


def _percent(shares: list[float]) -> str:
    return " / ".join(f"{100 * share:.0f}" for share in shares) + " %"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    typer.run(main)
