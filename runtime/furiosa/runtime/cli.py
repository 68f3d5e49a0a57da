"""Command lines of the runtime: ``furiosa bundle``, ``furiosa run`` and the bundler of the Bazel rule."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from furiosa.enf import command, host_trial, leaving, selection
from furiosa.enf.command import BAD_ARGUMENTS, CommandError
from furiosa.runtime.errors import InvalidInput

if TYPE_CHECKING:
    from furiosa.runtime.samples import Preprocessing


class Parser(command.Parser):
    """A parser of options that are not abbreviated; one of a command with many arguments takes them from ``@FILE`` as well."""

    def __init__(self, *args: object, **kwargs: object):
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})


def bundle_main(argv: Sequence[str] | None = None, prog: str = "furiosa bundle") -> int:
    """``furiosa bundle pack|verify|list|unpack|layer|run``; returns the exit code."""
    return run_command(lambda: _bundle_parser(prog), prog, argv)


def bundler_main(argv: Sequence[str] | None = None) -> int:
    """The same, as the tool of the rule ``npu_bundle``: ``@file`` stands for the lines of a file as arguments."""
    return bundle_main(argv, "furiosa_bundler")


def run_main(argv: Sequence[str] | None = None) -> int:
    """``furiosa run MODEL``; returns the exit code."""
    return run_command(_run_parser, "furiosa run", argv)


def run_command(make_parser: Callable[[], Parser], prog: str, argv: Sequence[str] | None) -> int:
    """Parses the arguments, calls the command that they name (``args.run``) and tells its errors in one line.

    Returns:
        What the command returns, 0 for None; after an error its exit code.
    """

    def parsed(given: list[str]) -> int | None:
        args = make_parser().parse_args(given)
        leaving.watch()  # from here on native code of other libraries may run for long
        return args.run(args)

    return command.run(parsed, prog, argv)


def chosen(args: argparse.Namespace) -> dict[str, object]:
    """What of a model is compiled, as a ``compile_config``; empty where all of it is.

    Raises:
        InvalidInput: an option of another form.
    """
    try:
        found = {key: value for key, value in selection.said(args).items() if value}
    except ValueError as e:
        raise InvalidInput(str(e)) from None
    return found


def chosen_for(args: argparse.Namespace, model: str, is_enf: bool) -> dict[str, object]:
    """The same for a command that runs a model; ``is_enf`` says that it is compiled already.

    Raises:
        InvalidInput: also where it is, and options are given.
    """
    found = chosen(args)
    if found and is_enf:
        raise InvalidInput(
            f"{model} is compiled already: shapes and cuts are for 'furiosa compile', or for the model that it was compiled from"
        )
    return found


def plain(text: str) -> str:
    """Names out of a stranger's file without what a terminal would act on."""
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode("ascii") for c in text)


def _bundle_parser(prog: str) -> Parser:
    parser = Parser(prog=prog, description="Bundles of compiled models.", fromfile_prefix_chars="@")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], int | None], text: str) -> argparse.ArgumentParser:
        p = commands.add_parser(name, help=text, description=text)
        p.set_defaults(run=run)
        return p

    p = add("pack", _pack, "Packs ENFs into a bundle.")
    p.add_argument("--output", "-o", required=True, metavar="TAR", help="the archive to write")
    p.add_argument(
        "--model", action="append", required=True, metavar="NAME=ENF", help="a model; may be repeated"
    )
    p.add_argument("--tree", metavar="DIR", help="also write the unpacked archive, to a new or empty folder")
    p.add_argument("--manifest-json", metavar="FILE", help="also write the manifest as JSON")
    p.add_argument("--manifest-binpb", metavar="FILE", help="also write the manifest as a binary protobuf")
    p = add("verify", _verify, "Checks a bundle to the last byte, and runs once what runs on the host.")
    p.add_argument("bundle", metavar="TAR")
    p.add_argument("--stamp", metavar="FILE", help="an empty file to write if all is well")
    host_trial.add_option(p)
    p = add("list", _list, "Shows what is in a bundle.")
    p.add_argument("bundle", metavar="TAR")
    p.add_argument("--json", action="store_true", help="the whole manifest as JSON")
    p = add("unpack", _unpack, "Writes a bundle's files to a folder.")
    p.add_argument("bundle", metavar="TAR")
    p.add_argument("--output", "-o", required=True, metavar="DIR", help="a folder that is new or empty")
    p = add("layer", _layer, "Writes a bundle as a layer of a container image.")
    p.add_argument("bundle", metavar="TAR")
    p.add_argument("--output", "-o", required=True, metavar="LAYER", help="the archive to write")
    p.add_argument("--prefix", default="/opt/models", metavar="DIR", help="the folder in the image")
    p.add_argument("--runtime-file", action="append", metavar="FILE", help="a file of the runtime; repeated")
    p = add("run", _run, "Runs a model of a bundle on the NPU simulator.")
    p.add_argument("bundle", metavar="TAR")
    p.add_argument("--model", metavar="NAME", help="which model; may be left out where there is only one")
    add_run_arguments(p)
    return parser


