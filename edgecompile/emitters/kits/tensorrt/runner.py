"""Runs an engine with TensorRT or TensorRT-RTX on the GPU of this machine.

Needs Python 3.6 or newer, numpy, the library's own Python package and the CUDA runtime: all of it
comes with JetPack. Where the artifact is an ONNX file, `build.sh` beside it makes the engine first.
An engine is executable code: only bytes are loaded whose SHA-256 is that of the artifact, or that
`build.sh` has written down when it had built them.
"""

import ctypes
import ctypes.util
import hashlib
import importlib
import json
import subprocess
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ENGINE = HERE / "model.engine"
BUILT = HERE / "built.json"
LAYERS = HERE / "layers.json"
RUNTIMES = ["libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so.10.2",
            "cudart64_13.dll", "cudart64_12.dll"]  # fmt: skip
FOLDERS = ["/usr/local/cuda/lib64", "/usr/local/cuda/targets/aarch64-linux/lib"]
TO_DEVICE, TO_HOST = 1, 2
MAJOR, MINOR = 75, 76


class EngineError(Exception):
    """Why no engine can be run here."""


ERRORS = (EngineError, ImportError, OSError, RuntimeError)


class Cuda:
    """The few functions of the CUDA runtime that an inference needs."""

    def __init__(self):
        self._api = _first_library()

    def call(self, name, *arguments) -> None:
        status = getattr(self._api, name)(*arguments)
        if status:
            self._api.cudaGetErrorString.restype = ctypes.c_char_p
            text = self._api.cudaGetErrorString(status).decode()
            raise EngineError("%s: %s" % (name, text))

    def allocate(self, size) -> ctypes.c_void_p:
        pointer = ctypes.c_void_p()
        self.call("cudaMalloc", ctypes.byref(pointer), ctypes.c_size_t(max(1, size)))
        return pointer

    def free(self, pointer) -> None:
        self.call("cudaFree", pointer)

    def upload(self, pointer, array) -> None:
        source = array.ctypes.data_as(ctypes.c_void_p)
        self.call("cudaMemcpy", pointer, source, ctypes.c_size_t(array.nbytes), TO_DEVICE)

    def download(self, array, pointer) -> None:
        target = array.ctypes.data_as(ctypes.c_void_p)
        self.call("cudaMemcpy", target, pointer, ctypes.c_size_t(array.nbytes), TO_HOST)

    def stream(self) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        self.call("cudaStreamCreate", ctypes.byref(handle))
        return handle

    def wait(self, stream) -> None:
        self.call("cudaStreamSynchronize", stream)

    def capability(self) -> str:
        """`8.7`, of the first GPU."""
        found = []
        for which in (MAJOR, MINOR):
            value = ctypes.c_int()
            self.call("cudaDeviceGetAttribute", ctypes.byref(value), which, 0)
            found.append(str(value.value))
        return ".".join(found)


class Loaded:
    """A deserialized engine and its execution context. Outputs are named as in the model."""

    def __init__(self, data, library):
        self._cuda = Cuda()
        self._trt = importlib.import_module(library)
        self._log = self._trt.Logger(self._trt.Logger.WARNING)
        runtime = self._trt.Runtime(self._log)
        self._engine = runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            raise EngineError("the library does not take the engine: it is for another GPU, or "
                              "was made by another version")  # fmt: skip
        self._context = self._engine.create_execution_context()
        self._stream = self._cuda.stream()
        capability = self._cuda.capability()
        self.runtime = "%s %s" % (library, self._trt.__version__)
        self.device = "%s (compute capability %s)" % (device_name(), capability)
        self.facts = {"compute_capability": capability}
        self.built = []

    def run(self, feeds) -> dict:
        modern = hasattr(self._engine, "num_io_tensors")
        return self._run_named(feeds) if modern else self._run_bindings(feeds)

    def inspect(self) -> str:
        """What the engine says of its layers, as JSON."""
        inspector = self._engine.create_engine_inspector()
        inspector.execution_context = self._context
        return inspector.get_engine_information(self._trt.LayerInformationFormat.JSON)

    def _run_named(self, feeds):
        """TensorRT 8.5 and newer."""
        engine, context = self._engine, self._context
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [n for n in names if engine.get_tensor_mode(n) == self._trt.TensorIOMode.INPUT]
        arrays = {}
        for name in inputs:
            arrays[name] = self._as(feeds[name], engine.get_tensor_dtype(name))
            context.set_input_shape(name, arrays[name].shape)
        for name in names:
            if name not in arrays:
                shape = tuple(context.get_tensor_shape(name))
                kind = self._trt.nptype(engine.get_tensor_dtype(name))
                arrays[name] = np.empty(shape, dtype=kind)

        def execute(pointers) -> bool:
            for name, pointer in pointers.items():
                context.set_tensor_address(name, pointer.value)
            return context.execute_async_v3(self._stream.value)

        return self._execute(arrays, inputs, execute)

    def _run_bindings(self, feeds):
        """TensorRT before 8.5: tensors have numbers."""
        engine, context = self._engine, self._context
        names = [engine.get_binding_name(i) for i in range(engine.num_bindings)]
        inputs = [n for i, n in enumerate(names) if engine.binding_is_input(i)]
        arrays = {}
        for index, name in enumerate(names):
            if name in inputs:
                arrays[name] = self._as(feeds[name], engine.get_binding_dtype(index))
                context.set_binding_shape(index, arrays[name].shape)
        for index, name in enumerate(names):
            if name not in arrays:
                kind = self._trt.nptype(engine.get_binding_dtype(index))
                arrays[name] = np.empty(tuple(context.get_binding_shape(index)), dtype=kind)

        def execute(pointers) -> bool:
            bindings = [pointers[name].value for name in names]
            return context.execute_async_v2(bindings, self._stream.value)

        return self._execute(arrays, inputs, execute)

    def _execute(self, arrays, inputs, execute):
        pointers = {name: self._cuda.allocate(array.nbytes) for name, array in arrays.items()}
        try:
            for name in inputs:
                self._cuda.upload(pointers[name], arrays[name])
            if not execute(pointers):
                raise EngineError("the engine did not run")
            self._cuda.wait(self._stream)
            found = {name: array for name, array in arrays.items() if name not in inputs}
            for name, array in found.items():
                self._cuda.download(array, pointers[name])
        finally:
            for pointer in pointers.values():
                self._cuda.free(pointer)
        return found

    def _as(self, array, kind):
        """The engine's own type: TensorRT before 10 narrows int64 inputs to int32."""
        return np.ascontiguousarray(array, dtype=self._trt.nptype(kind))


