"""The TFLite flatbuffer schema as data: which field of which table lies in which slot.

Facts of the public schema (schema.fbs, version 3), written down in slot order; schema_test.py compares every
line with the classes that the reference runtime ships.  A table that is not listed has no fields.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

# name: field:type[=default] …   A type is a scalar, [scalar], string, a table, [table], an enum, or a union (whose
# discriminator is the u8 field before it).  "-" is a slot that no file uses any more.
_TABLES = """
Model: version:u32 operator_codes:[OperatorCode] subgraphs:[SubGraph] description:string buffers:[Buffer]
  metadata_buffer:[i32] metadata:[Metadata] signature_defs:[SignatureDef]
  external_buffer_groups:[ExternalBufferGroup] external_buffers:[ExternalBuffer]
OperatorCode: deprecated_builtin_code:i8 custom_code:string version:i32=1 builtin_code:BuiltinOperator
SubGraph: tensors:[Tensor] inputs:[i32] outputs:[i32] operators:[Operator] name:string
  debug_metadata_index:i32=-1
Tensor: shape:[i32] type:TensorType buffer:u32 name:string quantization:QuantizationParameters
  is_variable:bool sparsity:SparsityParameters shape_signature:[i32] has_rank:bool
  variant_tensors:[VariantSubType] external_buffer:u32
QuantizationParameters: min:[f32] max:[f32] scale:[f32] zero_point:[i64] details_type:u8
  details:QuantizationDetails quantized_dimension:i32
SparsityParameters: traversal_order:[i32] block_map:[i32] dim_metadata:[DimensionMetadata]
DimensionMetadata: format:i8 dense_size:i32 array_segments_type:u8 array_segments:SparseIndexVector
  array_indices_type:u8 array_indices:SparseIndexVector
VariantSubType: shape:[i32] type:TensorType has_rank:bool
Operator: opcode_index:u32 inputs:[i32] outputs:[i32] builtin_options_type:u8 builtin_options:BuiltinOptions
  custom_options:[u8] custom_options_format:i8 mutating_variable_inputs:[bool] intermediates:[i32]
  large_custom_options_offset:u64 large_custom_options_size:u64 builtin_options2_type:u8
  builtin_options2:BuiltinOptions2 debug_metadata_index:i32=-1
Buffer: data:[u8] offset:u64 size:u64
Metadata: name:string buffer:u32
SignatureDef: inputs:[TensorMap] outputs:[TensorMap] signature_key:string - subgraph_index:u32
TensorMap: name:string tensor_index:u32
ExternalBufferGroup: name:string
ExternalBuffer: id:u32 group:u32 offset:u64 length:u64 packing:string
CustomQuantization: custom:[u8]
BlockwiseQuantization: scales:i32 zero_points:i32 block_size:i32 block_shape:[i32]
MultiAxisQuantization: scales:i32 zero_points:i32 block_size:i32 quantized_dimensions:[i32]
Int32Vector: values:[i32]
Uint16Vector: values:[u16]
Uint8Vector: values:[u8]
AddOptions: fused_activation_function:ActivationFunctionType pot_scale_int16:bool=1
ArgMaxOptions: output_type:TensorType
ArgMinOptions: output_type:TensorType
BatchMatMulOptions: adj_x:bool adj_y:bool asymmetric_quantize_inputs:bool
BidirectionalSequenceLSTMOptions: fused_activation_function:ActivationFunctionType cell_clip:f32
  proj_clip:f32 merge_outputs:bool time_major:bool=1 asymmetric_quantize_inputs:bool
BidirectionalSequenceRNNOptions: time_major:bool fused_activation_function:ActivationFunctionType
  merge_outputs:bool asymmetric_quantize_inputs:bool
BucketizeOptions: boundaries:[f32]
CallOnceOptions: init_subgraph_index:i32
CallOptions: subgraph:u32
CastOptions: in_data_type:TensorType out_data_type:TensorType
ConcatEmbeddingsOptions: num_channels:i32 num_columns_per_channel:[i32] embedding_dim_per_channel:[i32]
ConcatenationOptions: axis:i32 fused_activation_function:ActivationFunctionType
Conv2DOptions: padding:Padding stride_w:i32 stride_h:i32 fused_activation_function:ActivationFunctionType
  dilation_w_factor:i32=1 dilation_h_factor:i32=1 quantized_bias_type:TensorType
Conv3DOptions: padding:Padding stride_d:i32 stride_w:i32 stride_h:i32
  fused_activation_function:ActivationFunctionType dilation_d_factor:i32=1 dilation_w_factor:i32=1
  dilation_h_factor:i32=1
