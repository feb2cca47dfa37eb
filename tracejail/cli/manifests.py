"""The commands that read manifests and run nothing; and the one place where a manifest is loaded, and of a merged one the
part of a host taken."""

from __future__ import annotations

import os
import sys

from tracejail.errors import SourceChangedError, UsageError

from .escape import escape
from .options import exactly, need

TYPE_CHECKING = False  # mypy takes it for true; --help has no time to import what only annotations need
if TYPE_CHECKING:
    from tracejail.model import Manifest

    from .options import Fields


def read(path: str, fields: Fields) -> Manifest:
    """The manifest in a file ("-" is standard input); of a merged one the part for --host, or for its first host. Raises
    ManifestError, InputOutputError; UsageError for a host that is not in it."""
    from tracejail.manifest import read_manifest

    path = "/dev/stdin" if path == "-" else path
    return _selected(read_manifest(path), path, fields)


def _selected(whole: Manifest, path: str, fields: Fields) -> Manifest:
    from tracejail.manifest import select

    try:
        return select(whole, str(fields.pop("label", "")))
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from None


def build(fields: Fields, arguments: list[str]) -> int:
    """A jail from its manifest."""
    exactly(arguments, 1, "MANIFEST")
    from tracejail.build import build_from_manifest
    from tracejail.manifest import read_manifest
    from tracejail.resolve.host import GoneError

    whole = read_manifest(arguments[0])
    manifest = _selected(whole, arguments[0], fields)
    jail = str(fields.get("jail") or manifest.jail)
    try:
        built = build_from_manifest(
            manifest, jail, str(fields.get("host_root") or manifest.host.root), bool(fields.get("replace"))
        )
    except (GoneError, SourceChangedError) as error:
        if len(whole.merged) > 1:
            error.hint += f"; if it is another host: --host takes {', '.join(row.label for row in whole.merged)}"
        raise
    for note in built.notes:
        print(f"note: {escape(note)}", file=sys.stderr)
    print(f"built {escape(os.path.abspath(jail))}: {len(built.manifest.entries)} entries")
    return 0


def list_paths(fields: Fields, arguments: list[str]) -> int:
    """The paths of a manifest."""
    exactly(arguments, 1, "MANIFEST")
    from tracejail.export.lists import list_lines, list_nul
    from tracejail.export.request import Request

    from .export import write

    request = Request(read(arguments[0], fields), lambda _: iter(()), 0)
    write((list_nul if fields.get("nul") else list_lines)(request), str(fields.get("output") or "-"))
    return 0


def export(fields: Fields, arguments: list[str]) -> int:
    """A manifest in another tool's format, or the formats."""
    if not arguments:
        from .report import formats_table

        print(formats_table())
        return 0
    from .export import check_format, export_to

    check_format(arguments[0])
    exactly(arguments, 2, "FORMAT MANIFEST")
    export_to(arguments[0], read(arguments[1], fields), fields)
    return 0


def why(fields: Fields, arguments: list[str]) -> int:
    """Who needed a path."""
    exactly(arguments, 2, "MANIFEST PATH")
    from tracejail.why import why as reasons

    print("\n".join(escape(line) for line in reasons(read(arguments[0], fields), arguments[1])))
    return 0


def merge_manifests(fields: Fields, arguments: list[str]) -> int:
    """One manifest of several."""
    need(arguments, 2, "A B...")
    same_host, apart = fields.get("same_host"), bool(fields.get("apart"))
    if same_host and apart:
        raise UsageError("merge: --same-host and --apart", "leave out one of them")
    import functools

    from tracejail.manifest import merge, merge_runs, pieces, read_manifest, write_manifest

    manifests = [read_manifest(path) for path in arguments]
    if same_host:
        for path, manifest in zip(arguments, manifests, strict=True):
            if manifest.merged:
                raise UsageError(f"{path}: was merged from several hosts", "leave out --same-host, or name their own manifests")
        merged = functools.reduce(merge_runs, manifests)
    else:
        plain = [path for path, manifest in zip(arguments, manifests, strict=True) if not manifest.merged]
        labels = dict(zip(plain, labels_of(plain), strict=True))
        merged = merge([(labels.get(path, ""), one) for path, one in zip(arguments, manifests, strict=True)], apart)
    output = str(fields.get("output") or "-")
    if output == "-":
        sys.stdout.writelines(pieces(merged))
    else:
        write_manifest(merged, output)
    if merged.merged:
        print(f"kept apart by host: {escape(', '.join(row.label for row in merged.merged))}", file=sys.stderr)
    return 0


def labels_of(paths: list[str]) -> list[str]:
    """The names of the files without their last suffix; where these are alike, with as many of the directories before
    them as it takes to tell them apart."""
    places = []
    for path in paths:
        directory, name = os.path.split(os.path.abspath(path))
        places.append((*directory.strip("/").split("/"), os.path.splitext(name)[0]))
    return ["/".join(place[-_length(place, places):]) for place in places]


def _length(place: tuple[str, ...], places: list[tuple[str, ...]]) -> int:
    alike = {other for other in places if other[-1] == place[-1]}
    for length in range(1, max(map(len, alike)) + 1):
        if len({other[-length:] for other in alike}) == len(alike):
            return length
    return 1


def diff_manifests(fields: Fields, arguments: list[str]) -> int:
    """What differs between two manifests. Without --host two merged ones are compared host by host."""
    exactly(arguments, 2, "A B")
    from tracejail.manifest import diff, read_manifest

    first, second = (read_manifest(path) for path in arguments)
    if "label" in fields or not (first.merged and second.merged):
        taken = dict(fields) if first.merged or not second.merged else {}
        first = _selected(first, arguments[0], taken)
        second = _selected(second, arguments[1], dict(fields) if second.merged else {})
    rows = diff(first, second)
    if fields.get("json"):
        import json

        print(json.dumps([row._asdict() for row in rows]))
    else:
        for row in rows:
            print(escape(f"{row.change:<8} {row.path}    {row.detail}"))
    return 1 if rows else 0