def load(path, kit) -> Loaded:
    options = kit["options"]
    if options["build"]:
        data, built = built_engine(path)
    else:
        data = Path(path).read_bytes()
        require_digest(data, kit["artifact"]["sha256"], path)
        built = {}
    loaded = Loaded(data, options["library"])
    if built:
        loaded.built = [{"file": ENGINE.name, "format": "tensorrt-engine", "executable": True}]
        loaded.facts.update(built["facts"])
        loaded.facts.update(precision_facts(read_json(HERE.parent / "expected.json")))
    return loaded


def built_engine(model) -> tuple:
    """The engine of `model`; `build.sh` makes it unless it has."""
    digest = hashlib.sha256(Path(model).read_bytes()).hexdigest()
    built = read_json(BUILT)
    if not ENGINE.is_file() or built.get("model_sha256") != digest:
        status = subprocess.call(["sh", str(HERE.parent / "build.sh")])
        if status:
            raise EngineError("build.sh ended with exit code %d" % status)
        built = read_json(BUILT)
    data = ENGINE.read_bytes()
    require_digest(data, built.get("engine_sha256"), ENGINE)
    return data, built


def require_digest(data, wanted, path) -> None:
    if hashlib.sha256(data).hexdigest() != wanted:
        raise EngineError("%s is not the engine that was built: it is not loaded" % path)


def precision_facts(expected) -> dict:
    """What the library tells of each layer, against what was expected of the products."""
    layers = read_json(LAYERS).get("Layers", [])
    if not layers or not expected:
        return {}
    texts = [json.dumps(layer) if isinstance(layer, dict) else str(layer) for layer in layers]
    named = [layer for layer in layers if isinstance(layer, dict)]
    found = {}
    for node in expected:
        owners = [layer for layer in named if node in str(layer.get("Name", "")) + metadata(layer)]
        kinds = sorted({kind for layer in owners for kind in input_types(layer)})
        found[node] = kinds or ["unknown"]
    missed = [n for n, want in expected.items() if found[n] != ["unknown"] and
              want.upper() not in [kind.upper() for kind in found[n]]]  # fmt: skip
    return {"layers": len(texts), "layer_types": found, "not_as_expected": missed}


def metadata(layer) -> str:
    return str(layer.get("Metadata", ""))


def input_types(layer) -> list:
    """Element types that a layer reads: `Int8`, `Half`, `Float`."""
    types = []
    for tensor in layer.get("Inputs", []):
        text = str(tensor.get("Format/Datatype", tensor.get("Datatype", "")))
        types += [kind for kind in ("Int8", "Half", "FP16", "FP32", "Float") if kind in text]
    return ["Half" if kind == "FP16" else "Float" if kind == "FP32" else kind for kind in types]


def read_json(path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def device_name() -> str:
    """The board of a Jetson, or the name of the GPU."""
    board = Path("/proc/device-tree/model")
    if board.is_file():
        return board.read_text(errors="replace").strip("\0\n ")
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        return subprocess.check_output(command).decode().splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "NVIDIA GPU"


def _first_library():
    tried = [*RUNTIMES, *(f + "/libcudart.so" for f in FOLDERS), ctypes.util.find_library("cudart")]
    for name in tried:
        if name:
            try:
                return ctypes.CDLL(name)
            except OSError:
                continue
    raise EngineError("the CUDA runtime (libcudart) is not installed")
