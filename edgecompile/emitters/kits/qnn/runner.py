"""Runs a QNN context binary with onnxruntime-qnn on the device. Python 3.6 or newer.

Windows on Arm and Linux on Arm: pip install onnxruntime-qnn numpy. From version 2 on the provider
is a plug-in of onnxruntime; before that it was built in. Both are tried.
"""

import platform

import numpy as np
import onnxruntime as ort

ERRORS = (ImportError, OSError, RuntimeError, ValueError, ort.capi.onnxruntime_pybind11_state.Fail)
PROVIDER = "QNNExecutionProvider"
EMULATED = ("x86_64", "amd64", "i386", "i686")


class Loaded:
    """A session on the NPU; a compiled graph cannot run anywhere else."""

    def __init__(self, path, options):
        if platform.machine().lower() in EMULATED:
            raise RuntimeError("this machine has no Hexagon NPU: it would only run the emulator")
        settings = ort.SessionOptions()
        if hasattr(ort, "register_execution_provider_library"):
            import onnxruntime_qnn

            ort.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())
            devices = [d for d in ort.get_ep_devices() if d.ep_name == PROVIDER]
            if not devices:
                raise RuntimeError("onnxruntime-qnn finds no device here")
            settings.add_provider_for_devices(devices, options)
            self._session = ort.InferenceSession(path, settings, enable_fallback=0)
        else:
            if PROVIDER not in ort.get_available_providers():
                raise RuntimeError("this onnxruntime has no %s" % PROVIDER)
            name = "QnnHtp.dll" if platform.system() == "Windows" else "libQnnHtp.so"
            old = {"backend_path": name}
            old.update((k, v) for k, v in options.items() if k != "backend_type")
            self._session = ort.InferenceSession(
                path, settings, providers=[PROVIDER], provider_options=[old]
            )
        # onnxruntime would run everything again on the CPU where the provider fails
        self._session.disable_fallback()
        self.runtime = "onnxruntime %s, QNN on the NPU" % ort.__version__

    def run(self, feeds) -> dict:
        names = [port.name for port in self._session.get_outputs()]
        found = self._session.run(None, feeds)
        return {name: np.asarray(found[i]) for i, name in enumerate(names)}


def load(path, kit) -> Loaded:
    return Loaded(path, kit["options"]["provider"])
