"""`Target`: the facts about a device that passes, emitters and checks query.

Code never switches on a target's name. A figure without a source is null, and null means
"unknown, refuse to estimate", never zero.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from edgecompile.targets.frozen import Frozen
from edgecompile.targets.operators import operator_table
from edgecompile.targets.qaic import Qaic
from edgecompile.targets.stacks import Stack
from edgecompile.targets.tensorrt import TensorRt

Scalar = float | int | str | bool


class Kind(StrEnum):
    """What a figure rests on."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    DERIVED = "derived"
    MEASURED = "measured"
    RECOLLECTION = "recollection"
    NOT_SOURCED = "not_sourced"


class Fact(Frozen):
    """One hardware figure (units are in its name) with its sources."""

    value: Scalar | tuple[Scalar, ...] | None
    kind: Kind
    source: tuple[str, ...] = ()
    note: str = ""

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        """A figure has a source; without one it is null and `not_sourced`."""
        if (self.value is None) != (self.kind is Kind.NOT_SOURCED):
            raise ValueError("a null is 'not_sourced', and a value is not")
        if self.value is not None and not self.source:
            raise ValueError("a value needs a source")
        return self


class Saturation(StrEnum):
    """Whether u8 x s8 pair sums can saturate 16 bits on the device (AVX2 without VNNI does)."""

    NEVER = "never"
    SOME = "some"
    """Some members of the family do: emit weights that cannot overflow."""
    ALWAYS = "always"


ActivationType = Literal["uint8", "int8", "uint16", "int16"]
WeightType = Literal["int8", "uint8", "int4", "int16"]


class Activations(Frozen):
    """How the target wants activations in Q/DQ form."""

    type: ActivationType = "uint8"
    symmetric: bool = False
    """The zero point is 0, or the middle of an unsigned type."""
    wide: ActivationType | None = None
    """The 16-bit type of operators that 8 bits are too few for; null where the runtime has none,
    and they can only go to float."""


class Weights(Frozen):
    """How the target wants weights in Q/DQ form."""

    type: WeightType = "int8"
    symmetric: bool = True
    per_channel: bool = True
    narrow_range: bool = True
    """Symmetric integers stay in [-127, 127]."""


class OperatorRule(Frozen):
    """What some operators take, where it differs from the rest of the style.

    Fields that are null say nothing. Of several rules that name an operator the last that sets a
    field decides it.
    """

    operators: tuple[str, ...]
    activations: ActivationType | None = None
    """Integer type of its activations: inputs, and where the style has `outputs` its outputs.
    A pair that converts stands on each edge between operators of different types."""
    symmetric: bool | None = None
    """Whether the activations' zero point is 0 (the middle of an unsigned type)."""
    weights: WeightType | None = None
    """Integer type of its constant operands."""
    per_channel: bool | None = None
    """Whether its weights have a scale per output channel."""
    weight_axis: int | None = None
    """The only axis of its weights that the runtime takes scales along. A matrix whose output
    channels lie along the other one is stored transposed and turned by a Transpose."""
    output_range: tuple[float, float] | None = None
    """[low, high): the fixed range of the output, whatever was calibrated; its scale is
    (high - low) / 2^bits. Only in a style with `outputs`."""
    why: str = ""


