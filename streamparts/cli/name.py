"""`streamparts name`: shows the parts of a model and names them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from streamparts.cli.types import count

if TYPE_CHECKING:
    from streamparts.arrays import ByteArray
    from streamparts.bundle.load import Bundle
    from streamparts.naming.names import Pair

NAME_EXAMPLES = """examples:
  streamparts name mouse.onnx
      lists the names
  streamparts name mouse.onnx --frames mouse.mp4
      opens a local page that shows every part, with a form for the names
  streamparts name mouse.onnx --frames mouse.mp4 --sheet parts.png
      writes an image of the parts instead
  streamparts name mouse.onnx --set "0=head" "1=left ear" "2=right ear"
  streamparts name puppet-human --set "3=face" -o mine.onnx

Parts named left and right are mirrored pairs automatically; --pair is for others. See docs/names.md.
"""


def add_name(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the others."""
    name = commands.add_parser(
        "name",
        help="show the parts of a model and name them",
        description="Show each part of a model in frames of a video, and store names and mirrored pairs with the "
        "model.",
        epilog=NAME_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    name.add_argument("model", metavar="MODEL", help="model name, .onnx file, or .engine (for --set)")
    name.add_argument("--frames", metavar="VIDEO|FOLDER", type=Path, help="video or folder to show the parts in")
    name.add_argument("--sheet", metavar="FILE.png", type=Path, help="write an image of all parts")
    name.add_argument("--columns", metavar="N", type=count, default=6, help="frames per part (default: 6)")
    name.add_argument("--set", metavar="N=NAME", type=_name, nargs="+", default=[], help="names by part number")
    name.add_argument(
        "--pair", metavar="NAME=NAME", type=_pair, nargs="+", help="mirrored parts; replaces the stored pairs"
    )
    name.add_argument(
        "-o", "--output", metavar="FILE.onnx", type=Path, help="file to write (default: the model itself)"
    )
    name.add_argument("--open", action="store_true", help="open the page in the browser")
    name.add_argument("--port", metavar="PORT", type=int, default=0, help="port of the page (default: any free one)")
    name.add_argument("--force", action="store_true", help="replace existing outputs")
    name.add_argument("--debug", action="store_true", help="show a traceback on errors")
    name.set_defaults(command=_command, usage_error=name.error)


def _name(text: str) -> tuple[int, str]:
    number, equals, name = text.partition("=")
    if not (equals and number.strip().isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a part number and a name, such as 1=head")
    return int(number), name.strip()


def _pair(text: str) -> tuple[str, str]:
    names = [name.strip() for name in text.split("=")]
    if len(names) != 2 or names[0] == names[1]:
        raise argparse.ArgumentTypeError(f'{text!r} is not a pair of names, such as "near ear=far ear"')
    return names[0], names[1]


def _command(args: argparse.Namespace) -> int:
    from streamparts.naming.names import store_names

    numbers = [number for number, _ in args.set]
    if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
        args.usage_error(f"--set names part {twice[0]} twice")
    if args.sheet and not args.frames:
        args.usage_error("--sheet needs frames: also give --frames VIDEO|FOLDER")
    if args.sheet and args.sheet.suffix.lower() != ".png":
        args.usage_error(f"--sheet {args.sheet}: the name must end in .png")
    changes = bool(args.set) or args.pair is not None
    if changes and args.frames and not args.sheet:
        args.usage_error("--frames cannot be combined with --set or --pair, except with --sheet FILE.png")
    if args.output and not changes and (args.sheet or not args.frames):
        args.usage_error("--output needs new names: also give --set, or --frames without --sheet")
    if changes:
        _check_sheet(args)
        path, _ = store_names(args.model, dict(args.set), args.pair, args.output, args.force)
        _say_stored(path)
        if args.sheet:
            _write_sheet(args, _loaded(str(path)))
    elif args.sheet:
        _check_sheet(args)
        _write_sheet(args, _loaded(args.model))
    elif args.frames:
        return _serve(args)
    else:
        _print_names(args)
    return 0


def _loaded(model: str) -> Bundle:
    from streamparts.backends.loading import load_model

    return load_model(model)


def _print_names(args: argparse.Namespace) -> None:
    from streamparts.backends.tensorrt.info import read_info
    from streamparts.naming.names import names_text

    path = Path(args.model)
    print(names_text(read_info(path).model if path.suffix == ".engine" else _loaded(args.model).spec))


def _say_stored(path: Path) -> None:
    from streamparts.naming.names import files_of

    print(f"wrote {files_of(path)}")


def _check_sheet(args: argparse.Namespace) -> None:
    from streamparts.files import check_outputs, input_paths

    if args.sheet:
        check_outputs([args.sheet], input_paths(args.model, args.frames), args.force)


def _pictures(args: argparse.Namespace, bundle: Bundle) -> list[list[ByteArray]]:
    from streamparts.backends.choice import choose_backend
    from streamparts.naming.pictures import part_pictures

    name = "auto" if bundle.engine else "onnxruntime"
    return part_pictures(bundle, choose_backend(bundle, name).backend, args.frames, args.columns)


def _write_sheet(args: argparse.Namespace, bundle: Bundle) -> None:
    from streamparts.backends.tensorrt.cache import write_atomically
    from streamparts.naming.pictures import sheet
    from streamparts.parity.labels_picture import png

    write_atomically(args.sheet, png(sheet(bundle.spec, _pictures(args, bundle), args.columns)))
    print(f"wrote {args.sheet}")


def _serve(args: argparse.Namespace) -> int:
    """Serve the page until the names are saved, or Ctrl-C."""
    import webbrowser

    from streamparts.naming.names import files_of, named_file, store_names
    from streamparts.naming.page import NamePage

    named_file(args.model, args.output, args.force)  # report invalid names before the user types
    bundle = _loaded(args.model)

    written: list[Path] = []

    def save(names: Mapping[int, str], pairs: Sequence[Pair]) -> str:
        written.append(store_names(args.model, names, pairs, args.output, args.force)[0])
        return files_of(written[0])

    page = NamePage(bundle.spec, _pictures(args, bundle), save, args.port)
    try:
        print(
            f"open {page.address} in a browser, name the parts and press Save; Ctrl-C ends without saving", flush=True
        )
        if args.open:
            webbrowser.open(page.address)
        while not page.saved.wait(0.2):
            pass
    finally:
        page.close()
    _say_stored(written[0])
    return 0