def _run_parser() -> Parser:
    text = "Runs a model on the NPU simulator."
    parser = Parser(prog="furiosa run", description=text)
    parser.add_argument(
        "source", metavar="MODEL", help="an ENF, an .onnx or .tflite model, or BUNDLE.tar#NAME"
    )
    add_run_arguments(parser)
    selection.add_options(parser)
    parser.set_defaults(run=_run, bundle=None)
    return parser


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The inputs and outputs of one inference: ``--input`` or ``--random``, ``--output``."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument(
        "--input",
        "-i",
        action="append",
        metavar="[NAME=]NPY",
        help="an input as a .npy file, in the model's order or by name; repeated for several, or one .npz file",
    )
    group.add_argument("--random", type=int, metavar="SEED", help="random inputs")
    parser.add_argument("--output", "-o", metavar="NPZ", help="write the outputs to a .npz file")
    add_host_process(parser)


def add_host_process(parser: argparse.ArgumentParser) -> None:
    """The option ``--host-process``, of all commands that run models."""
    parser.add_argument(
        "--host-process",
        action="store_true",
        help="run in another process what the NPU does not take: for models of strangers, which may crash it",
    )


def add_preprocessing(parser: argparse.ArgumentParser) -> None:
    """The option ``--preprocessing``, of all commands that take samples."""
    parser.add_argument(
        "--preprocessing",
        metavar="JSON",
        help="the samples are images, and this becomes of them: a JSON file, or {...} itself (docs/samples.md)",
    )


def preprocessing(args: argparse.Namespace) -> Preprocessing | None:
    """What it declares; raises InvalidInput and OSError."""
    if args.preprocessing is None:
        return None
    from furiosa.runtime.samples import Preprocessing

    return Preprocessing.read(args.preprocessing)


def _pack(args: argparse.Namespace) -> None:
    from furiosa.enf.outputs import replacing
    from furiosa.runtime.bundle import manifest as manifests
    from furiosa.runtime.bundle import writer
    from furiosa.runtime.bundle.reader import Bundle

    models = [text.partition("=") for text in args.model]
    for name, _, path in models:
        if not path:
            raise CommandError(BAD_ARGUMENTS, f"--model {name}: NAME=PATH is expected")
    manifest = writer.pack(args.output, [(name, path) for name, _, path in models])
    for path, convert in ((args.manifest_json, manifests.to_json), (args.manifest_binpb, manifests.to_binpb)):
        if path:
            with replacing(path) as f:
                f.write(convert(manifest))
    if args.tree:
        Bundle.open(args.output).unpack(args.tree)


def _verify(args: argparse.Namespace) -> None:
    from furiosa.enf.outputs import replacing
    from furiosa.runtime.bundle.reader import Bundle

    check = (lambda name, enf: host_trial.check(enf, name)) if args.host_trial else None
    Bundle.open(args.bundle).verify(check)
    if args.stamp:
        with replacing(args.stamp):
            pass


def _list(args: argparse.Namespace) -> None:
    from furiosa.runtime.bundle.manifest import to_json
    from furiosa.runtime.bundle.reader import Bundle

    manifest = Bundle.open(args.bundle).manifest
    if args.json:
        print(to_json(manifest).decode("ascii"), end="")
        return
    rows = [("MODEL", "TARGET", "BATCH", "BYTES", "NPU MACS", "LATENCY (ESTIMATE)", "INPUTS")]
    for m in manifest.models:
        inputs = ", ".join(f"{t.dtype}{list(t.shape)}" for t in m.inputs)
        of = m.operator_coverage
        share = "unknown" if of.unknown_macs else f"{of.mac_share:.1%}"
        rows.append(
            (m.name, m.target_npu, str(m.batch_size), str(m.size), share, f"{m.latency_us:.1f} us", inputs)
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(plain("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()))


def _unpack(args: argparse.Namespace) -> None:
    from furiosa.runtime.bundle.reader import Bundle

    Bundle.open(args.bundle).unpack(args.output)


def _layer(args: argparse.Namespace) -> None:
    from furiosa.runtime.deploy import layer

    layer.write(args.output, args.bundle, args.prefix, args.runtime_file)


def _run(args: argparse.Namespace) -> None:
    from furiosa.runtime import run_files
    from furiosa.runtime import source as sources

    config: dict[str, object] = {}
    if args.bundle is None:
        model = sources.read(args.source)
        config = chosen_for(args, args.source, model.is_enf)
    else:
        model = run_files.model_of_bundle(args.bundle, args.model)
    run_files.run(model, args.input or [], args.random, args.output, config, args.host_process)
