"""Public module extensions: `npu_models` downloads models."""

load("//furiosa_rules/private:npu_models.bzl", _npu_models = "npu_models")

npu_models = _npu_models
