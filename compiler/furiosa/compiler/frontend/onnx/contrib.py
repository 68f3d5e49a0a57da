"""Operators that onnxruntime runs on a CPU and the onnx package does not define."""

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
