"""Multiply-accumulates of ONNX operators, of onnxruntime's own as well, by domain: which have some and how many, which have none."""

from __future__ import annotations

import math

from furiosa.compiler.dfg.graph import Graph, Operator, Tensor
from furiosa.compiler.dfg.macs_common import (
    Count,
    Unknown,
    convolution,
    dimension,
    either,
    fourier,
    given,
    inside,
    repeated,
    shape,
    size,
    sizes,
    transposed_convolution,
    unknown,
)
from furiosa.compiler.dfg.macs_einsum import contraction


def count(op: Operator) -> int:
    """Multiply-accumulates of one run.

    Raises:
        Unknown: nobody can tell.
    """
    domain = op.attributes.get("domain", "")
    function = MULTIPLY.get(domain, {}).get(op.op_type)
    if function is not None:
        return function(op)
    if op.op_type in NONE.get(domain, ()):
        return 0
    where = f"of domain {domain}" if domain else "of the standard domain"
    raise Unknown(f"{op.op_type} {where} is no operator that is known here")


# -- matrix products ----------------------------------------------------------------------------------------------


def _matmul(op: Operator) -> int:
    """Also where a factor is stored transposed; transBatchA has the rows of the left one before its batch."""
    a = shape(given(op, 0))
    if not a:
        raise Unknown("its left factor is a scalar")
    depth = a[-1]
    if op.attributes.get("transA", 0) and len(a) > 1:
        depth = a[0] if op.attributes.get("transBatchA", 0) else a[-2]
    return size(op.outputs[0]) * depth


def _stated_depth(op: Operator) -> int:
    """Packed weights, whose depth only the attribute K tells."""
    depth = op.attributes.get("K")
    return size(op.outputs[0]) * depth if depth else _matmul(op)


def _einsum(op: Operator) -> int:
    return contraction(op.attributes.get("equation", ""), [shape(t) for t in op.inputs])


def _by_coefficients(op: Operator) -> int:
    """A sample by each set of coefficients."""
    x = shape(given(op, 0))
    return math.prod(x[:-1]) * len(op.attributes.get("coefficients") or ())


def _support_vectors(op: Operator) -> int:
    """A sample by each support vector, and the sums of those; without any a linear model."""
    a = op.attributes
    x = shape(given(op, 0))
    samples, coefficients = math.prod(x[:-1]), len(a.get("coefficients") or ())
    return samples * (len(a.get("support_vectors") or ()) + coefficients)


def _distances(op: Operator) -> int:
    return size(op.outputs[0]) * dimension(given(op, 0), -1)


def _experts(op: Operator) -> int:
    """Each token by the weights of the experts that take it; packed weights have their rows' number only."""
    rows_1, experts = dimension(given(op, 2), 1), dimension(given(op, 2), 0)
    hidden = dimension(given(op, 0), -1)
    third = given(op, 8 if op.op_type == "QMoE" else 6)
    inner = dimension(third, 1) if third is not None else rows_1
    if third is None and op.attributes.get("swiglu_fusion", 0):
        inner = rows_1 // 2
    taken = min(op.attributes.get("k", 1), experts)
    weights = rows_1 * hidden + hidden * inner + (inner * hidden if third is not None else 0)
    return size(given(op, 0)) // max(hidden, 1) * taken * weights


def _optional_projection(data: int, weight: int) -> Count:
    """A product by weights that may be left out; ``data`` is [tokens, depth]."""

    def count(op: Operator) -> int:
        w = given(op, weight)
        if w is None:
            return 0
        x = given(op, data)
        return size(x) // max(dimension(x, -1), 1) * size(w)

    return count


# -- recurrent layers ---------------------------------------------------------------------------------------------


def _recurrent(op: Operator) -> int:
    """Each step of each sequence by the weights of input and state, in all directions; peepholes are element by element."""
    x = shape(given(op, 0))
    return math.prod(x[:2]) * sizes(op, (1, 2))


def _attention_lstm(op: Operator) -> int:
    """An LSTM that in each step attends to a memory of [batch, places, depth]."""
    steps, batch = shape(given(op, 0))[:2]
    places, depth = shape(given(op, 11))[1:]
    width = dimension(given(op, 9), -1)
    directions = dimension(given(op, 1), 0)
    cell = sizes(op, (1, 2, 8, 13))  # W, R, the query layer, the attention layer
    attention = directions * places * (width + depth)
    return batch * (steps * (cell + attention) + places * size(given(op, 9)))


