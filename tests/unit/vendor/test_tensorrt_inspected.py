"""The inspector's JSON, in the two forms that TensorRT documents."""

import json

import pytest

from edgecompile.vendor.tensorrt.inspected import inspected_layers

DETAILED = {
    "Layers": [
        {
            "Name": "conv1 + relu1",
            "LayerType": "CaskConvolution",
            "Inputs": [{"Name": "x", "Format/Datatype": "Channel major Int8 format (kCHWc)"}],
            "ParameterType": "Convolution",
            "Metadata": "[ONNX Layer: conv1]\x1f[ONNX Layer: relu1]",
        },
        {
            "Name": "fc",
            "LayerType": "gemm",
            "Inputs": [{"Name": "y", "Format/Datatype": "Row major linear FP16 format"}],
            "Metadata": "[ONNX Layer: fc]",
        },
        {"Name": "a + b", "LayerType": "kgen", "Inputs": []},
    ]
}


def test_layers_have_kind_precision_and_the_nodes_that_they_come_from():
    conv, fc, rest = inspected_layers(json.dumps(DETAILED))
    assert (conv["kind"], conv["precision"], conv["origins"]) == (
        "Convolution", "i8", ["conv1", "relu1"],
    )  # fmt: skip
    assert (fc["kind"], fc["precision"], fc["origins"]) == ("MatMul", "f16", ["fc"])
    assert (rest["precision"], rest["origins"]) == ("unknown", ["a", "b"])


def test_another_document_is_refused():
    with pytest.raises(ValueError, match="no list of layers"):
        inspected_layers('{"Bindings": []}')
    with pytest.raises(ValueError, match="Expecting"):
        inspected_layers("not JSON")