class QdqStyle(Frozen):
    """The Q/DQ form that the target's runtime fuses into integer kernels.

    Without `outputs`, pairs stand at the inputs of `operators` and what nobody reads in integers
    stays float. With `outputs`, every one of `operators` and `shared_scale` is a unit of its own:
    DequantizeLinear on each input, the operator, QuantizeLinear on its output, from the graph's
    inputs to its outputs; their constant operands are integers as well.
    """

    activations: Activations = Activations()
    weights: Weights = Weights()
    bias: Literal["int32", "int8", "float"] = "float"
    """`int32` has the scale of its products, that of the activation times that of the weights, and
    zero point 0. `int8` has a symmetric scale of its own."""
    power_of_two_scales: bool = False
    outputs: bool = False
    """Whether outputs of operators carry pairs too (see above)."""
    operators: tuple[str, ...]
    """Operators whose arithmetic runs in integers and gains from it."""
    rules: tuple[OperatorRule, ...] = ()
    """Operators that take something else than the rest."""
    contrib_types: bool = False
    """Whether the importer reads QuantizeLinear and DequantizeLinear of the domain com.microsoft,
    which have 16-bit and 4-bit types below opset 21."""
    carriers: tuple[str, ...] = ()
    """Operators that can read integers but have no arithmetic to save: a Q/DQ pair in front of them
    costs accuracy and saves memory traffic at most. Quantized only when a recipe names them."""
    zero_point_0: tuple[str, ...] = ()
    """Those of `operators` that run in float unless the activation's zero point is 0."""
    symmetric_products: bool = False
    """A product of two activations runs in float unless both are signed with zero point 0."""
    shared_scale: tuple[str, ...] = ()
    """Operators that pass integers on: their inputs and outputs must carry one scale and zero
    point, or they, and the operator behind them, run in float. `Resize` means mode `nearest`."""
    unify_elementwise_inputs: bool = False
    """Whether all activations that an element-wise operator reads must have one scale and zero
    point."""
    fused_residual: bool = False
    """An Add that joins the output of a convolution or matrix product runs in its kernel: only the
    other branch gets a pair. `Add` need not be in `operators`."""
    fused_activations: tuple[str, ...] = ()
    """Activations that the runtime fuses into the operator before: no Q/DQ pair between."""
    saturation: Saturation = Saturation.NEVER
    """Whether weights must be kept from overflowing 16-bit sums."""
    source: tuple[str, ...] = ()
    """Sources of this style, by id."""
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """`zero_point_0` tells more about `operators`; no operator is in two lists."""
        stray = set(self.zero_point_0) - set(self.operators)
        if stray:
            raise ValueError(f"{sorted(stray)} must be in 'operators' too")
        both = {*self.operators, *self.carriers} & set(self.shared_scale)
        both |= set(self.operators) & set(self.carriers)
        if both:
            raise ValueError(f"{sorted(both)} are in both of two lists of operators")
        ruled = {name for rule in self.rules for name in rule.operators}
        known = {*self.operators, *self.carriers, *self.shared_scale}
        if idle := sorted(ruled - known):
            raise ValueError(f"'rules' speak of {idle}, which no list of operators names")
        if not self.outputs and any(rule.output_range for rule in self.rules):
            raise ValueError("'output_range' has no meaning without 'outputs'")
        return self


class WeightCompression(Frozen):
    """How the target's runtime takes weights that are stored in integers and used in float."""

    form: Literal["dequantize_linear", "matmul_nbits"] = "dequantize_linear"
    """Standard ONNX, or the contrib operator of ONNX Runtime for matrix products in 4 bits."""


class Opsets(Frozen):
    """Range of `ai.onnx` opsets that the target's importer takes."""

    min: int = 7
    max: int
    source: tuple[str, ...] = ()
    note: str = ""


class OperatorSupport(Frozen):
    """A published table of operators that the target's runtime holds to."""

    table: str
    """Name of a file in `targets/operator_tables`, without `.json`."""
    runtime: str
    """What the table speaks of, as messages call it: `the DirectML execution provider`."""
    column: str | None = None
    """The table's column that holds for a model as it comes, where it has columns."""
    wide_column: str | None = None
    """The one that holds for models with activations of 16 bits; null: `column`."""
    float_column: str | None = None
    """The one for float models that the runtime converts to a precision of its own."""
    elsewhere: str | None = None
    """Where other operators run instead, as messages call it: `the CPU`. Null: nowhere, the model
    is refused."""

    @model_validator(mode="after")
    def _exists(self) -> Self:
        """The table is there and has the column."""
        try:
            known = operator_table(self.table)
        except LookupError as error:
            raise ValueError(str(error)) from None
        for column in (self.column, self.wide_column, self.float_column):
            if column is not None and column not in known.columns:
                raise ValueError(f"the table '{self.table}' has no column '{column}'")
        return self


class OpenVino(Frozen):
    """Facts for the OpenVINO emitter and verifier."""

    device: Literal["CPU", "GPU", "NPU", "MYRIAD"]
    integer_products: Literal["product", "convolution"] = "product"
    """The form in which the device runs an INT8 product with constant weights fastest."""
    config: dict[str, str] = Field(default_factory=dict)
    """What a compiler on another machine is told about the device, such as its platform."""
    operator_table: str | None = None
    """Table of OpenVINO's own operators that the device's compiler parses; null: all of them."""
    fallback: tuple[Literal["CPU", "GPU"], ...] = ()
    """Where operators run that it does not parse, in order."""


QnnPrecision = Literal["a8w8", "a16w8", "a16w4", "a16w16", "fp16"]
"""Width of activations and weights in bits, or half precision."""


class QnnChip(Frozen):
    """One chip as QNN's compiler knows it. Every field is what it writes into a binary."""

    soc_model: int
    """The compiler's number of the chip: what it is told to build for."""
    soc_type: str
    """Its name, such as `SM8550`."""
    arch: int
    """Version of the Hexagon Tensor Processor, such as 73."""
    vtcm_mb: int
    """Tightly coupled memory, in MiB."""
    accepts: tuple[QnnPrecision, ...]
    """Precisions that the compiler takes for this chip; the architecture does not tell them."""


