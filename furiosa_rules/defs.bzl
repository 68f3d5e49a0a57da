"""Public API: NPU model compilation as a build step.

`npu_model` compiles a model file to an ENF, `npu_model_matrix` for several NPUs and batch sizes, of which `npu_tune` predicts what they do; `npu_bundle` links ENFs into one
deployable archive, and `npu_bundle_layer` makes a container image's layer of it. `npu_model_test` compares a model with its reference
runtime, `npu_accuracy_test` measures it on labelled samples, `npu_budget_test` compares it with a budget, `npu_reproducibility_test` with what other surroundings give; the aspect `npu_lint` reports
what runs on the host.
`npu_calibration` and `npu_quantized_model` make an int8 model of a float one.
`npu_compiler_toolchain` puts another compiler in the place of the default one, `npu_vendor_compiler_toolchain` the vendor's, `npu_tools_toolchain` other tools in the place of those
beside it.
"""

load("//furiosa_rules/private:npu_accuracy_test.bzl", _npu_accuracy_test = "npu_accuracy_test")
load("//furiosa_rules/private:npu_budget_test.bzl", _npu_budget_test = "npu_budget_test")
load("//furiosa_rules/private:npu_bundle.bzl", _npu_bundle = "npu_bundle")
load("//furiosa_rules/private:npu_bundle_info.bzl", _NpuBundleInfo = "NpuBundleInfo")
load("//furiosa_rules/private:npu_bundle_layer.bzl", _npu_bundle_layer = "npu_bundle_layer")
load("//furiosa_rules/private:npu_calibration.bzl", _npu_calibration = "npu_calibration")
load("//furiosa_rules/private:npu_calibration_info.bzl", _NpuCalibrationInfo = "NpuCalibrationInfo")
load("//furiosa_rules/private:npu_compiler_info.bzl", _NpuCompilerInfo = "NpuCompilerInfo")
load("//furiosa_rules/private:npu_compiler_toolchain.bzl", _npu_compiler_toolchain = "npu_compiler_toolchain")
load("//furiosa_rules/private:npu_lint.bzl", _npu_lint = "npu_lint")
load("//furiosa_rules/private:npu_model.bzl", _npu_model = "npu_model")
load("//furiosa_rules/private:npu_model_info.bzl", _NpuModelInfo = "NpuModelInfo")
load("//furiosa_rules/private:npu_model_matrix.bzl", _npu_model_matrix = "npu_model_matrix")
load("//furiosa_rules/private:npu_model_test.bzl", _npu_model_test = "npu_model_test")
load("//furiosa_rules/private:npu_quantized_model.bzl", _npu_quantized_model = "npu_quantized_model")
load("//furiosa_rules/private:npu_reproducibility_test.bzl", _npu_reproducibility_test = "npu_reproducibility_test")
load("//furiosa_rules/private:npu_tool_info.bzl", _NpuToolInfo = "NpuToolInfo")
load("//furiosa_rules/private:npu_tools_info.bzl", _NpuToolsInfo = "NpuToolsInfo")
load("//furiosa_rules/private:npu_tools_toolchain.bzl", _npu_tools_toolchain = "npu_tools_toolchain")
load("//furiosa_rules/private:npu_tune.bzl", _npu_tune = "npu_tune")
load("//furiosa_rules/private:npu_vendor_compiler_toolchain.bzl", _npu_vendor_compiler_toolchain = "npu_vendor_compiler_toolchain")

npu_model = _npu_model
npu_model_matrix = _npu_model_matrix
npu_tune = _npu_tune
npu_calibration = _npu_calibration
npu_quantized_model = _npu_quantized_model
npu_model_test = _npu_model_test
npu_accuracy_test = _npu_accuracy_test
npu_budget_test = _npu_budget_test
npu_reproducibility_test = _npu_reproducibility_test
npu_lint = _npu_lint
npu_bundle = _npu_bundle
npu_bundle_layer = _npu_bundle_layer
npu_compiler_toolchain = _npu_compiler_toolchain
npu_tools_toolchain = _npu_tools_toolchain
npu_vendor_compiler_toolchain = _npu_vendor_compiler_toolchain

NpuModelInfo = _NpuModelInfo
NpuBundleInfo = _NpuBundleInfo
NpuCalibrationInfo = _NpuCalibrationInfo
NpuCompilerInfo = _NpuCompilerInfo
NpuToolInfo = _NpuToolInfo
NpuToolsInfo = _NpuToolsInfo
