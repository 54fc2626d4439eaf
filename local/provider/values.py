"""Conversion of property values between the engine's wire format (a protobuf ``Struct``) and Python.

Unknowns become :data:`UNKNOWN`, assets and archives become :class:`Asset`. Secrets are unwrapped, and the names of the
top-level properties that held one are returned with the values, so that they can be wrapped again.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.struct_pb2 import ListValue, NullValue, Struct, Value

from local.provider.errors import ProviderError

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET = "1b47061264138c4ac30d75fd1eb44270"
ASSET = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7"
RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"
OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_UNKNOWN_STRINGS = frozenset(
    {
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",  # string
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # list
        "030794c1-ac77-496b-92df-f27374a8bd58",  # asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # object
    }
)
_UNKNOWN_STRING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"

Values = dict[str, Any]


class Unknown:
    """The type of :data:`UNKNOWN`."""

    def __repr__(self) -> str:
        return "UNKNOWN"


#: A value that is not known before another resource is created.
UNKNOWN = Unknown()


@dataclass(frozen=True)
class Asset:
    """A file, or an archive of files: the location of the content and its hash as the engine computed it."""

    fields: Mapping[str, Any]
    archive: bool = False

    @property
    def hash(self) -> str:
        """The content hash, empty if the engine sent none."""
        return str(self.fields.get("hash", ""))

    def __eq__(self, other: object) -> bool:
        # Only the content matters, not its location.
        return isinstance(other, Asset) and (self.hash == other.hash if self.hash else self.fields == other.fields)

    def __hash__(self) -> int:
        return hash(self.hash)

    def read(self, directory: Path) -> bytes:
        """Return the content: a file as it is, an archive as a ZIP file that depends only on its content.

        Args:
            directory: The base folder for relative paths.

        Raises:
            ProviderError: If the content cannot be read, or a file no longer has the declared hash.
        """
        if self.archive and not self._is_archive_file(directory):
            return _zip(dict(self._files(directory)))
        if "path" in self.fields:
            return self._read_path(directory / self.fields["path"])
        if "text" in self.fields:
            return str(self.fields["text"]).encode()
        raise ProviderError(
            f"asset by {sorted(self.fields)}", "cannot be read", expected="text, a path or an archive of those"
        )

    def _is_archive_file(self, directory: Path) -> bool:
        return "path" in self.fields and (directory / self.fields["path"]).is_file()

    def _files(self, directory: Path) -> Iterator[tuple[str, bytes]]:
        """Yield the paths and contents of an archive's files; an archive inside it is a folder."""
        if "assets" in self.fields:
            for name, asset in self.fields["assets"].items():
                if asset.archive:
                    yield from ((f"{name}/{inner}", content) for inner, content in asset._files(directory))
                else:
                    yield name, asset.read(directory)
            return
        folder = directory / str(self.fields.get("path"))
        if not folder.is_dir():
            raise ProviderError(
                f"archive by {self.fields}: {folder}", "is not a folder on this machine", fix="give an absolute path"
            )
        for file in folder.rglob("*"):
            if file.is_file():
                yield file.relative_to(folder).as_posix(), file.read_bytes()

    def _read_path(self, path: Path) -> bytes:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ProviderError(
                f"asset {self.fields['path']!r}:", f"cannot read {path}: {error.strerror}", fix="give an absolute path"
            ) from error
        if not self.archive and self.hash and hashlib.sha256(content).hexdigest() != self.hash:
            raise ProviderError(
                f"asset {self.fields['path']!r}: {path}",
                "has different content than the program declared",
                fix="run the command again",
            )
        return content


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def unmarshal(struct: Struct) -> tuple[Values, frozenset[str]]:
    """Return the values of a ``Struct``, without nulls, and the names of top-level properties that hold a secret.

    Args:
        struct: The properties in the engine's wire format.

    Raises:
        ProviderError: If a value has a signature that this provider does not know.
    """
    values: Values = {}
    secret_names = set()
    for name, value in struct.fields.items():
        reader = _Reader()
        plain = reader.value(value)
        if plain is not None:
            values[name] = plain
        if reader.met_secret:
            secret_names.add(name)
    return values, frozenset(secret_names)


class _Reader:
    def __init__(self) -> None:
        self.met_secret = False

    def value(self, value: Value) -> Any:
        kind = value.WhichOneof("kind")
        if kind == "string_value":
            return UNKNOWN if value.string_value in _UNKNOWN_STRINGS else value.string_value
        if kind == "number_value":
            number = value.number_value
            return int(number) if number.is_integer() else number
        if kind == "bool_value":
            return value.bool_value
        if kind == "struct_value":
            return self._struct(value.struct_value)
        if kind == "list_value":
            return [self.value(item) for item in value.list_value.values]
        return None

    def _struct(self, struct: Struct) -> Any:
        fields = struct.fields
        if SIGNATURE not in fields:
            members = ((name, self.value(item)) for name, item in fields.items())
            return {name: item for name, item in members if item is not None}
        signature = fields[SIGNATURE].string_value
        if signature == SECRET:
            self.met_secret = True
            return self.value(fields["value"])
        if signature == OUTPUT:
            self.met_secret = self.met_secret or fields["secret"].bool_value
            return self.value(fields["value"]) if "value" in fields else UNKNOWN
        if signature == RESOURCE:
            return self.value(fields["id"]) if "id" in fields else fields["urn"].string_value
        if signature in (ASSET, ARCHIVE):
            plain = {name: self.value(item) for name, item in fields.items() if name != SIGNATURE}
            # The engine sends every field of an asset, with the unused ones empty.
            kept = {name: item for name, item in plain.items() if item not in (None, "", {})}
            if not kept.keys() & {"text", "path", "uri", "assets"} and "text" in plain:
                kept["text"] = ""
            return Asset(kept, archive=signature == ARCHIVE)
        raise ProviderError(
            "a value",
            f"has the unknown signature {signature!r}: this engine is newer than the provider",
            fix="use the engine that this version installs",
        )


def marshal(values: Mapping[str, Any], secret_names: Iterable[str] = ()) -> Struct:
    """Return the ``Struct`` of ``values``.

    Args:
        values: The property values by name.
        secret_names: The properties to wrap as secrets; names without a value are ignored.

    Raises:
        TypeError: If a value is of a type that no property has.
    """
    struct = Struct()
    wrapped = frozenset(secret_names)
    for name, value in values.items():
        target = struct.fields[name]
        if name in wrapped:
            target.struct_value.fields[SIGNATURE].string_value = SECRET
            target = target.struct_value.fields["value"]
        _write(target, value)
    return struct


def _write(target: Value, value: Any) -> None:
    if value is None:
        target.null_value = NullValue.NULL_VALUE
    elif value is UNKNOWN:
        target.string_value = _UNKNOWN_STRING
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, (int, float)):
        target.number_value = value
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, Mapping):
        target.struct_value.SetInParent()
        for name, item in value.items():
            _write(target.struct_value.fields[name], item)
    elif isinstance(value, (list, tuple)):
        target.list_value.CopyFrom(ListValue())
        for item in value:
            _write(target.list_value.values.add(), item)
    elif isinstance(value, Asset):
        _write(target, {SIGNATURE: ARCHIVE if value.archive else ASSET, **value.fields})
    else:
        raise TypeError(f"a {type(value).__name__} is not a property value: {value!r}")


def is_known(value: Any) -> bool:
    """Return True if no part of the value is unknown."""
    if isinstance(value, Mapping):
        return all(is_known(item) for item in value.values())
    if isinstance(value, list):
        return all(is_known(item) for item in value)
    return value is not UNKNOWN
