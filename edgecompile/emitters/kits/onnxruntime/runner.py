"""Runs an ONNX model with the execution provider that it was made for. Python 3.6 or newer.

Which nodes really ran on which provider is read from ONNX Runtime's own profile and told in the
report: a node that a provider does not take goes to the CPU without a word.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort

ERRORS = (RuntimeError, ImportError, OSError, ValueError)
CPU = "CPUExecutionProvider"
CATALOGUE = """
import json
import winui3.microsoft.windows.ai.machinelearning as winml
from winui3.microsoft.windows.applicationmodel.dynamicdependency import bootstrap

found = {}
with bootstrap.initialize(options=bootstrap.InitializeOptions.ON_NO_MATCH_SHOW_UI):
    for provider in winml.ExecutionProviderCatalog.get_default().find_all_providers():
        provider.ensure_ready_async().get()
        found[provider.name] = provider.library_path
print(json.dumps(found))
"""
# In a process of its own: loading the Windows runtime here keeps some providers from registering.


class Loaded:
    """A session; `facts` tells how many nodes ran where."""

    def __init__(self, path, options):
        self._options = options
        self.facts = {"nodes": {}, "on_cpu": [], "providers": []}
        self.device = platform_device(options)
        profiled = self._session(path, str(Path(tempfile.mkdtemp()) / "profile"))
        self._profiled = profiled
        self._session_plain = self._session(path, None)
        self.facts["providers"] = self._session_plain.get_providers()
        self.runtime = "onnxruntime %s, %s" % (ort.__version__, options["provider"])

    def _session(self, path, profile) -> object:
        options = self._options
        so = ort.SessionOptions()
        for name, value in options["session_options"].items():
            setattr(
                so, name, getattr(ort.ExecutionMode, value) if name == "execution_mode" else value
            )
        for name, value in options["free_dimensions"].items():
            so.add_free_dimension_override_by_name(name, value)
        if profile:
            so.enable_profiling = True
            so.profile_file_prefix = profile
        if options["catalogued"]:
            so.add_provider_for_devices(registered(options), options["provider_options"])
            return ort.InferenceSession(path, so)
        if options["provider"] not in ort.get_available_providers():
            text = "this onnxruntime has no %s; install %s"
            raise RuntimeError(text % (options["provider"], options["package"]))
        providers = [(options["provider"], options["provider_options"])]
        if options["provider"] != CPU:
            providers.append((CPU, {}))
        return ort.InferenceSession(path, so, providers=providers)

    def run(self, feeds) -> dict:
        if self._profiled is not None:
            self._profiled.run(None, feeds)
            self._placed(self._profiled.end_profiling())
            self._profiled = None
        names = [output.name for output in self._session_plain.get_outputs()]
        values = self._session_plain.run(names, feeds)
        return {name: np.asarray(values[i]) for i, name in enumerate(names)}

    def _placed(self, profile) -> None:
        events = json.loads(Path(profile).read_text(encoding="utf-8"))
        for event in events:
            provider = event.get("args", {}).get("provider")
            if event.get("cat") == "Node" and provider and event["name"].endswith("_kernel_time"):
                counts = self.facts["nodes"]
                counts[provider] = counts.get(provider, 0) + 1
                if provider == CPU:
                    self.facts["on_cpu"].append(event["name"][: -len("_kernel_time")])


def registered(options) -> list:
    """The devices of the wanted provider, from Windows ML's catalogue."""
    if not any(d.ep_name == options["provider"] for d in ort.get_ep_devices()):
        text = subprocess.check_output([sys.executable, "-c", CATALOGUE])
        for name, library in json.loads(text.decode("utf-8")).items():
            ort.register_execution_provider_library(name, library)
    kind = options["unit"].upper()
    found = [d for d in ort.get_ep_devices() if d.ep_name == options["provider"]]
    wanted = [d for d in found if d.device.type.name == kind]
    if not wanted:
        raise RuntimeError("%s finds no %s on this machine" % (options["provider"], kind))
    return wanted[:1]


def platform_device(options) -> str:
    """What the device calls itself, as far as ONNX Runtime knows."""
    import platform

    return "%s %s" % (platform.node(), options["unit"])


def load(path, kit) -> Loaded:
    return Loaded(path, kit["options"])
