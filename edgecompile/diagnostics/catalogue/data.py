"""3xx: rules about calibration data, evaluation data, and what is observed while they run."""

from edgecompile.diagnostics.core import ExitCode, Rule, Severity

DATA_MISSING = Rule(
    code="EC-300",
    name="data-missing",
    message="step '{step}' needs calibration data and none was given",
    why="Ranges of activations come from running real samples through the float model.",
    fix=(
        "give samples with --calibration PATH: a directory of images or .npy files, an .npz with "
        "one key per model input, or a dataset.yaml",
        "use a recipe that needs no data, such as openvino-int8-weights or openvino-fp16",
        "use --calibration random:16 to try the tool out: the result will not be accurate",
    ),
    example="edgecompile build model.onnx --target intel-nuc --calibration photos/",
)
DATA_NOT_FOUND = Rule(
    code="EC-301",
    name="data-not-found",
    message="there is no file or directory '{path}'",
    why="The samples must be readable before any work starts.",
    fix=("check the path; it is relative to the current directory",),
    example="edgecompile build model.onnx --target intel-nuc --calibration photso/",
)
DATA_KIND = Rule(
    code="EC-302",
    name="data-kind-unknown",
    message="'{path}' is not a kind of data that can be read",
    why="Samples are read as images, as .npy or .npz arrays, or as named by a dataset.yaml. "
    "Python pickles are never read, because reading them runs code.",
    fix=(
        "give a directory of images (.png, .jpg, .bmp, .webp, ...) or .npy files, an .npz with one "
        "key per model input, a dataset.yaml, or random:N",
    ),
    example="edgecompile build model.onnx --target intel-nuc --calibration samples.pkl",
)
DATA_EMPTY = Rule(
    code="EC-303",
    name="data-empty",
    message="'{path}' holds no samples: {found}",
    why="There is nothing to calibrate or verify with.",
    fix=("put images, .npy or .npz files, or a dataset.yaml into the directory",),
    example="mkdir photos; edgecompile build model.onnx --target intel-nuc --calibration photos/",
)
DATA_MIXED = Rule(
    code="EC-304",
    name="data-mixed-kinds",
    message="'{path}' mixes kinds of samples: {kinds}",
    why="Images go through preprocessing and arrays do not, so a mixture has no single meaning.",
    fix=(
        "keep one kind of file in the directory",
        "name the files of each input in a dataset.yaml",
    ),
    example="photos/a.png beside photos/b.npy",
)
DATA_OBJECTS = Rule(
    code="EC-305",
    name="data-python-objects",
    message="array '{key}' holds Python objects, which are never unpickled",
    why="Reading pickled objects runs code. NumPy also pickles ragged lists, that is samples of "
    "different shapes in one array.",
    fix=(
        "save numbers: numpy.savez(file, name=numpy.stack(samples))",
        "for samples of different shapes, save one .npz per sample into a directory, with one key "
        "per model input",
    ),
    example="numpy.savez('data.npz', ids=numpy.array([[1, 2], [3]], dtype=object))",
)
DATA_DAMAGED = Rule(
    code="EC-306",
    name="data-damaged",
    message="'{path}' cannot be read as {kind}: {reason}",
    why="The file is truncated, damaged, or not what its name says.",
    fix=("write the file again, or remove it from the data",),
    example="head -c 100 data.npz > broken.npz",
)
IMAGE_DAMAGED = Rule(
    code="EC-307",
    name="image-damaged",
    message="image '{path}' cannot be decoded: {reason}",
    why="A sample that cannot be decoded would silently change what the ranges rest on.",
    fix=("remove or replace the image",),
    example="photos/cut-off.jpg",
)
INPUT_NAME = Rule(
    code="EC-310",
    name="data-input-name",
    message="{problem}",
    why="Every input of the model needs data under its own name.",
    fix=("name the arrays as the model names its inputs: edgecompile inspect MODEL lists them",),
    example="numpy.savez('data.npz', imgae=x) for a model whose input is 'image'",
)
INPUT_SHAPE = Rule(
    code="EC-311",
    name="data-shape",
    message="sample '{sample}' has shape {actual} for input '{input}', which takes {expected}",
    why="The model fixes these axes, so it cannot run on the sample.",
    fix=("make the data in the shape of the input; axes shown as names or ? are free",),
    example="data of [1, 3, 256, 256] for an input of [1, 3, 224, 224]",
)
INPUT_RANK = Rule(
    code="EC-312",
    name="data-rank",
    message="data for input '{input}' has {actual} axes {shape}, and the input has {expected} "
    "{expected_shape}",
    why="An .npz or lone array holds samples along its first axis, so it has the axes of the "
    "input, or one more where the input has no batch axis of its own.",
    fix=("reshape the array to [samples, ...] with the axes of the input after it",),
    example="an array of [100, 224, 224] for an input of [N, 3, 224, 224]",
)
INPUT_DTYPE = Rule(
    code="EC-313",
    name="data-dtype",
    message="data for input '{input}' is {actual}, and the input takes {expected}",
    why="Only conversions that keep the meaning are made: between widths of one kind where every "
    "value fits, and float64 to float32. Integers are not taken for floats, because pixels of 0 "
    "to 255 in place of 0 to 1 give wrong ranges without a word.",
    fix=("convert the array with numpy.ndarray.astype before saving it",),
    example="uint8 pixels for an input of float32",
)
INPUT_NOT_FINITE = Rule(
    code="EC-314",
    name="data-not-finite",
    message="sample '{sample}' has {what} in input '{input}'",
    why="NaN and infinity spread through the network, and no range can hold them.",
    fix=("remove the sample, or repair the step that made it",),
    example="numpy.log(0) in a spectrogram",
)
SAMPLE_COUNTS = Rule(
    code="EC-315",
    name="data-sample-counts",
    message="the inputs have different numbers of samples: {counts}",
    why="Sample i takes the i-th entry of every input.",
    fix=("give every input the same number of samples",),
    example="numpy.savez('data.npz', ids=zeros((100, 32)), mask=ones((99, 32)))",
)
TOO_FEW_SAMPLES = Rule(
    code="EC-316",
    name="data-too-few",
    message="{count} different samples in '{source}', and at least {needed} are needed",
    why="Some samples make the ranges, and others, never the same, verify the result.",
    fix=(
        "give more samples: 100 are a good number",
        "give samples for verification on their own with --eval PATH",
    ),
    example="a directory with one image and no --eval",
)
FEW_SAMPLES = Rule(
    code="EC-317",
    name="data-few",
    message="only {count} samples for calibration in '{source}'",
    why="Ranges from few samples clip what they have not seen.",
    fix=("give about 100 samples that look like what the device will see",),
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)
OVERLAP = Rule(
    code="EC-318",
    name="data-overlap",
    message="left {count} of {total} evaluation samples out: calibration holds the same content",
    why="A figure measured on samples that made the ranges is too good.",
    fix=("keep calibration and evaluation samples apart",),
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)
OVERLAP_ALL = Rule(
    code="EC-319",
    name="data-overlap-all",
    message="all {total} evaluation samples of '{source}' are also calibration samples",
    why="Nothing is left to verify with that did not make the ranges.",
    fix=("give other samples to --eval", "leave --eval out: a fifth is then held out by itself"),
    example="edgecompile build model.onnx --target intel-nuc --calibration photos --eval photos",
)
ASSUMED_PREPROCESSING = Rule(
    code="EC-320",
    name="preprocessing-assumed",
    message="assumed for the images of '{source}': {assumed}",
    why="Ranges are right only for inputs made as the device will make them.",
    fix=("state the preprocessing in a dataset.yaml beside the images",),
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)
NOT_AN_IMAGE_INPUT = Rule(
    code="EC-321",
    name="data-not-an-image-input",
    message="images cannot be fed to {what}",
    why="An image gives one input with four axes, one of them 1 or 3 channels.",
    fix=(
        "give an .npz with one key per model input",
        "name the files of each input, and the layout of image inputs, in a dataset.yaml",
    ),
    example="a directory of photographs for a model with inputs 'input_ids' and 'attention_mask'",
)
RANDOM_SPEC = Rule(
    code="EC-322",
    name="data-random-spec",
    message="'{source}' does not name a number of random samples",
    why="Random data is made only when asked for as random:N, with N at least 1.",
    fix=("write random:16",),
    example="edgecompile build model.onnx --target intel-nuc --calibration random:many",
)
RANDOM_DATA = Rule(
    code="EC-323",
    name="data-random",
    message="'{source}' is random data: ranges and figures mean nothing for real inputs",
    why="Random inputs do not drive a network as real ones do.",
    fix=("give real samples with --calibration PATH",),
    severity=Severity.WARNING,
    exit_code=ExitCode.OK,
)
DATASET_SYNTAX = Rule(
    code="EC-325",
    name="dataset-syntax",
    message="not valid YAML: {problem}",
    why="The file could not be parsed.",
    fix=("mend the place shown",),
    example="size: [224, 224",
)
DATASET_KEY = Rule(
    code="EC-326",
    name="dataset-key",
    message="{problem}",
    why="A key that is not understood would be ignored silently, so it is refused.",
    fix=("correct the key or value at the place shown",),
    example="preproces: {size: [224, 224]}",
)
DATASET_PATH = Rule(
    code="EC-327",
    name="dataset-path",
    message="'{path}' leaves the directory of the dataset.yaml",
    why="A dataset may name only files in its own directory, so that it can be moved and trusted.",
    fix=("move the files below the directory of the dataset.yaml and name them relative to it",),
    example="files: ../../secrets/*.png",
)
DATASET_FILES = Rule(
    code="EC-328",
    name="dataset-files",
    message="no file matches '{pattern}'",
    why="The dataset names files that are not there.",
    fix=("check the spelling; patterns are relative to the dataset.yaml",),
    example="files: imgaes/*.png",
)
LABELS = Rule(
    code="EC-329",
    name="dataset-labels",
    message="{problem}",
    why="Every sample needs its own label, or a figure of accuracy means nothing.",
    fix=("give one id, or a list of accepted ids, for each sample, in the order of the files",),
    example="labels: [3, 1] for three files",
)
MODEL_NOT_RUNNABLE = Rule(
    code="EC-340",
    name="model-not-runnable",
    message="ONNX Runtime cannot load the model: {reason}",
    why="Calibration and verification run the float model in ONNX Runtime on this machine.",
    fix=(
        "run edgecompile check MODEL --target T to see which operators are not standard",
        "replace custom operators by standard ones before exporting",
    ),
    example="a model with an operator of a domain that ONNX Runtime does not know",
    exit_code=ExitCode.REJECTED,
)
SAMPLE_FAILED = Rule(
    code="EC-341",
    name="sample-failed",
    message="the model fails on sample '{sample}': {reason}",
    why="ONNX Runtime refused to run the model on this sample.",
    fix=(
        "check the sample's shape and values against what the model was trained for",
        "for axes of free length, the network may still need a multiple of some size",
    ),
    example="an image of 230 x 230 for a detector that needs multiples of 32",
)
ACTIVATION_NOT_FINITE = Rule(
    code="EC-342",
    name="activation-not-finite",
    message="tensor '{name}' has {what} for sample '{sample}'",
    why="No range can hold NaN. The model divides by zero or overflows in float already.",
    fix=(
        "check the sample; if it is sound, the model itself is not stable there",
        "keep the operator that makes it in float",
    ),
    example="a Log of 0, or a Div by a sum that is 0 for a black image",
    exit_code=ExitCode.REJECTED,
)
NOT_OBSERVABLE = Rule(
    code="EC-343",
    name="tensor-not-observable",
    message="tensor '{name}' cannot be calibrated: {reason}",
    why="Ranges are taken of floating-point tensors that the main graph computes.",
    fix=("leave the tensor out",),
    example="a tensor of integers, or one inside the body of a Loop",
    exit_code=ExitCode.REJECTED,
)
METHOD_UNKNOWN = Rule(
    code="EC-344",
    name="range-method-unknown",
    message="there is no range method '{name}'{nearest}",
    why="The range method decides how activations are clipped.",
    fix=("choose minmax, moving_average, percentile, entropy or mse",),
    example="edgecompile calibrate model.onnx --calibration photos --method entropi",
)
METHOD_OPTION = Rule(
    code="EC-345",
    name="range-method-option",
    message="option '{option}' of range method '{name}': {reason}",
    why="A method takes only the options that it knows.",
    fix=("see docs/reference/methods.md for the methods and their options",),
    example="edgecompile calibrate model.onnx -c photos/ --method percentile --set cut=101",
)
