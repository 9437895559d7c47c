"""Runs a DLC with the tools of Qualcomm's SDK on the device. Python 3.6 or newer.

`qnn-net-run` for a Hexagon Tensor Processor, `snpe-net-run` for an older DSP. They are looked for
on PATH and below $QAIRT_SDK_ROOT, $QNN_SDK_ROOT and $SNPE_ROOT.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

ERRORS = (OSError, RuntimeError, subprocess.SubprocessError)
ROOTS = ("QAIRT_SDK_ROOT", "QNN_SDK_ROOT", "SNPE_ROOT")
TIMEOUT_S = 600


def find(tool) -> str:
    """Path of a tool of the SDK. Raises RuntimeError when it is nowhere."""
    found = shutil.which(tool)
    for root in ROOTS:
        if found is None and os.environ.get(root):
            places = sorted(Path(os.environ[root]).glob("bin/*/" + tool + "*"))
            found = next((str(p) for p in places if os.access(str(p), os.X_OK)), None)
    if found is None:
        raise RuntimeError("%s is neither on PATH nor below $%s" % (tool, ", $".join(ROOTS)))
    return found


class Loaded:
    """A DLC and the tool that runs it; every run is one call of the tool."""

    def __init__(self, path, kit):
        self._path = path
        self._outputs = kit["outputs"]
        golden = np.load(str(Path(__file__).resolve().parent / kit["golden"]["file"]))
        self._shapes = {name: golden["float/0/" + name].shape for name in self._outputs}
        self._snpe = kit["options"]["tool"] == "snpe-net-run"
        self._tool = find(kit["options"]["tool"])
        self.runtime = Path(self._tool).name

    def run(self, feeds) -> dict:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            line = []
            for index, (name, value) in enumerate(feeds.items()):
                file = folder / ("input_%d.raw" % index)
                np.ascontiguousarray(value, np.float32).tofile(str(file))
                line.append("%s:=%s" % (name, file))
            (folder / "list.txt").write_text(" ".join(line) + "\n")
            self._call(folder)
            return {name: self._read(folder, name) for name in self._outputs}

    def _call(self, folder) -> None:
        if self._snpe:
            command = [self._tool, "--container", self._path, "--use_dsp"]
        else:
            command = [self._tool, "--dlc_path", self._path, "--backend", "libQnnHtp.so"]
        command += ["--input_list", str(folder / "list.txt"), "--output_dir", str(folder / "out")]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(command, check=False, timeout=TIMEOUT_S, **pipes)
        if done.returncode:
            tail = done.stdout.decode(errors="replace").strip().splitlines()[-3:]
            raise RuntimeError("%s failed: %s" % (self.runtime, " / ".join(tail)))

    def _read(self, folder, name):
        files = sorted((folder / "out").glob("Result_0/" + name + ".raw"))
        if not files:
            raise RuntimeError("%s wrote no output '%s'" % (self.runtime, name))
        return np.fromfile(str(files[0]), np.float32).reshape(self._shapes[name])


def load(path, kit) -> Loaded:
    return Loaded(path, kit)