class Qnn(Frozen):
    """Facts for the QNN emitters and their verification."""

    backend: Literal["htp", "dsp"]
    """`htp`: the Hexagon Tensor Processor, which QNN compiles for. `dsp`: an older Hexagon DSP,
    which reads DLC only."""
    chips: tuple[QnnChip, ...] = ()
    """The chips to build for; more than one make a DLC with a part for each."""
    max_rank: int = 5
    """Dimensions of a tensor, at most."""
    source: tuple[str, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        """A processor that is compiled for has a chip, and only that."""
        if (self.backend == "htp") != bool(self.chips):
            raise ValueError("'htp' needs chips, and 'dsp' takes none")
        return self


class OnnxRuntime(Frozen):
    """How ONNX Runtime loads a model on the device, for formats that are ONNX files."""

    provider: str
    """Name of the execution provider, such as `DmlExecutionProvider`."""
    package: str
    """The distribution that a device installs, with what else it needs."""
    unit: Literal["cpu", "gpu", "npu"]
    """What the provider runs on; a compute unit of `precisions`."""
    catalogued: bool = False
    """Whether the provider comes from the catalogue of Windows ML and is registered first."""
    options: dict[str, str] = Field(default_factory=dict)
    """Options of the provider."""
    session: dict[str, bool | str] = Field(default_factory=dict)
    """Attributes of `SessionOptions` that the provider asks for."""
    min_driver: str | None = None
    """Oldest driver that the provider works with."""
    source: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class ArtifactRule(Frozen):
    """One artifact format that the target takes, and the status that a build elsewhere reaches."""

    format: str
    status: Literal["verified", "simulated", "checked", "needs-device-build"]
    why: str
    """Why the status is not higher (or why it may be this high)."""
    on_request: bool = False
    """Whether it is only written when `--artifact` names it."""
    instead_of: str | None = None
    """The format that this one stands in for where a machine cannot write that; else left out."""


class Target(Frozen):
    """One device, or one compute unit of a device, as facts."""

    schema_: Annotated[Literal["edgecompile/target@1"], Field(alias="schema")]
    id: str
    aliases: tuple[str, ...] = ()
    vendor: str
    soc: str
    accelerator: str
    summary: str
    artifacts: tuple[ArtifactRule, ...]
    recipe: str
    """Name of the default recipe."""
    transformer_recipe: str | None = None
    """The default for transformers, where the vendor runs these in another precision."""
    precisions: dict[str, tuple[str, ...]]
    """Compute unit -> precisions it computes in (`int8`, `int16`, `fp16`, `bf16`, `fp32`, ...)."""
    precision_source: tuple[str, ...] = ()
    precision_notes: tuple[str, ...] = ()
    opset: Opsets
    static_shapes: bool = False
    quantization: QdqStyle | None = None
    float_only: str | None = None
    """Why the target has no use for integers. A recipe that makes some gives way to the target's
    own, with a warning that says this."""
    weight_compression: WeightCompression | None = None
    """Null means standard ONNX: DequantizeLinear."""
    operators: tuple[OperatorSupport, ...] = ()
    """Which operators its runtime has; several where a model may run in one of several."""
    openvino: OpenVino | None = None
    qnn: Qnn | None = None
    tensorrt: TensorRt | None = None
    stack: Stack | None = None
    """Releases of the device's software, where they make a difference to a build."""
    onnxruntime: OnnxRuntime | None = None
    qaic: Qaic | None = None
    hardware: dict[str, Fact] = Field(default_factory=dict)
    """Figures by name, the unit in the name. Read `.value`, which may be null."""
    graph_notes: tuple[str, ...] = ()
    sources: dict[str, str] = Field(default_factory=dict)
    """Source id -> page or repository@commit."""

    @property
    def cited(self) -> frozenset[str]:
        """Ids of all sources that some fact names."""
        style = self.quantization.source if self.quantization else ()
        qnn = self.qnn.source if self.qnn else ()
        qaic = self.qaic.source if self.qaic else ()
        ort = self.onnxruntime.source if self.onnxruntime else ()
        figures = (id_ for fact in self.hardware.values() for id_ in fact.source)
        own = self.tensorrt.cited if self.tensorrt else ()
        named = (
            *self.precision_source,
            *self.opset.source,
            *style,
            *qnn,
            *ort,
            *qaic,
            *own,
            *figures,
        )
        return frozenset(named)

    @model_validator(mode="after")
    def _resolved(self) -> Self:
        """Every source id that a fact names is explained under `sources`, and none is idle."""
        if missing := sorted(self.cited - self.sources.keys()):
            raise ValueError(f"'sources' does not explain {missing}")
        if idle := sorted(self.sources.keys() - self.cited):
            raise ValueError(f"no fact cites the sources {idle}")
        return self
