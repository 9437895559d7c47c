"""1xx: rules about models: reading, checking and writing them."""

from edgecompile.diagnostics.core import ExitCode, Rule

MODEL_MISSING = Rule(
    code="EC-101",
    name="model-missing",
    message="model '{path}' does not exist",
    why="There is no file to load.",
    fix=("check the path; it is relative to the current directory",),
    example="edgecompile build no-such-model.onnx --target intel-nuc",
)
MODEL_NOT_A_FILE = Rule(
    code="EC-102",
    name="model-not-a-file",
    message="'{path}' is {kind}, not a model file",
    why="A model is one .onnx file; its weights may lie in further files beside it.",
    fix=("give the path of the .onnx file itself",),
    example="edgecompile build models/ --target intel-nuc",
)
MODEL_UNREADABLE = Rule(
    code="EC-103",
    name="model-unreadable",
    message="cannot read '{path}': {reason}",
    why="The operating system refused to open or read the file.",
    fix=("check the file's permissions: ls -l '{path}'",),
    example="chmod 000 model.onnx && edgecompile inspect model.onnx",
)
MODEL_EMPTY = Rule(
    code="EC-104",
    name="model-empty",
    message="model '{path}' is empty",
    why="The file has no bytes: an export or a download failed.",
    fix=("export or download the model again",),
    example="touch model.onnx && edgecompile inspect model.onnx",
    exit_code=ExitCode.REJECTED,
)
NOT_ONNX = Rule(
    code="EC-105",
    name="not-onnx",
    message="'{path}' is not an ONNX model: {reason}",
    why="Models are read in the binary protobuf format of ONNX, and in no other.",
    fix=("export the model to ONNX, for example with torch.onnx.export(...)",),
    example="edgecompile inspect photo.png",
    exit_code=ExitCode.REJECTED,
)
MODEL_TRUNCATED = Rule(
    code="EC-106",
    name="model-truncated",
    message="model '{path}' ends too early: {reason}",
    why="The file starts like an ONNX model, but a part of it announces more bytes than there are.",
    fix=("export or download the model again, and compare its size with the original",),
    example="head -c 1000 model.onnx > cut.onnx && edgecompile inspect cut.onnx",
    exit_code=ExitCode.REJECTED,
)
LIMIT_EXCEEDED = Rule(
    code="EC-107",
    name="limit-exceeded",
    message="{what} is {actual}, above the limit of {limit}",
    why="Limits keep a damaged or hostile file from taking all memory or time.",
    fix=("if the model is right, load it from Python with edgecompile.ir.Limits(...) raised",),
    example="edgecompile inspect a-model-with-a-million-nodes.onnx",
    exit_code=ExitCode.REJECTED,
)
EXTERNAL_MISSING = Rule(
    code="EC-108",
    name="external-data-missing",
    message="external data '{location}' is missing or not a file",
    why="The model keeps weights in a file beside it; without that file it has no weights.",
    fix=("put '{location}' into the directory of the model, under exactly this name",),
    example="cp big/model.onnx . && edgecompile inspect model.onnx",
    exit_code=ExitCode.REJECTED,
)
EXTERNAL_ESCAPE = Rule(
    code="EC-109",
    name="external-data-escape",
    message="external data '{location}' is refused: {reason}",
    why="A model may only read files in its own directory or below it, or it could be used to "
    "copy secrets into an artifact.",
    fix=("copy the weights themselves into the directory of the model (cp, not ln)",),
    example="a tensor whose external location is '../../etc/passwd'",
    exit_code=ExitCode.REJECTED,
)
EXTERNAL_RANGE = Rule(
    code="EC-110",
    name="external-data-range",
    message="external data '{location}': {reason}",
    why="Offset and length of external data must lie inside the file and fit the tensor.",
    fix=("export or download the model and its data again: the two do not belong together",),
    example="a tensor of 400 bytes at offset 100 of a file of 200 bytes",
    exit_code=ExitCode.REJECTED,
)
TENSOR_MALFORMED = Rule(
    code="EC-111",
    name="tensor-malformed",
    message="tensor '{name}': {reason}",
    why="The bytes of a tensor must fit its type and dimensions.",
    fix=("export the model again; if it came from a converter, report the bug there",),
    example="a float tensor of shape [2, 2] with 15 bytes of data",
    exit_code=ExitCode.REJECTED,
)
CHECKER = Rule(
    code="EC-112",
    name="checker",
    message="the ONNX checker refuses the model: {reason}",
    why="The model breaks a rule of the ONNX specification.",
    fix=("export the model again; onnx.checker.check_model(path) gives the same verdict",),
    example="a node whose input no other node makes",
    exit_code=ExitCode.REJECTED,
)
IR_VERSION = Rule(
    code="EC-113",
    name="ir-version",
    message="IR version {version} is not supported ({lowest} to {highest} are)",
    why="The version of the file format decides how the file must be read.",
    fix=("export with an exporter that writes a supported version, or update edgecompile",),
    example="a model written by a newer onnx package",
    exit_code=ExitCode.REJECTED,
)
OPSET = Rule(
    code="EC-114",
    name="opset",
    message="opset {version} of domain '{domain}' is not supported (1 to {highest} are)",
    why="The opset decides what every operator means, and this one is not known here.",
    fix=("export with a supported opset, for example torch.onnx.export(..., opset_version=17)",),
    example="a model exported with a newer onnx package than the one installed here",
    exit_code=ExitCode.REJECTED,
)
CUSTOM_OPERATOR = Rule(
    code="EC-115",
    name="custom-operator",
    message="custom operator '{operator}' has no definition here (used {count}x)",
    why="Only operators of ONNX and ONNX Runtime, and functions defined in the model, can be "
    "run, verified and compiled.",
    fix=("replace the operator by standard ones, or export it as a function inside the model",),
    example="a TensorRT plugin node such as 'trt::EfficientNMS_TRT'",
    exit_code=ExitCode.REJECTED,
)
WEIGHT_NOT_FINITE = Rule(
    code="EC-116",
    name="weight-not-finite",
    message="weight '{name}' has {nan} NaN and {inf} infinite values of {size}",
    why="A weight that is not finite makes every scale, and every output behind it, meaningless.",
    fix=("train or export again; find the layer with numpy.isfinite on the checkpoint",),
    example="a checkpoint of a training run that diverged",
    exit_code=ExitCode.REJECTED,
)
DUPLICATE_NAME = Rule(
    code="EC-117",
    name="duplicate-name",
    message="{kind} name '{name}' is used {count} times",
    why="Names tell values apart: with a name used twice, it is undefined which one is meant.",
    fix=("rename in the exporter, or export the model again",),
    example="two nodes that both write 'output'",
    exit_code=ExitCode.REJECTED,
)
NO_OUTPUTS = Rule(
    code="EC-118",
    name="no-outputs",
    message="the graph has no outputs",
    why="A model that computes nothing cannot be quantized, verified or run.",
    fix=("export the model again and name its outputs",),
    example="a graph whose list of outputs is empty",
    exit_code=ExitCode.REJECTED,
)
UNSUPPORTED = Rule(
    code="EC-119",
    name="unsupported-construct",
    message="{what} is not supported",
    why="This part of ONNX has no meaning on an edge device that edgecompile builds for.",
    fix=("export the model without it",),
    example="a scikit-learn classifier that returns a list of dictionaries (zipmap)",
    exit_code=ExitCode.REJECTED,
)
MODEL_TOO_LARGE = Rule(
    code="EC-120",
    name="model-too-large",
    message="the model takes {actual_bytes} bytes, more than the {limit_bytes} that one file holds",
    why="A protobuf file ends at 2 GB; larger models keep their weights in a second file.",
    fix=("save the model to a file instead of bytes: large weights then lie beside it",),
    example="edgecompile.ir.to_bytes of a model with 3 GB of weights",
    exit_code=ExitCode.REJECTED,
)
SAVE_FAILED = Rule(
    code="EC-121",
    name="save-failed",
    message="cannot write '{path}': {reason}",
    why="The operating system refused to create or replace the file; the old one is untouched.",
    fix=("check that the directory exists, is writable and has space",),
    example="edgecompile build model.onnx --target intel-nuc -o /proc/out",
)
EXTERNAL_CHANGED = Rule(
    code="EC-122",
    name="external-data-changed",
    message="external data '{location}' changed after the model was loaded",
    why="The weights are read when they are needed; another program has replaced them since.",
    fix=("run again while nothing writes to the directory of the model",),
    example="a download that replaces the weights while a build runs",
    exit_code=ExitCode.REJECTED,
)
DAMAGED = Rule(
    code="EC-123",
    name="damaged-part",
    message="a part of the model cannot be read: {reason}",
    why="The file is a model, but one of its parts has a value that ONNX does not define.",
    fix=("export or download the model again",),
    example="an input whose element type is the number 99",
    exit_code=ExitCode.REJECTED,
)
