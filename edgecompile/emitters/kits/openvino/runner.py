"""Runs an IR with OpenVINO on the device that it was made for. Python 3.6 or newer."""

import numpy as np

try:
    import openvino as ov

    ov.Core  # noqa: B018  (OpenVINO 2022 keeps it elsewhere)
except AttributeError:
    import openvino.runtime as ov

ERRORS = (RuntimeError,)


class Loaded:
    """A compiled IR; outputs by the names that the ONNX model had."""

    def __init__(self, path, device):
        core = ov.Core()
        self._compiled = core.compile_model(core.read_model(path), device)
        self.runtime = "openvino %s, %s" % (ov.get_version(), device)
        self.device = core.get_property(device, "FULL_DEVICE_NAME")

    def run(self, feeds) -> dict:
        found = self._compiled(feeds)
        return {name: np.asarray(v) for port, v in found.items() for name in port.get_names()}


def load(path, kit) -> Loaded:
    return Loaded(path, kit["options"]["device"])
