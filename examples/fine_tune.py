"""Fine-tune a network of your own on compressed inputs: python examples/fine_tune.py [--steps N] [--output FOLDER].

A network that was trained on clean noise is given noisy pictures that were stored as JPEG, as any photo service stores
them. The recipe of `accelir.training` teaches it what files do to its inputs. To tell what that brings from what any
longer training brings, the same network goes on for as long on clean inputs. Two minutes or so on one core.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from torch import nn

from accelir.tasks import Denoise
from accelir.training import Recipe, Training, load_weights, train_network


class Mine(nn.Module):
    """Stands for a network of yours: (N, 3, H, W) in 0..1 to the same."""

    def __init__(self, width: int = 16, depth: int = 5) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth - 2):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.layers(x - 0.5)


def main() -> None:
    """Print the PSNR of pictures that no training saw, clean and through JPEG."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--output", type=Path, help="where the weights go, by default nowhere")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        control, tuned = fine_tune(options.output or Path(folder), options.steps)
    rows = {"input": tuned.untouched, "before": tuned.before, "as long on clean": control.after, "tuned": tuned.after}
    print("PSNR (RGB) in dB  " + "".join(f"{label:>10}" for label in tuned.after))
    for name, scores in rows.items():
        print(f"{name:18}" + "".join(f"{value:10.2f}" for value in scores.values()))
    gains = [tuned.after[label] - control.after[label] for label in tuned.after if label != "clean"]
    print(f"Gain on JPEG inputs: {sum(gains) / len(gains):+.2f} dB over training as long on clean ones")


def fine_tune(folder: Path, steps: int) -> tuple[Training, Training]:
    """Train a network on clean inputs, then go on with it on clean ones and, beside that, on compressed ones.

    Args:
        folder: Where pictures and weights go.
        steps: Of each of the three trainings.

    Returns:
        The two that went on.
    """
    photographs, held_out = halves(folder / "photographs"), halves(folder / "held-out", right=True)
    torch.manual_seed(0)
    usual = {"task": Denoise(25), "pairs": 200, "held_out": held_out, "workers": 1, "force": True}
    recipe = Recipe(steps=steps, batch=8, patch=24, learning_rate=4e-3)
    train_network(photographs, network=Mine(), output=folder / "mine.safetensors", recipe=recipe, clean=1, **usual)

    recipe = Recipe(steps=steps, batch=8, patch=24, learning_rate=2e-3, seed=1)
    trainings = []
    for name, clean in (("longer", 1.0), ("tuned", 0.25)):
        mine = load_weights(Mine(), folder / "mine.safetensors")
        output = folder / f"{name}.safetensors"
        trainings.append(train_network(photographs, network=mine, output=output, recipe=recipe, clean=clean, **usual))
    return trainings[0], trainings[1]


def halves(folder: Path, *, right: bool = False) -> Path:
    """The left or the right halves of the two photographs that scikit-learn ships; yours would be some hundred."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("china", "flower"):
        pixels = load_sample_image(f"{name}.jpg")
        middle = pixels.shape[1] // 2
        Image.fromarray(pixels[:, middle:] if right else pixels[:, :middle]).save(folder / f"{name}.png")
    return folder


if __name__ == "__main__":
    main()