CumsumOptions: exclusive:bool reverse:bool
DepthToSpaceOptions: block_size:i32
DepthwiseConv2DOptions: padding:Padding stride_w:i32 stride_h:i32 depth_multiplier:i32
  fused_activation_function:ActivationFunctionType dilation_w_factor:i32=1 dilation_h_factor:i32=1
DivOptions: fused_activation_function:ActivationFunctionType
EmbeddingLookupSparseOptions: combiner:CombinerType
FakeQuantOptions: min:f32 max:f32 num_bits:i32 narrow_range:bool
FullyConnectedOptions: fused_activation_function:ActivationFunctionType
  weights_format:FullyConnectedOptionsWeightsFormat keep_num_dims:bool asymmetric_quantize_inputs:bool
  quantized_bias_type:TensorType quant_spec:[u8]
GatherOptions: axis:i32 batch_dims:i32
GeluOptions: approximate:bool
HashtableOptions: table_id:i32 key_dtype:TensorType value_dtype:TensorType
IfOptions: then_subgraph_index:i32 else_subgraph_index:i32
L2NormOptions: fused_activation_function:ActivationFunctionType
LSHProjectionOptions: type:LSHProjectionType
LSTMOptions: fused_activation_function:ActivationFunctionType cell_clip:f32 proj_clip:f32
  kernel_type:LSTMKernelType asymmetric_quantize_inputs:bool
LeakyReluOptions: alpha:f32
LocalResponseNormalizationOptions: radius:i32 bias:f32 alpha:f32 beta:f32
MirrorPadOptions: mode:MirrorPadMode
MulOptions: fused_activation_function:ActivationFunctionType
OneHotOptions: axis:i32
PackOptions: values_count:i32 axis:i32
Pool2DOptions: padding:Padding stride_w:i32 stride_h:i32 filter_width:i32 filter_height:i32
  fused_activation_function:ActivationFunctionType
RNNOptions: fused_activation_function:ActivationFunctionType asymmetric_quantize_inputs:bool
RandomOptions: seed:i64 seed2:i64
ReduceWindowOptions: reduce_function:ReduceWindowFunction
ReducerOptions: keep_dims:bool
ReshapeOptions: new_shape:[i32]
ResizeBilinearOptions: - - align_corners:bool half_pixel_centers:bool
ResizeNearestNeighborOptions: align_corners:bool half_pixel_centers:bool
ReverseSequenceOptions: seq_dim:i32 batch_dim:i32
SVDFOptions: rank:i32 fused_activation_function:ActivationFunctionType asymmetric_quantize_inputs:bool
SequenceRNNOptions: time_major:bool fused_activation_function:ActivationFunctionType
  asymmetric_quantize_inputs:bool
ShapeOptions: out_type:TensorType
SkipGramOptions: ngram_size:i32 max_skip_size:i32 include_all_ngrams:bool
SoftmaxOptions: beta:f32
SpaceToDepthOptions: block_size:i32
SparseToDenseOptions: validate_indices:bool
SplitOptions: num_splits:i32
SplitVOptions: num_splits:i32
SqueezeOptions: squeeze_dims:[i32]
StableHLOCompositeOptions: name:string decomposition_subgraph_index:i32 composite_attributes:[u8]
  composite_attributes_format:i8 version:i32
StablehloBroadcastInDimOptions: broadcast_dimensions:[i64]
StablehloCaseOptions: branch_subgraph_indices:[i32]
StablehloCompareOptions: comparison_direction:u32 compare_type:u32
StablehloConcatenateOptions: dimension:i64
StablehloConvolutionOptions: window_strides:[i64] padding:[i64] lhs_dilation:[i64] rhs_dilation:[i64]
  window_reversal:[bool] input_batch_dimension:i64 input_feature_dimension:i64
  input_spatial_dimensions:[i64] kernel_input_feature_dimension:i64 kernel_output_feature_dimension:i64
  kernel_spatial_dimensions:[i64] output_batch_dimension:i64 output_feature_dimension:i64
  output_spatial_dimensions:[i64] feature_group_count:i64 batch_group_count:i64 precision_config:[u32]
StablehloCustomCallOptions: call_target_name:string has_side_effect:bool backend_config:string
  api_version:i32 called_computations:[i32] custom_attributes:[u8]
StablehloDotGeneralOptions: lhs_batching_dimensions:[i64] rhs_batching_dimensions:[i64]
  lhs_contracting_dimensions:[i64] rhs_contracting_dimensions:[i64] precision_config:[u32]
StablehloDynamicSliceOptions: slice_sizes:[i64]
StablehloGatherOptions: offset_dims:[i64] collapsed_slice_dims:[i64] start_index_map:[i64]
  index_vector_dim:i64 slice_sizes:[i64] indices_are_sorted:bool
