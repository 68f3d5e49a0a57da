"""Provider of the models of a matrix."""

NpuModelMatrixInfo = provider(
    doc = "The models that an `npu_model_matrix` compiles.",
    fields = {"models": "list of Labels: the `npu_model` targets."},
)
