"""Where onnxruntime (on a CPU) and the onnx package know different operators."""

from __future__ import annotations

CONTRIB = "com.microsoft"  # the domain of onnxruntime's own operators

_CONTRIB = """
    Attention AttnLSTM BeamSearch BiasGelu BifurcationDetector BranchwiseRMSNorm CDist CausalConvWithState
    ConvTransposeWithDynamicPads CropAndResize DecoderMaskedMultiHeadAttention DequantizeLinear
    DynamicQuantizeLSTM DynamicQuantizeMatMul DynamicTimeWarping EmbedLayerNormalization EngramGate
    ExpandDims FastGelu FusedConv FusedGemm FusedMatMul GatedAdd GatedDeltaNet GatedRMSNorm
    GatherBlockQuantized GatherND GatherPacked Gelu GreedySearch GridSample GroupQueryAttention
    HyperConnectionPostMix HyperConnectionPreMix Inverse LinearAttention LinearAttentionGate
    MRotaryEmbedding MatMulBnb4 MatMulFpQ4 MatMulInteger16 MatMulIntegerToFloat MatMulNBits
    MaxpoolWithMask MoE MoEGroupRouter MultiHeadAttention MurmurHash3 NGramHashMapping NGramRepeatBlock
    NhwcMaxPool Pad QAttention QEmbedLayerNormalization QGemm QLinearAdd QLinearAveragePool QLinearConcat
    QLinearConv QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearSigmoid QLinearSoftmax
    QLinearWhere QMoE QuantizeLinear QuickGelu Range RotaryEmbedding SampleOp Sampling ScaledSiLU
    SkipLayerNormalization SkipSimplifiedLayerNormalization SparseAttention SparseToDenseMatMul Tokenizer
    TransposeMatMul Trilu UnfoldTensor Unique VarlenCausalConvWithState VarlenNGramHashMapping
    WhisperBeamSearch WordConvEmbedding
"""
# From before an operator was standardised.
_STANDARD = (
    "Affine Crop DynamicSlice ImageScaler ParametricSoftplus Scale ScaledTanh SimplifiedLayerNormalization"
)

OPERATORS: dict[str, frozenset[str]] = {
    CONTRIB: frozenset(_CONTRIB.split()),
    "": frozenset(_STANDARD.split()),
}
DOMAINS = frozenset({"", "ai.onnx.ml", CONTRIB})  # of which onnxruntime has kernels
WITHOUT_KERNEL = frozenset({"ImageDecoder"})  # standard operators that it does not run

_OLDEST = {
    2: "GlobalLpPool LpPool Pad Split",
    4: "Concat",
    6: """Abs Cast Ceil Clip Elu Exp Floor HardSigmoid InstanceNormalization LeakyRelu Log Max Mean Min Neg Reciprocal Relu
        Selu Sigmoid Sqrt Sum Tanh Tile""",
    7: """Add And AveragePool BatchNormalization Div Dropout Equal GRU Gemm Greater LSTM Less Mul Or PRelu Pow RNN Sub Upsample
        Xor""",
}
# The first version of a standard operator that it has a kernel for, where that is not the first of all.
OLDEST: dict[str, int] = {name: version for version, names in _OLDEST.items() for name in names.split()}