def _linear_attention(op: Operator) -> int:
    """A state [key, value] a head: updated by each token, read by each query, and by each key where the rule is a delta."""
    a = op.attributes
    query, value = shape(given(op, 0)), shape(given(op, 2))
    if len(query) != 3 or given(op, 1) is None:
        raise Unknown("queries, keys and values are packed together")
    if op.op_type == "GatedDeltaNet":  # [tokens, heads, depth]
        tokens, heads_q, depth = query
        heads, width = value[1:]
    else:  # [batch, tokens, heads * depth]
        tokens, heads_q, heads = math.prod(query[:2]), a.get("q_num_heads", 1), a.get("kv_num_heads", 1)
        depth, width = query[2] // max(heads_q, 1), value[2] // max(heads, 1)
    default = "linear" if op.op_type == "GatedDeltaNet" else "gated_delta"
    times = 2 if "delta" in a.get("update_rule", default) else 1
    return tokens * depth * width * (times * heads + max(heads_q, heads))


# -- attention ----------------------------------------------------------------------------------------------------


def _attention(op: Operator) -> int:
    """Queries by keys, then weights by values: [batch, heads, length, depth], or [batch, length, heads * depth]."""
    key, past = given(op, 1), given(op, 4)
    length = dimension(key, 2 if len(shape(key)) == 4 else 1)
    if past is not None:
        length += dimension(past, 2)
    return (size(given(op, 0)) + size(op.outputs[0])) * length


