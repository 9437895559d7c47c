"""Every silent trap of Qualcomm's compiler, and the test that shows that it is caught.

The compiler and the runtime report success for things that no device can use. `TRAPS` says where
each is tested; what is tested nowhere else is tested below.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgecompile.diagnostics import EdgecompileError
from edgecompile.emitters.qnn_built import check_built
from edgecompile.emitters.qnn_context_binary import QnnContextBinary
from edgecompile.emitters.qnn_dlc import QnnDlc
from edgecompile.ir import Model, save
from edgecompile.passes.base import Context
from edgecompile.passes.graph.freeze_shapes import FreezeShapes
from edgecompile.passes.quantize.cast_fp16 import CastFp16
from edgecompile.targets.catalogue import all_targets, load_target
from edgecompile.vendor.guarded import GuardedProcess
from edgecompile.vendor.qnn.system import describe_binary
from tests.support import models
from tests.support.models import Builder
from tests.support.qdq import whole_graph
from tests.unit.emitters.test_qnn_compiled import compiled, emit, refused

TESTS = Path(__file__).resolve().parents[2]
HERE = "unit/vendor/test_qnn_traps.py"
SUPPORT = "unit/emitters/test_qnn_support.py"
COMPILED = "unit/emitters/test_qnn_compiled.py"
RUNTIME = "unit/verify/test_qnn_runtime.py"
CHIPS = "unit/targets/test_qnn_chips.py"
WHOLE = "acceptance/test_qnn.py"
TOGETHER = "acceptance/test_qnn_together.py"

TRAPS = {
    "an unknown option is ignored": [
        (COMPILED, "test_unknown_options_pass_the_compiler_without_a_word"),
        (SUPPORT, "test_no_option_reaches_the_compiler_that_we_do_not_know"),
        (COMPILED, "test_the_provider_knows_every_option_that_we_give"),
    ],
    "an unknown architecture or name of a chip gives a binary of default values": [
        (HERE, "test_a_chip_that_the_compiler_does_not_know_is_told_by_the_binary"),
        (SUPPORT, "test_a_chip_that_the_compiler_would_replace_is_refused"),
    ],
    "an architecture alone gives half of the memory": [
        (COMPILED, "test_the_compiler_replaces_silently_and_the_binary_tells"),
    ],
    "a contradiction of chip and architecture follows the chip": [
        (COMPILED, "test_the_compiler_replaces_silently_and_the_binary_tells"),
        (CHIPS, "test_a_chip_is_refused_with_its_reason"),
    ],
    "a chip before the Tensor Processor gets a binary that it cannot load": [
        (COMPILED, "test_the_compiler_replaces_silently_and_the_binary_tells"),
        (WHOLE, "test_a_board_without_the_processor_gets_a_quantized_dlc"),
    ],
    "a chip that does not exist compiles nothing and returns normally": [
        (COMPILED, "test_a_chip_that_does_not_exist_compiles_nothing_and_that_is_an_error"),
    ],
    "a failed compile leaves files behind": [
        (COMPILED, "test_a_wrong_chip_in_the_target_leaves_nothing_behind"),
        (HERE, "test_a_compile_that_fails_half_way_leaves_nothing_behind"),
    ],
    "the wrapper echoes the options": [
        (HERE, "test_the_wrapper_repeats_the_options_and_only_the_binary_is_believed"),
    ],
    "a symbolic batch keeps the first convolution off the processor": [
        (HERE, "test_a_symbolic_batch_compiles_once_its_size_is_given"),
        (WHOLE, "test_a_symbolic_batch_is_mended_by_the_recipe_and_another_dimension_is_not"),
    ],
    "more memory than the chip has is accepted": [
        (SUPPORT, "test_more_memory_than_the_chip_has_is_refused"),
    ],
    "the emulator runs binaries of other chips": [
        (RUNTIME, "test_the_emulator_runs_binaries_of_other_chips_and_only_reading_back_tells"),
    ],
    "the emulator does not round to half precision as the chip does": [
        (HERE, "test_that_rounding_to_half_precision_is_not_shown_is_said_with_the_artifact"),
        (WHOLE, "test_other_recipes_run_whole_on_the_npu_and_are_near"),
    ],
    "members of a DLC have no checksums, and times differ": [
        (COMPILED, "test_a_dlc_is_parsed_back"),
        (COMPILED, "test_a_dlc_differs_in_bytes_and_not_in_content"),
    ],
    "another back end falls back to the CPU": [
        (HERE, "test_another_back_end_is_an_error_and_not_the_cpu"),
        (HERE, "test_only_the_processor_and_the_container_are_ever_asked_for"),
    ],
    "running the IR back end falls back to the CPU": [
        (HERE, "test_a_failure_while_it_runs_is_an_error_and_not_the_cpu"),
    ],
    "a model without a compiled graph runs on the CPU": [
        (HERE, "test_a_model_that_was_not_compiled_is_not_run"),
    ],
    "float on a chip that has none": [
        (HERE, "test_float_on_a_chip_without_it_is_told_before_the_compiler"),
        (WHOLE, "test_a_board_without_the_processor_gets_a_quantized_dlc"),
    ],
    "INT4 with one scale ends with an error about another node": [
        (SUPPORT, "test_int4_with_one_scale_is_refused"),
    ],
    "16-bit weights on a chip that has none end with the same error": [
        (SUPPORT, "test_16_bit_weights_are_refused_where_the_chip_has_none"),
    ],
    "INT4 in blocks stays on the CPU": [
        (HERE, "test_weights_in_blocks_are_told_when_the_cpu_unpacks_them"),
    ],
    "a file of several chips cannot be run here": [
        (TOGETHER, "test_one_file_holds_a_graph_for_each_chip"),
    ],
    "tensors of more than five dimensions": [
        (SUPPORT, "test_high_ranks_and_types_are_told"),
    ],
}
"""What the compiler does -> file and name of the tests that show that we catch it."""

GEN2 = load_target("snapdragon-8-gen2")
needs_qnn = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime_qnn") is None, reason="needs onnxruntime-qnn"
)


@pytest.mark.parametrize("trap", TRAPS)
def test_every_trap_has_its_test(trap):
    for file, name in TRAPS[trap]:
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert name in defined, f"{file} has no {name}"


@needs_qnn
@pytest.mark.parametrize(
    "options", [{"soc_model": "SM9999"}, {"htp_arch": "66"}, {"htp_arch": "85"}], ids=str
)
def test_a_chip_that_the_compiler_does_not_know_is_told_by_the_binary(options, tmp_path):
    told = compiled(whole_graph(), tmp_path, **options)
    binary, wrapper = told["binaries"]["w.bin"], told["models"][0]
    assert (binary["soc_type"], binary["arch"], binary["vtcm_mb"]) == ("UNKNOWN_SDM", 68, 4)
    assert GEN2.qnn is not None
    error = refused(lambda: check_built(whole_graph(), binary, wrapper, GEN2.qnn.chips[0], 8))
    assert error.diagnostics[0].code == "EC-625"


@needs_qnn
def test_the_wrapper_repeats_the_options_and_only_the_binary_is_believed(tmp_path):
    asked = {"soc_model": "43", "htp_arch": "75", "vtcm_mb": "99"}
    told = compiled(whole_graph(), tmp_path, **asked)
    wrapper = onnx.load(tmp_path / "w.onnx", load_external_data=False)
    (echo,) = (p.value for p in wrapper.metadata_props if p.key.startswith("ep_compatibility_info"))
    assert ":75:43:99:" in echo
    binary = told["binaries"]["w.bin"]
    assert (binary["soc_type"], binary["arch"]) == ("SM8550", 73)
    assert binary["vtcm_mb"] != 99
    gen3 = load_target("snapdragon-8-gen3").qnn
    assert gen3 is not None
    error = refused(
        lambda: check_built(whole_graph(), binary, told["models"][0], gen3.chips[0], 99)
    )
    assert "v73" in error.diagnostics[0].message


@needs_qnn
def test_a_compile_that_fails_half_way_leaves_nothing_behind(tmp_path, monkeypatch):
    worker = tmp_path / "half.py"
    worker.write_text(
        "from pathlib import Path\n"
        "from edgecompile.vendor.qnn import compile as real\n\n"
        "def compile_models(payload, session):\n"
        "    told = real.compile_models(payload, session)\n"
        "    made = Path(payload['folder']) / payload['binary']\n"
        "    made.write_bytes(made.read_bytes()[:4096])\n"
        "    real.describe_binary(made.read_bytes())\n"
        "    return told\n"
    )
    monkeypatch.setattr("edgecompile.emitters.qnn_context_binary.WORKER", str(worker))
    out = tmp_path / "out"
    error = refused(lambda: emit(QnnContextBinary(), whole_graph(), out))
    assert error.diagnostics[0].code == "EC-510"
    assert "cannot read the context binary" in error.diagnostics[0].message
    assert list(out.iterdir()) == []


def symbolic() -> Model:
    b = Builder()
    x = b.node("Relu", [b.conv(b.input("x", ["N", 3, 8, 8]), 3, 4)])
    return b.build({b.conv(x, 4, 4): ["N", 4, 8, 8]})


@needs_qnn
def test_a_symbolic_batch_compiles_once_its_size_is_given(tmp_path):
    free, fixed = tmp_path / "free", tmp_path / "fixed"
    free.mkdir()
    told = compiled(symbolic(), free, soc_model="43")
    outside = [node["op"] for one in told.get("models", []) for node in one["others"]]
    assert "refused" in told or "Conv" in outside
    frozen = FreezeShapes().run(symbolic(), Context(target=GEN2)).model
    artifact = emit(QnnContextBinary(), frozen, fixed)
    assert artifact.coverage is not None
    assert artifact.coverage.accelerated == artifact.coverage.nodes


def test_that_rounding_to_half_precision_is_not_shown_is_said_with_the_artifact():
    """What overflows, `cast_fp16` leaves in float; how a chip rounds, only the chip shows."""
    for target in all_targets().values():
        for rule in target.artifacts:
            if rule.status == "simulated" and "fp16" in target.precisions.get("npu", ()):
                assert "half precision" in " ".join(rule.why.split())
    b = Builder()
    x = b.node("Mul", [b.input("x", [1, 8]), b.constant(np.float32(1e6))])
    model = b.build({b.node("Sigmoid", [x]): [1, 8]})
    half = CastFp16().run(model, Context(target=GEN2)).model
    types = {n.op_type: n.outputs[0].dtype for n in half.graph.graph}
    assert types["Mul"] == ir.DataType.FLOAT


def run_with(model: Path, options: dict[str, str], folder: Path) -> str:
    """The error of opening `model` and running it once; empty when it ran."""
    feeds = folder / "feeds.npz"
    np.savez(feeds, **{"0/0": models.feeds(whole_graph(), batch=1)["x"]})  # type: ignore[arg-type]
    runner = "edgecompile.vendor.qnn.runner"
    call = {"feeds": str(feeds), "results": str(folder / "r.npz"), "inputs": ["x"], "samples": 1}
    opening = {"model": str(model), "options": options, "threads": 1}
    try:
        with GuardedProcess("qnn", workdir=folder / "process") as worker:
            worker.call(f"{runner}:open_model", opening)
            worker.call(f"{runner}:run", call)
    except EdgecompileError as error:
        return error.diagnostics[0].message
    return ""


@needs_qnn
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_another_back_end_is_an_error_and_not_the_cpu(backend, tmp_path):
    artifact = emit(QnnContextBinary(), whole_graph(), tmp_path)
    wrapper = tmp_path / artifact.path
    options = {"backend_type": "htp", "soc_model": "43"}
    assert run_with(wrapper, options, tmp_path) == ""
    assert run_with(wrapper, {**options, "backend_type": backend}, tmp_path) != ""
    folder = tmp_path / "compile"
    folder.mkdir()
    told = compiled(whole_graph(), folder, backend_type=backend)
    assert "Unable to compile any nodes" in told["refused"]


@needs_qnn
def test_a_model_that_was_not_compiled_is_not_run(tmp_path):
    save(whole_graph(), tmp_path / "m.onnx")
    for backend in ("htp", "cpu", "gpu", "ir"):
        told = run_with(tmp_path / "m.onnx", {"backend_type": backend}, tmp_path)
        assert "holds no compiled graph" in told


FAILING = """
from edgecompile.vendor.qnn import runner
from edgecompile.vendor.qnn.provider import open_session, session_options


