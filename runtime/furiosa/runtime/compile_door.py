"""The only way from the runtime to the compiler, for sessions of models that are not compiled yet."""

from __future__ import annotations

from collections.abc import Mapping

from furiosa.runtime.errors import CompilationFailed, InvalidCompilerConfig


def compile_model(
    data: bytes,
    name: str,
    target_npu: str,
    batch_size: int | None,
    folder: str | None,
    options: Mapping[str, object],
) -> bytes:
    """The ENF of a TFLite or ONNX model.

    Args:
        data: the model file.
        name: what to call it in a sentence.
        target_npu: e.g. "warboy-2pe".
        batch_size: samples in one inference; None for 1.
        folder: where external data of the model lie; None where the model came as bytes.
        options: the session's ``compile_config``.

    Raises:
        CompilationFailed: the model cannot be compiled, or the compiler is not installed.
        InvalidCompilerConfig: an option that the compiler does not have.
    """
    try:
        from furiosa.compiler import pipeline
        from furiosa.compiler.errors import CompileError
    except ModuleNotFoundError as e:
        if not (e.name or "").startswith("furiosa.compiler"):
            raise
        raise CompilationFailed(
            "the model is not compiled and the compiler is not installed: "
            "run 'furiosa compile' on it and give the session the ENF"
        ) from None
    for key in options:
        raise InvalidCompilerConfig(f"compile_config: '{key}' is no option of this compiler; it has none yet")
    try:
        return pipeline.compile_model(data, target_npu=target_npu, batch_size=batch_size or 1, folder=folder)
    except CompileError as e:
        raise CompilationFailed(f"{name}: {e}", e.code) from e