StablehloIotaOptions: iota_dimension:i64
StablehloPadOptions: edge_padding_low:[i64] edge_padding_high:[i64] interior_padding:[i64]
StablehloReduceOptions: dimensions:[i64] body_subgraph_index:i32
StablehloReduceWindowOptions: window_dimensions:[i64] window_strides:[i64] base_dilations:[i64]
  window_dilations:[i64] padding:[i64] body_subgraph_index:i32
StablehloRngBitGeneratorOptions: algorithm:i8
StablehloScatterOptions: indices_are_sorted:bool update_window_dims:[i64] inserted_window_dims:[i64]
  scatter_dims_to_operand_dims:[i64] index_vector_dim:i64 unique_indices:bool
  update_computation_subgraph_index:i32
StablehloSliceOptions: start_indices:[i64] limit_indices:[i64] strides:[i64]
StablehloSortOptions: dimension:i64 is_stable:bool comparator_subgraph_index:i32
StablehloTransposeOptions: permutation:[i64]
StablehloWhileOptions: cond_subgraph_index:i32 body_subgraph_index:i32
StridedSliceOptions: begin_mask:i32 end_mask:i32 ellipsis_mask:i32 new_axis_mask:i32 shrink_axis_mask:i32
  offset:bool
SubOptions: fused_activation_function:ActivationFunctionType pot_scale_int16:bool=1
TransposeConvOptions: padding:Padding stride_w:i32 stride_h:i32
  fused_activation_function:ActivationFunctionType quantized_bias_type:TensorType
UnidirectionalSequenceLSTMOptions: fused_activation_function:ActivationFunctionType cell_clip:f32
  proj_clip:f32 time_major:bool asymmetric_quantize_inputs:bool diagonal_recurrent_tensors:bool
UniqueOptions: idx_out_type:TensorType=2
UnpackOptions: num:i32 axis:i32
VarHandleOptions: container:string shared_name:string
WhileOptions: cond_subgraph_index:i32 body_subgraph_index:i32
"""

# The members of an enum or union in order of their values, from 0.
_ENUMS = """
TensorType: FLOAT32 FLOAT16 INT32 UINT8 INT64 STRING BOOL INT16 COMPLEX64 INT8 FLOAT64 COMPLEX128 UINT64
  RESOURCE VARIANT UINT32 UINT16 INT4 BFLOAT16 INT2 UINT4 FLOAT8_E4M3FN FLOAT8_E5M2
Padding: SAME VALID
ActivationFunctionType: NONE RELU RELU_N1_TO_1 RELU6 TANH SIGN_BIT
FullyConnectedOptionsWeightsFormat: DEFAULT SHUFFLED4x16INT8
MirrorPadMode: REFLECT SYMMETRIC
LSTMKernelType: FULL BASIC
LSHProjectionType: UNKNOWN SPARSE DENSE
CombinerType: SUM MEAN SQRTN
ReduceWindowFunction: UNSUPPORTED ADD MUL MINIMUM MAXIMUM ALL ANY
BuiltinOperator: ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
  EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
  LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE
  RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM
  EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND
  TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN EXP
  TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG
  PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS
  EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR
  ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD
  RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2
  ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH
  IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
  BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL
  COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE
  VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM
  MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX
  UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC
  STABLEHLO_ADD STABLEHLO_DIVIDE STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP
  STABLEHLO_CONCATENATE STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE
  STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL
  STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_MINIMUM STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER
  STABLEHLO_REMAINDER STABLEHLO_RSQRT STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER
  STABLEHLO_COMPARE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD
  STABLEHLO_IOTA STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE
  STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE
  STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT STABLEHLO_CASE