def open_model(payload, session):
    made = open_session(payload["model"], session_options(session, payload["options"]))
    session.kept["opened"] = made
    return {}


run = runner.run
"""


@needs_qnn
def test_a_failure_while_it_runs_is_an_error_and_not_the_cpu(tmp_path):
    """QNN's IR back end takes a model, and fails when it is run."""
    save(whole_graph(), tmp_path / "m.onnx")
    (tmp_path / "failing.py").write_text(FAILING)
    np.savez(tmp_path / "f.npz", **{"0/0": models.feeds(whole_graph(), batch=1)["x"]})
    dump = {"dump_qnn_ir_dlc": "1", "dump_qnn_ir_dlc_dir": str(tmp_path)}
    opening = {"model": str(tmp_path / "m.onnx"), "options": {"backend_type": "ir", **dump}}
    call = {"feeds": str(tmp_path / "f.npz"), "results": str(tmp_path / "r.npz")}
    with GuardedProcess("qnn", workdir=tmp_path / "process") as worker:
        worker.call(f"{tmp_path / 'failing.py'}:open_model", opening)
        with pytest.raises(EdgecompileError, match="QNN_COMMON_ERROR_NOT_SUPPORTED") as caught:
            worker.call(f"{tmp_path / 'failing.py'}:run", {**call, "inputs": ["x"], "samples": 1})
    assert "Falling back" not in caught.value.details
    assert not (tmp_path / "r.npz").exists()


