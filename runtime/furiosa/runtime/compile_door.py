"""The only way from the runtime to the compiler: models that are not compiled yet, and where a program puts tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from furiosa.enf import progress
from furiosa.runtime.errors import CompilationFailed, InvalidCompilerConfig

if TYPE_CHECKING:
    from furiosa.compiler.report.cut import Cuttable
    from furiosa.compiler.report.places import Layer

# what a session's compile_config may hold: keyword arguments of the compiler, and their types
OPTIONS = {
    "compatibility": str,
    "max_host_operators": int,
    "min_npu_coverage": (int, float),
    "optimize": int,
}
# and what of the model is compiled, see furiosa.compiler.selection
SELECTION = {
    "input_shapes": Mapping,
    "dims": Mapping,
    "inputs": Sequence,
    "outputs": Sequence,
    "signature": str,
}


def compile_model(
    data: bytes,
    name: str,
    target_npu: str,
    batch_size: int | None,
    path: str | None,
    options: Mapping[str, object],
) -> bytes:
    """The ENF of a TFLite or ONNX model.

    Args:
        data: the model file.
        name: what to call it in a sentence.
        target_npu: e.g. "warboy-2pe".
        batch_size: samples in one inference; None for 1.
        path: the model file's, beside which its external data lie; None where the model came as bytes.
        options: the session's ``compile_config``.

    Raises:
        CompilationFailed: the model cannot be compiled, or the compiler is not installed.
        InvalidCompilerConfig: an option that the compiler does not have, or a value that it does not take.
    """
    try:
        from furiosa.compiler import pipeline
        from furiosa.compiler.errors import CompileError, InvalidConfig
        from furiosa.compiler.model_files import ModelFiles
        from furiosa.compiler.selection import selection
    except ModuleNotFoundError as e:
        raise _not_installed(
            e,
            "the model is not compiled and the compiler is not installed: "
            "run 'furiosa compile' on it and give the session the ENF",
        ) from None
    known = OPTIONS | SELECTION
    for key, value in options.items():
        if key not in known:
            raise InvalidCompilerConfig(
                f"compile_config: '{key}' is no option of this compiler, known: {', '.join(known)}"
            )
        if not isinstance(value, known[key]) or isinstance(value, bool):
            raise InvalidCompilerConfig(f"compile_config: {value!r} is no value of '{key}'")
    try:
        return pipeline.compile_model(
            data,
            target_npu=target_npu,
            batch_size=batch_size or 1,
            selection=selection(**{k: v for k, v in options.items() if k in SELECTION}),
            files=ModelFiles(path),
            progress=progress.stage,
            tell=progress.detail,
            **{k: v for k, v in options.items() if k in OPTIONS},
        )
    except InvalidConfig as e:
        raise InvalidCompilerConfig(f"compile_config: {e}") from e
    except CompileError as e:
        raise CompilationFailed(f"{name}: {e}", e.code) from e


class Anatomy(NamedTuple):
    """What the compiler knows of a model and its program.

    ``enf`` is None where the model was only imported.  ``source`` is the model file of what was compiled, for its reference runtime,
    ``signature`` that of its signatures which runs, empty for the whole of it, ``external`` are the files in which its constants
    lie, by what it calls them, and ``single`` what the compiler imported of it for one sample.  ``ranges`` are the values that each
    input's quantisation holds, ``units`` what one LSB of each output is worth; None where there is no such thing.
    """

    enf: bytes | None
    source: bytes
    signature: str
    source_format: str
    layers: list[Layer]
    single: Cuttable
    ranges: list[tuple[float, float] | None]
    units: list[float | None]
    external: dict[str, memoryview]


def dissect(
    data: bytes,
    name: str,
    path: str | None,
    data_files: Sequence[str],
    is_hermetic: bool,
    target_npu: str,
    batch_size: int,
    compatibility: str | None,
    optimize: int | None,
    chosen: Mapping[str, object],
    *,
    compiled: bool = True,
) -> Anatomy:
    """Compiles a model and says where its program puts each tensor; without ``compiled`` it only imports it.

    ``path`` is the model file's; ``data_files`` are files of external data as ``furiosa compile --data`` takes them, and
    ``is_hermetic`` says whether no others may be read.  None for ``compatibility`` or ``optimize`` stands for the compiler's
    default.  ``chosen`` says what of the model is compiled, under the keys of SELECTION.

    Raises:
        CompilationFailed: the model cannot be compiled, or the compiler is not installed.
    """
    try:
        from furiosa.compiler import pipeline
        from furiosa.compiler.errors import CompileError
        from furiosa.compiler.frontend.importer import external_data, import_model, selected_model
        from furiosa.compiler.model_files import ModelFiles, parse_data
        from furiosa.compiler.report import cut, places
        from furiosa.compiler.selection import selection
    except ModuleNotFoundError as e:
        raise _not_installed(e, "comparing needs the compiler, which is not installed") from None
    from furiosa.enf import container

    try:
        options = pipeline.Options(target_npu, batch_size, selection=selection(**chosen))
        if compatibility is not None:
            options.compatibility = compatibility
        if optimize is not None:
            options.optimize = optimize
        files = ModelFiles(path, map(parse_data, data_files), is_hermetic=is_hermetic)
        compilation = pipeline.Compilation(data, options, files=files)
        compilation.run("enf" if compiled else "dfg", progress.stage, progress.detail)
        source = selected_model(data, options.selection, files=files)
        signature = options.selection.signature if source is data else ""
        external = external_data(source, files)
        single = compilation.dfg
        if batch_size > 1:
            single = import_model(data, selection=options.selection, files=files)
    except CompileError as e:
        raise CompilationFailed(f"{name}: {e}", e.code) from e
    graph = compilation.ldfg.graph if compiled else compilation.dfg
    ranges, units = places.input_ranges(graph), places.output_units(graph)
    enf = container.to_bytes(compilation.enf) if compiled else None
    layers = places.layers(compilation) if compiled else places.layers_of_graph(graph)
    return Anatomy(
        enf, source, signature, graph.format, layers, cut.Cuttable(single), ranges, units, external
    )


def reference_files(
    data: bytes, name: str, path: str | None, data_files: Sequence[str], is_hermetic: bool
) -> tuple[str, dict[str, memoryview]]:
    """The format of a model, for its reference runtime, and the files in which its constants lie, by what it calls them.

    Arguments are those of ``dissect``; the model is not imported, so it may be any that the runtime takes.

    Raises:
        CompilationFailed: it is no model, a file is missing, or the compiler is not installed.
    """
    try:
        from furiosa.compiler.errors import CompileError
        from furiosa.compiler.frontend.importer import checked_format, external_data
        from furiosa.compiler.model_files import ModelFiles, parse_data
    except ModuleNotFoundError as e:
        raise _not_installed(e, "reading a model needs the compiler, which is not installed") from None
    try:
        form = checked_format(data)
        return form, external_data(
            data, ModelFiles(path, map(parse_data, data_files), is_hermetic=is_hermetic)
        )
    except CompileError as e:
        raise CompilationFailed(f"{name}: {e}", e.code) from e


def _not_installed(e: ModuleNotFoundError, sentence: str) -> Exception:
    """What to raise where an import has failed: the sentence if it is the compiler that is missing."""
    return CompilationFailed(sentence) if (e.name or "").startswith("furiosa.compiler") else e
