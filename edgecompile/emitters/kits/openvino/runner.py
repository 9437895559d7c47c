"""Runs an IR with OpenVINO on the device that it was made for. Python 3.6 or newer."""

from pathlib import Path

import numpy as np

try:
    import openvino as ov

    ov.Core  # noqa: B018  (OpenVINO 2022 keeps it elsewhere)
except AttributeError:
    import openvino.runtime as ov

ERRORS = (RuntimeError,)


HERE = Path(__file__).resolve().parent


class Loaded:
    """A compiled network; outputs by the names that the ONNX model had. What it compiled an IR to
    for an NPU comes back as a blob."""

    def __init__(self, path, options):
        core = ov.Core()
        device = options["device"]
        self.built = []
        if path.endswith(".blob"):
            self._compiled = core.import_model(Path(path).read_bytes(), device)
        else:
            self._compiled = core.compile_model(core.read_model(path), device)
            if options.get("export"):
                (HERE / "model.blob").write_bytes(self._compiled.export_model())
                self.built = [{"file": "model.blob", "format": "openvino-blob-npu"}]
        self.runtime = "openvino %s, %s" % (ov.get_version(), device)
        single = device.split(":")[-1].split(",")[0]
        self.device = core.get_property(single, "FULL_DEVICE_NAME")

    def run(self, feeds) -> dict:
        found = self._compiled(feeds)
        return {name: np.asarray(v) for port, v in found.items() for name in port.get_names()}


def load(path, kit) -> Loaded:
    return Loaded(path, kit["options"])