QuantizationDetails: NONE CustomQuantization BlockwiseQuantization MultiAxisQuantization
SparseIndexVector: NONE Int32Vector Uint16Vector Uint8Vector
BuiltinOptions: NONE Conv2DOptions DepthwiseConv2DOptions ConcatEmbeddingsOptions LSHProjectionOptions
  Pool2DOptions SVDFOptions RNNOptions FullyConnectedOptions SoftmaxOptions ConcatenationOptions AddOptions
  L2NormOptions LocalResponseNormalizationOptions LSTMOptions ResizeBilinearOptions CallOptions
  ReshapeOptions SkipGramOptions SpaceToDepthOptions EmbeddingLookupSparseOptions MulOptions PadOptions
  GatherOptions BatchToSpaceNDOptions SpaceToBatchNDOptions TransposeOptions ReducerOptions SubOptions
  DivOptions SqueezeOptions SequenceRNNOptions StridedSliceOptions ExpOptions TopKV2Options SplitOptions
  LogSoftmaxOptions CastOptions DequantizeOptions MaximumMinimumOptions ArgMaxOptions LessOptions NegOptions
  PadV2Options GreaterOptions GreaterEqualOptions LessEqualOptions SelectOptions SliceOptions
  TransposeConvOptions SparseToDenseOptions TileOptions ExpandDimsOptions EqualOptions NotEqualOptions
  ShapeOptions PowOptions ArgMinOptions FakeQuantOptions PackOptions LogicalOrOptions OneHotOptions
  LogicalAndOptions LogicalNotOptions UnpackOptions FloorDivOptions SquareOptions ZerosLikeOptions
  FillOptions BidirectionalSequenceLSTMOptions BidirectionalSequenceRNNOptions
  UnidirectionalSequenceLSTMOptions FloorModOptions RangeOptions ResizeNearestNeighborOptions
  LeakyReluOptions SquaredDifferenceOptions MirrorPadOptions AbsOptions SplitVOptions UniqueOptions
  ReverseV2Options AddNOptions GatherNdOptions CosOptions WhereOptions RankOptions ReverseSequenceOptions
  MatrixDiagOptions QuantizeOptions MatrixSetDiagOptions HardSwishOptions IfOptions WhileOptions
  DepthToSpaceOptions NonMaxSuppressionV4Options NonMaxSuppressionV5Options ScatterNdOptions SelectV2Options
  DensifyOptions SegmentSumOptions BatchMatMulOptions CumsumOptions CallOnceOptions BroadcastToOptions
  Rfft2dOptions Conv3DOptions HashtableOptions HashtableFindOptions HashtableImportOptions
  HashtableSizeOptions VarHandleOptions ReadVariableOptions AssignVariableOptions RandomOptions
  BucketizeOptions GeluOptions DynamicUpdateSliceOptions UnsortedSegmentProdOptions
  UnsortedSegmentMaxOptions UnsortedSegmentMinOptions UnsortedSegmentSumOptions ATan2Options SignOptions
  BitcastOptions BitwiseXorOptions RightShiftOptions
BuiltinOptions2: NONE StablehloConcatenateOptions StablehloBroadcastInDimOptions StablehloSliceOptions
  StablehloConvolutionOptions StablehloCustomCallOptions StablehloReduceOptions StablehloScatterOptions
  StablehloCompareOptions StablehloDynamicSliceOptions StablehloPadOptions StablehloIotaOptions
  StablehloDotGeneralOptions StablehloReduceWindowOptions StablehloSortOptions StablehloWhileOptions
  StablehloGatherOptions StablehloTransposeOptions DilateOptions StablehloRngBitGeneratorOptions
  ReduceWindowOptions StableHLOCompositeOptions StablehloShiftLeftOptions StablehloCaseOptions
"""

UNIONS = frozenset({"BuiltinOptions", "BuiltinOptions2", "QuantizationDetails", "SparseIndexVector"})
_WIDE_ENUMS = frozenset(
    {"BuiltinOperator", "ReduceWindowFunction"}
)  # stored as int32, every other enum as int8


class Field(NamedTuple):
    """One slot of a table: ``kind`` is "scalar", "vector", "string", "table", "tables" or "union".

    ``type`` is the scalar's code ("i32", "bool", …) or the name of the table or union; ``enum`` names the enum of
    a scalar.
    """

    name: str
    kind: str
    type: str
    default: int | float | bool = 0
    enum: str | None = None


def _parse(text: str) -> dict[str, str]:
    entries = text.replace("\n  ", " ").strip().splitlines()
    return dict(entry.split(": ", 1) for entry in entries)


_tables = _parse(_TABLES)
_enums = _parse(_ENUMS)
_SCALARS = frozenset({"bool", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f32"})


@cache
def members(enum: str) -> tuple[str, ...]:
    """The names of an enum's or union's members; their index is their value."""
    return tuple(_enums[enum].split())


@cache
def fields(table: str) -> tuple[Field | None, ...]:
    """The slots of a table in order; None is a slot that is no longer in use."""
    return tuple(_field(text) for text in _tables.get(table, "").split())


def _field(text: str) -> Field | None:
    if text == "-":
        return None
    name, _, kind = text.partition(":")
    kind, _, default = kind.partition("=")
    if kind in _SCALARS:
        value = {"bool": bool, "f32": float}.get(kind, int)(int(default or 0))
        return Field(name, "scalar", kind, value)
    if kind == "string":
        return Field(name, "string", kind)
    if kind in UNIONS:
        return Field(name, "union", kind)
    if kind in _enums:
        return Field(name, "scalar", "i32" if kind in _WIDE_ENUMS else "i8", int(default or 0), kind)
    inner = kind.strip("[]")
    if inner in _SCALARS:
        return Field(name, "vector", inner)
    return Field(name, "table" if inner == kind else "tables", inner)
