"""Images of containers: an OCI image as one archive (image-spec 1.0), and a Dockerfile around a tar of the jail.

What lies in /dev is left out: it is the runtime's to make.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tracejail.errors import ExportError
from tracejail.model import Entry, Manifest

from .request import Request
from .tar import tar

_LAYER = "application/vnd.oci.image.layer.v1.tar"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_ARCHITECTURES = {"x86-64": "amd64", "i386": "386", "aarch64": "arm64"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NAME = re.compile(r"[A-Za-z0-9]+([-._:@+/][A-Za-z0-9]+|--[A-Za-z0-9]+)*")   # annotations.md of the image-spec
_PORT = re.compile(r".*:([0-9]+)")


def oci(request: Request) -> Iterator[bytes]:
    """An image layout in a tar archive, with one layer. The layer is made twice, as its digest stands before it."""
    manifest = request.manifest
    for entry in manifest.entries:
        if entry.path.rpartition("/")[2].startswith(".wh."):
            raise ExportError(f"{entry.path}: in a layer this name takes another file away", "tar holds it")
    layer = replace(request, manifest=_without_devices(manifest))
    digest, size = hashlib.sha256(), 0
    for piece in tar(layer):
        digest.update(piece)
        size += len(piece)
    config = _json(_config(request, digest.hexdigest()))
    described = _json({
        "schemaVersion": 2, "mediaType": _MANIFEST, "config": _described(_CONFIG, config),
        "layers": [{"mediaType": _LAYER, "digest": f"sha256:{digest.hexdigest()}", "size": size}],
    })
    named = {**_described(_MANIFEST, described), "annotations": {"org.opencontainers.image.ref.name": image_name(request)}}
    index = _json({"schemaVersion": 2, "mediaType": _INDEX, "manifests": [named]})
    yield from _file("oci-layout", _json({"imageLayoutVersion": "1.0.0"}), request)
    yield from _file("index.json", index, request)
    yield from (piece for data in (config, described) for piece in _file(_blob(data), data, request))
    yield _header(f"blobs/sha256/{digest.hexdigest()}", size, request)
    yield from tar(layer)
    yield bytes(-size % tarfile.BLOCKSIZE + 2 * tarfile.BLOCKSIZE)


def image_name(request: Request) -> str:
    """What the image is called. Raises ExportError for a name that is none."""
    name = request.name or os.path.basename(request.manifest.command.argv[0])
    if not _NAME.fullmatch(name):
        raise ExportError(f"{name!r}: not the name of an image", "give one with --name")
    return name


def _without_devices(manifest: Manifest) -> Manifest:
    return replace(manifest, entries=tuple(entry for entry in manifest.entries if not _is_runtimes(entry)))


def _is_runtimes(entry: Entry) -> bool:
    return entry.path.startswith("/dev/")


def _config(request: Request, layer: str) -> dict[str, Any]:
    manifest = request.manifest
    architecture = _ARCHITECTURES.get(manifest.host.architecture, manifest.host.architecture)
    created = datetime.fromtimestamp(request.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    words = _words(manifest)
    return {
        "created": created,
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Entrypoint": words,
            "Env": [f"PATH={_PATH}"],
            "WorkingDir": manifest.command.directory,
            "StopSignal": stop_signal(manifest),
            **({"User": user_of(manifest)} if user_of(manifest) else {}),
            **({"ExposedPorts": {port: {} for port in ports_of(manifest)}} if ports_of(manifest) else {}),
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer}"]},
        "history": [{"created": created, "created_by": "tracejail export oci"}],
    }


def _words(manifest: Manifest) -> list[str]:
    for word in (*manifest.command.argv, manifest.command.directory):
        try:
            word.encode("utf-8")
        except UnicodeEncodeError:
            raise ExportError(f"{word!r}: a word of the command that is no UTF-8 can't be said", "start it by a script") from None
    return list(manifest.command.argv)


def user_of(manifest: Manifest) -> str:
    """Whom it runs as. By number; by name where it has further groups, which a runtime looks up in the image."""
    command = manifest.command
    if not command.uid and not command.gid:
        return ""
    name, _, group = command.user.partition(":")
    if set(command.groups) - {command.gid} and name in manifest.accounts.users and not group:
        return name
    return f"{command.uid}:{command.gid}"


def stop_signal(manifest: Manifest) -> str:
    """The signal that ends it, with its prefix."""
    stop = manifest.command.stop
    return stop if stop.isdigit() or stop.startswith("SIG") else f"SIG{stop}"


def ports_of(manifest: Manifest) -> list[str]:
    """The ports that it listens on; the manifest does not say by which protocol."""
    ports = [_PORT.fullmatch(address) for address in manifest.listens if not address.startswith("unix")]
    return list(dict.fromkeys(port[1] for port in ports if port))


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True).encode("ascii")


def _described(media: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media, "digest": f"sha256:{hashlib.sha256(data).hexdigest()}", "size": len(data)}


def _blob(data: bytes) -> str:
    return f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def _file(name: str, data: bytes, request: Request) -> Iterator[bytes]:
    yield _header(name, len(data), request) + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def _header(name: str, size: int, request: Request) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, request.epoch
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


# --- Dockerfile -------------------------------------------------------------------------------------------------------


def dockerfile(request: Request) -> Iterator[bytes]:
    """Lines around `jail.tar`, that export tar makes. Words are JSON, which no shell reads."""
    manifest = request.manifest
    directory = manifest.command.directory
    lines = ["FROM scratch", "ADD jail.tar /", f"STOPSIGNAL {stop_signal(manifest)}"]
    lines += [f"USER {user_of(manifest)}"] if user_of(manifest) else []
    lines += [f"WORKDIR {_plain(directory)}"] if directory != "/" else []
    lines += [f"EXPOSE {port}" for port in ports_of(manifest)]
    lines.append(f"ENTRYPOINT {json.dumps(_words(manifest))}")
    yield "\n".join([*lines, ""]).encode("utf-8")


def _plain(directory: str) -> str:
    # Quotes, variables and escapes of a Dockerfile are not the same in all builders.
    if not re.fullmatch(r"[\w/.+@,:=~-]+", directory, re.ASCII):
        raise ExportError(f"{directory!r}: a Dockerfile can't say this working directory", "export oci says it")
    return directory