def _projecting_attention(weights: int, past: int) -> Count:
    """The same behind a product of the input [batch, length, width] by the weights of queries, keys and values together."""

    def count(op: Operator) -> int:
        if op.attributes.get("past_present_share_buffer", 0):
            raise Unknown("how much of its buffer of keys and values is in use depends on the data")
        batch, length, width = shape(given(op, 0))
        columns = dimension(given(op, weights), 1)
        hidden = (op.attributes.get("qkv_hidden_sizes") or [columns // 3])[0]
        earlier = dimension(p, 3) if (p := given(op, past)) is not None else 0
        projected = batch * length * width * columns
        return projected + (batch * length * hidden + size(op.outputs[0])) * (length + earlier)

    return count


def _multi_head_attention(op: Operator) -> int:
    """Queries, keys and values come projected: each by itself, keys with values [.., 2, depth], or all [.., 3, depth]."""
    if given(op, 8 if op.op_type == "MultiHeadAttention" else 7) is not None:
        raise Unknown("how much of its buffer of keys and values is in use depends on the data")
    query, key, past = given(op, 0), given(op, 1), given(op, 5 if op.op_type != "MultiHeadAttention" else 6)
    made = size(op.outputs[0])
    asked = size(query)
    if key is None:
        if len(shape(query)) == 5:
            asked //= 3
        else:  # [batch, 1, 2 * hidden + v_hidden]
            asked = (asked - made) // 2
        length = dimension(query, 1)
    else:
        length = dimension(key, 2 if len(shape(key)) == 4 else 1)
    if past is not None:
        length += dimension(past, 2)
    return (asked + made) * length


def _grouped_attention(op: Operator) -> int:
    """The length of the cache is an input: known where that is constant, or there is no cache."""
    made = size(op.outputs[0])
    length = given(op, 6)
    if length is not None and length.is_constant and length.size == 1:
        keys = int(length.data.reshape(-1)[0])
    elif given(op, 3) is None:
        keys = dimension(given(op, 1) or given(op, 0), 1)
    else:
        raise Unknown("how long its cache of keys and values is depends on the data")
    return 2 * made * keys


# -- transforms ---------------------------------------------------------------------------------------------------


def _dft(op: Operator) -> int:
    """Along one axis; the last dimension holds real and imaginary part."""
    x, y = shape(given(op, 0)), shape(op.outputs[0])
    axis, stated = op.attributes.get("axis", -2), given(op, 2)  # an input since opset 20
    if stated is not None:
        if not stated.is_constant:
            raise Unknown("its axis depends on the data")
        axis = int(stated.data.reshape(-1)[0])
    axis %= max(len(x), 1)
    lines = math.prod(y[:-1]) // max(y[axis], 1)
    length = x[axis]
    given_length = given(op, 1)
    if given_length is not None and given_length.is_constant:
        length = min(length, int(given_length.data.reshape(-1)[0]))  # what is added are zeros
    return lines * fourier(length, y[axis], complex_input=x[-1] == 2)


def _stft(op: Operator) -> int:
    """[batch, frames, frequencies, 2]: a transform of each frame, after a product by the window."""
    x, y = shape(given(op, 0)), shape(op.outputs[0])
    window, stated = given(op, 2), given(op, 3)
    if window is not None:
        length = size(window)
    elif stated is not None and stated.is_constant:
        length = int(stated.data.reshape(-1)[0])
    else:
        raise Unknown("the length of its frames depends on the data")
    batch, frames, frequencies = y[:3]
    return batch * frames * fourier(length, frequencies, complex_input=len(x) == 3 and x[-1] == 2)


def _affine_grid(op: Operator) -> int:
    """Each place of the grid, with a 1, by a matrix of its sample."""
    return size(op.outputs[0]) * dimension(given(op, 0), -1)


def _word_convolution(op: Operator) -> int:
    """Windows over the letters of each word [.., letters] by filters [filters, 1, window, width]."""
    letters, w = dimension(given(op, 0), -1), given(op, 1)
    places = max(letters - dimension(w, 2) + 1, 1)
    return size(given(op, 0)) // max(letters, 1) * places * size(w)


# -- operators that run others ------------------------------------------------------------------------------------


def _body(op: Operator, name: str) -> Graph:
    body = (op.bodies or {}).get(name)
    if body is None:
        raise Unknown("what it runs is not known")
    return body


def _region(op: Operator) -> int:
    return inside(_body(op, "function"), count)


def _if(op: Operator) -> int:
    branches = [_body(op, "then_branch"), _body(op, "else_branch")]
    condition = given(op, 0)
    if condition is not None and condition.is_constant:
        branches = [branches[0 if condition.data.any() else 1]]
    return either(branches, count)


def _loop(op: Operator) -> int:
    body = _body(op, "body")
    return repeated(body, _turns(op, body), count)


def _turns(op: Operator, body: Graph) -> int | None:
    """How often a Loop repeats, where a constant says so and its conditions never end it."""
    most, condition = given(op, 0), given(op, 1)
    if condition is not None and not condition.is_constant:
        return None
    if condition is not None and not condition.data.any():
        return 0
    if condition is not None and not _goes_on(body):
        return None
    return max(int(most.data.reshape(-1)[0]), 0) if most is not None and most.is_constant else None


def _goes_on(body: Graph) -> bool:
    """Whether a body hands its condition on, or gives a constant that is true."""
    made = {op.outputs[0]: op for op in body.operators if op.op_type == "Identity" and op.outputs}
    at: Tensor | None = body.outputs[0] if body.outputs else None
    while at in made:
        at = made[at].inputs[0]
    if at is None:
        return False
    return bool(at.data.all()) if at.is_constant else at in body.inputs[1:2]


def _scan(op: Operator) -> int:
    """Over the length of the scanned inputs, which are the last ones."""
    body = _body(op, "body")
    scanned = op.attributes.get("num_scan_inputs", 0)
    axes = op.attributes.get("scan_input_axes") or [0] * scanned
    own = len(op.inputs) - _captured(op)
    if own != len(body.inputs):
        raise Unknown("it is of opset 8, which scans batches of sequences of their own lengths")
    length = dimension(op.inputs[own - scanned], axes[0]) if scanned else 0
    return repeated(body, length, count)


def _captured(op: Operator) -> int:
    """How many of the inputs are what subgraphs read from outside."""
    return len(op.inputs) - len(op.source.input) if op.source is not None else 0


def _map(op: Operator) -> int:
    return repeated(_body(op, "body"), None, count)


_NO_CPU = unknown("there is no kernel of it for a CPU, and no count of it here")
_GENERATES = unknown("how much it generates depends on the data")
_SPARSE = unknown("how many elements are not zero depends on the data")
_ALGORITHM = unknown("it depends on the algorithm")

# -- the tables ---------------------------------------------------------------------------------------------------

_CONV, _CONV_TRANSPOSE = convolution(1, 0), transposed_convolution(0, 1, 0)

MULTIPLY: dict[str, dict[str, Count]] = {
    "": {
        "AffineGrid": _affine_grid,
        "Attention": _attention,
        "CausalConvWithState": _CONV,
        "Conv": _CONV,
        "ConvInteger": _CONV,
        "ConvTranspose": _CONV_TRANSPOSE,
        "DFT": _dft,
        "DeformConv": _CONV,
        "Det": _ALGORITHM,
        "DisentangledAttention_TRT": _NO_CPU,
        "Einsum": _einsum,
        "GRU": _recurrent,
        "GRUUnit": _NO_CPU,
        "Gemm": _matmul,
        "HostRegion": _region,  # of the importer: operators that run together
        "If": _if,
        "LSTM": _recurrent,
        "LinearAttention": _linear_attention,
        "Loop": _loop,
        "MatMul": _matmul,
        "MatMulInteger": _matmul,
        "QLinearConv": convolution(3, 0),
        "QLinearMatMul": _matmul,
        "RNN": _recurrent,
        "STFT": _stft,
        "Scan": _scan,
        "SequenceMap": _map,
    },
    "ai.onnx.ml": {
        "LinearClassifier": _by_coefficients,
        "LinearRegressor": _by_coefficients,
        "SVMClassifier": _support_vectors,
        "SVMRegressor": _support_vectors,
    },
    "ai.onnx.preview": {"FlexAttention": _NO_CPU},
    "ai.onnx.preview.training": {"Gradient": _NO_CPU},
    "com.microsoft": {
        "Attention": _projecting_attention(1, 4),
        "AttnLSTM": _attention_lstm,
        "CDist": _distances,
        "CausalConvWithState": _CONV,
        "ConvTransposeWithDynamicPads": _CONV_TRANSPOSE,
        "DecoderMaskedMultiHeadAttention": _multi_head_attention,
        "DynamicQuantizeLSTM": _recurrent,
        "DynamicQuantizeMatMul": _matmul,
        "EngramGate": lambda op: size(given(op, 0)),
        "FusedConv": _CONV,
        "FusedGemm": _matmul,
        "FusedMatMul": _matmul,
        "FusedMatMulActivation": _matmul,
        "GatedAdd": _optional_projection(2, 3),
        "GatedDeltaNet": _linear_attention,
        "GemmFastGelu": _matmul,
        "GemmFloat8": _matmul,
        "GroupQueryAttention": _grouped_attention,
        "HyperConnectionPostMix": lambda op: (
            size(given(op, 0)) * dimension(given(op, 3), -1) if given(op, 3) is not None else 0
        ),
        "HyperConnectionPreMix": lambda op: size(given(op, 0)),
        "Inverse": _ALGORITHM,
        "LinearAttention": _linear_attention,
        "MatMulBnb4": _stated_depth,
        "MatMulFpQ4": _matmul,
        "MatMulInteger16": _matmul,
        "MatMulIntegerToFloat": _matmul,
        "MatMulNBits": _stated_depth,
        "MoE": _experts,
        "MoEGroupRouter": _optional_projection(0, 2),
        "MultiHeadAttention": _multi_head_attention,
        "NhwcConv": _CONV,
        "NhwcFusedConv": _CONV,
        "QAttention": _projecting_attention(1, 8),
        "QGemm": _matmul,
        "QLinearConv": convolution(3, 0),
        "QMoE": _experts,
        "QOrderedMatMul": _matmul,
        "SparseToDenseMatMul": _SPARSE,
        "SparseAttention": _SPARSE,
        "TransposeMatMul": _matmul,
        "VarlenCausalConvWithState": _CONV,
        "WordConvEmbedding": _word_convolution,
        **dict.fromkeys(("BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch"), _GENERATES),
        **dict.fromkeys(
            (
                *(
                    "ConvStateReplay",
                    "DecoderAttention",
                    "DecoderMaskedSelfAttention",
                    "DynamicSparseAttention",
                ),
                *(
                    "EPContext",
                    "GatedDeltaNetStateReplay",
                    "GatedRelativePositionBias",
                    "HyperConnectionLowRankMix",
                ),
                *("Irfft", "LongformerAttention", "Mamba2Verify", "MatMulBlockQuantizedFp4Weight"),
                *("MatMulBlockQuantizedFp8Weight", "MatMulNBitsMlp", "MatMulNBitsQLoRA", "MatMulNBitsQkv"),
                *("MatMulPacked", "MoEPacked", "PackedAttention", "PackedMultiHeadAttention"),
                *("PackedSparseAttentionIndexer", "PackedSparseAttentionIndexerMerge", "PagedAttention"),
                *("QOrderedAttention", "QOrderedLongformerAttention", "RelativePositionBias", "Rfft"),
                *("RouterGateUpProj", "Snpe", "SparseAttentionIndexer", "SparsePagedAttention"),
            ),
            _NO_CPU,
        ),
    },
    "com.microsoft.nchwc": {"Conv": _CONV},
    "com.ms.internal.nhwc": {
        "Conv": _CONV,
        "ConvTranspose": _CONV_TRANSPOSE,
        "QLinearConv": convolution(3, 0),
        "QLinearConvTranspose": transposed_convolution(0, 3, 0),
    },
}

# What only moves, compares, adds, looks up, interpolates, normalises or works element by element.
_NONE = {
    "": """
        Abs Acos Acosh Add Affine And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool
        BatchNormalization Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
        BlackmanWindow Cast CastLike Ceil Celu CenterCropPad Clip Col2Im Compress Concat
        ConcatFromSequence Constant ConstantOfShape Cos Cosh Crop CumProd CumSum DepthToSpace
        DequantizeLinear Div Dropout DynamicQuantizeLinear DynamicSlice EfficientNMS_TRT Elu Equal
        Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu GivenTensorFill
        GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
        GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity
        ImageDecoder ImageScaler InstanceNormalization IsInf IsNaN LRN LayerNormalization LeakyRelu
        Less LessOrEqual Log LogSoftmax LpNormalization LpPool Max MaxPool MaxRoiPool MaxUnpool Mean
        MeanVarianceNormalization MelWeightMatrix MemcpyFromHost MemcpyToHost Min Mish Mod Mul
        MultilevelCropAndResize_TRT Multinomial Neg NegativeLogLikelihoodLoss NonMaxSuppression
        NonZero Not OneHot Optional OptionalGetElement OptionalHasElement Or PRelu Pad
        ParametricSoftplus Pow PyramidROIAlign_TRT QuantizeLinear RMSNormalization RandomNormal
        RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal ReduceL1 ReduceL2
        ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
        ReduceSumSquare RegexFullMatch Relu Reshape Resize ReverseSequence RoiAlign RotaryEmbedding
        Round Scale ScaledTanh Scatter ScatterElements ScatterND Selu SequenceAt SequenceConstruct
        SequenceEmpty SequenceErase SequenceInsert SequenceLength Shape Shrink Sigmoid Sign
        SimplifiedLayerNormalization Sin Sinh Size Slice Softmax SoftmaxCrossEntropyLoss Softplus
        Softsign SpaceToDepth Split SplitToSequence Sqrt Squeeze StringConcat StringNormalizer
        StringSplit Sub Sum SwiGLU Swish Tan Tanh TensorScatter TfIdfVectorizer ThresholdedRelu Tile
        TopK Transpose Trilu Unique Unsqueeze Upsample Where Xor
    """,
    "ai.onnx.ml": """
        ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer
        Imputer LabelEncoder Normalizer OneHotEncoder Scaler TreeEnsemble TreeEnsembleClassifier
        TreeEnsembleRegressor ZipMap
    """,
    "ai.onnx.preview.training": """
        Adagrad Adam Momentum
    """,
    "com.microsoft": """
        BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu BifurcationDetector
        BitmaskBiasDropout BitmaskDropout BranchwiseRMSNorm ComplexMul ComplexMulConj CropAndResize
        DequantizeBFP DequantizeLinear DequantizeWithOrder DynamicTimeWarping
        EmbedLayerNormalization ExpandDims FastGelu GatedRMSNorm GatherBlockQuantized GatherND
        GatherPacked Gelu GemmaRotaryEmbedding GridSample GroupNorm IsAllFinite LinearAttentionGate
        MRotaryEmbedding MaxpoolWithMask MulInteger MurmurHash3 NGramHashMapping NGramRepeatBlock
        NhwcMaxPool Pad QEmbedLayerNormalization QLinearAdd QLinearAveragePool QLinearConcat
        QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid
        QLinearSoftmax QLinearWhere QOrderedGelu QOrderedLayerNormalization QuantizeBFP
        QuantizeLinear QuantizeWithOrder QuickGelu RMSNormRotary Range ReduceSumInteger
        RemovePadding RestorePadding RotaryEmbedding SampleOp ScaledSiLU SkipGroupNorm
        SkipLayerNormalization SkipSimplifiedLayerNormalization SpeculativePrefixCommit SwiGLU
        Tokenizer TorchEmbedding Trilu UnfoldTensor Unique VarlenNGramHashMapping
    """,
    "com.microsoft.nchwc": """
        AveragePool GlobalAveragePool GlobalMaxPool MaxPool ReorderInput ReorderOutput Upsample
    """,
    "com.ms.internal.nhwc": """
        AveragePool BatchNormalization DepthToSpace GlobalAveragePool GlobalLpPool GlobalMaxPool
        GridSample InstanceNormalization LRN LpPool MaxPool MaxUnpool QLinearAveragePool Resize
        SpaceToDepth
    """,
}
NONE: dict[str, frozenset[str]] = {domain: frozenset(names.split()) for domain, names in _NONE.items()}
