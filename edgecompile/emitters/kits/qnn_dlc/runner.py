"""Runs a DLC with the tools of Qualcomm's SDK. Python 3.6 or newer.

`qnn-net-run` for a Hexagon Tensor Processor, `snpe-net-run` for an older DSP. They are looked for
on PATH and below $QAIRT_SDK_ROOT, $QNN_SDK_ROOT and $SNPE_ROOT, where they find their libraries.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ERRORS = (OSError, RuntimeError, subprocess.SubprocessError)
ROOTS = ("QAIRT_SDK_ROOT", "QNN_SDK_ROOT", "SNPE_ROOT")
TIMEOUT_S = 600
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def fits(folder) -> bool:
    """Whether programs of the SDK's folder `bin/FOLDER` are for this machine."""
    machine = platform.machine().lower()
    android = hasattr(sys, "getandroidapilevel")
    system = "windows" if sys.platform == "win32" else "android" if android else ""
    others = {"windows", "android"} - {system}
    named = folder.startswith(MACHINES.get(machine, machine)) and system in folder
    return named and not any(other in folder for other in others)


def find(tool) -> str:
    """Path of a tool of the SDK. Raises RuntimeError when it is nowhere."""
    found = shutil.which(tool)
    for root in ROOTS:
        if found is None and os.environ.get(root):
            places = sorted(Path(os.environ[root]).glob("bin/*/" + tool))
            places += sorted(Path(os.environ[root]).glob("bin/*/" + tool + ".exe"))
            mine = [str(place) for place in places if fits(place.parent.name)]
            found = next((path for path in mine if os.access(path, os.X_OK)), None)
    if found is None:
        raise RuntimeError("%s is neither on PATH nor below $%s" % (tool, ", $".join(ROOTS)))
    return found


def surroundings(tool) -> dict:
    """The environment in which a tool of the SDK finds the SDK's own libraries and modules."""
    made = dict(os.environ)
    folder = Path(tool).parent
    root = folder.parent.parent
    places = {
        "LD_LIBRARY_PATH": ([str(root / "lib" / folder.name)], os.pathsep),
        "PYTHONPATH": ([str(root / "lib" / "python")], os.pathsep),
        "ADSP_LIBRARY_PATH": (sorted(map(str, root.glob("lib/hexagon-*/unsigned"))), ";"),
    }
    for name, (paths, separator) in places.items():
        present = [path for path in paths if Path(path).is_dir()]
        known = [made[name]] if made.get(name) else []
        if present:
            made[name] = separator.join(present + known)
    return made


def call(command) -> str:
    """Run a tool of the SDK; what it says. Raises RuntimeError when it fails."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    around = surroundings(command[0])
    done = subprocess.run(command, check=False, timeout=TIMEOUT_S, env=around, **pipes)
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode:
        tail = " / ".join(said.splitlines()[-3:])
        raise RuntimeError("%s failed: %s" % (Path(command[0]).name, tail or done.returncode))
    return said


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
            # what the DSP does not take, the CPU does
            command = [self._tool, "--container", self._path, "--use_dsp", "--enable_cpu_fallback"]
        else:
            # the second library reads DLCs; the first, on a PC, is an emulator of the processor
            command = [self._tool, "--backend", self._library("QnnHtp")]
            command += ["--model", self._library("QnnModelDlc"), "--dlc_path", self._path]
        command += ["--input_list", str(folder / "list.txt"), "--output_dir", str(folder / "out")]
        call(command)

    def _library(self, name) -> str:
        name = name + ".dll" if sys.platform == "win32" else "lib" + name + ".so"
        folder = Path(self._tool).parent
        beside = folder.parent.parent / "lib" / folder.name / name
        return str(beside) if beside.is_file() else name

    def _read(self, folder, name):
        files = sorted((folder / "out").glob("Result_0/" + name + ".raw"))
        if not files:
            raise RuntimeError("%s wrote no output '%s'" % (self.runtime, name))
        return np.fromfile(str(files[0]), np.float32).reshape(self._shapes[name])


def load(path, kit) -> Loaded:
    return Loaded(path, kit)