def test_only_the_processor_and_the_container_are_ever_asked_for():
    assert GEN2.qnn is not None
    chips = GEN2.qnn.chips
    assert QnnContextBinary().provider_options(chips[0])["backend_type"] == "htp"
    for emitter in (QnnContextBinary, QnnDlc):
        with pytest.raises(ValueError, match="backend_type"):
            emitter(backend_type="gpu")


def test_float_on_a_chip_without_it_is_told_before_the_compiler():
    rb3 = load_target("rb3-gen2")
    (told,) = QnnContextBinary().supports(models.conv_bn_relu(), rb3)
    assert told.code == "EC-621"
    assert "QCS6490 does not compute in fp16" in told.message
    assert QnnContextBinary().supports(models.conv_bn_relu(), GEN2) == []
    assert QnnContextBinary().supports(models.mlp(), rb3) == []  # the CPU can take a product


@needs_qnn
def test_weights_in_blocks_are_told_when_the_cpu_unpacks_them(tmp_path):
    b = Builder(opset=21)
    integers = b.rng.integers(-7, 8, (64, 32)).astype(ml_dtypes.int4)
    scales = np.full((2, 32), 0.1, np.float32)
    w = b.node(
        "DequantizeLinear", [b.constant(integers), b.constant(scales)], axis=0, block_size=32
    )
    x = b.node("Relu", [b.input("x", [1, 64])])
    model = b.build({b.node("Relu", [b.node("MatMul", [x, w])]): [1, 32]})
    artifact = emit(QnnContextBinary(), model, tmp_path)
    assert [remark.code for remark in artifact.remarks] == ["EC-624"]
    assert artifact.remarks[0].message.startswith("DequantizeLinear runs on the CPU")
    assert describe_binary((tmp_path / artifact.files[1]).read_bytes())["arch"] == 73
