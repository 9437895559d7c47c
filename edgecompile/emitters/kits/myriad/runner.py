"""Runs a blob on a Myriad X with OpenVINO 2021.4 or 2022.x. Python 3.6 or newer."""

from pathlib import Path

import numpy as np

ERRORS = (RuntimeError, ImportError, OSError)


class Classic:
    """The interface of OpenVINO 2021.4."""

    def __init__(self, path, device):
        import openvino.inference_engine as ie

        self._network = ie.IECore().import_network(model_file=path, device_name=device)
        self.runtime = "openvino %s, %s" % (ie.__version__, device)
        self.device = device

    def run(self, feeds) -> dict:
        return {name: np.asarray(v) for name, v in self._network.infer(feeds).items()}


class Modern:
    """The interface of OpenVINO 2022."""

    def __init__(self, path, device):
        import openvino.runtime as ov

        self._compiled = ov.Core().import_model(Path(path).read_bytes(), device)
        self.runtime = "openvino %s, %s" % (ov.get_version(), device)
        self.device = device

    def run(self, feeds) -> dict:
        found = self._compiled.infer_new_request(feeds)
        return {name: np.asarray(v) for port, v in found.items() for name in port.get_names()}


def load(path, kit) -> object:
    device = kit["options"]["device"]
    try:
        return Modern(path, device)
    except ImportError:
        return Classic(path, device)
