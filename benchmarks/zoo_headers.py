"""Write what the shipped networks' records say into the headers of their weights: python benchmarks/zoo_headers.py.

A file is written anew only where its header is missing or says otherwise than the record beside it. Scores stay in the
record, so that to measure them again changes no weights. These stay as they are, and so do fingerprints and profiles.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors.torch import load_file
from zoo_scores import WEIGHTS

from accelir.files import write_atomically
from accelir.weights import WeightsRecord, pack_weights, read_record

__all__ = ["write_header"]


def main() -> None:
    """Bring all headers up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=WEIGHTS)
    for path in sorted(parser.parse_args().folder.glob("*.safetensors")):
        if write_header(path):
            print(path.name)


def write_header(path: Path) -> bool:
    """Say in the header of a network's weights what they are for and, from the record beside them, whence they come.

    Args:
        path: Of weights called as their network is.

    Returns:
        Whether the file was written.
    """
    record = json.loads(path.with_suffix(".json").read_text())
    provenance = {key: value for key, value in record.items() if "psnr" not in key}
    header = WeightsRecord(network=path.stem, task=provenance["task"], provenance=provenance)
    if read_record(path) == header:
        return False
    write_atomically(path, pack_weights(load_file(path), header))
    return True


if __name__ == "__main__":
    main()
