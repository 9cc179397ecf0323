"""Encryption configuration of the API server: the providers for Secrets. Pure."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from agent.base.errors import InputError
from agent.base.yaml_reader import first_object, plain

if TYPE_CHECKING:
    from agent.k3s.roles_and_versions import Version

ENCRYPTION_CONFIGURATION = "server/cred/encryption-config.json"
"""Path relative to the data directory. K3s writes the file as JSON, and again at each `k3s secrets-encrypt`."""

IDENTITY = "identity"
"""The provider that stores values without encryption."""

_PROVIDERS = frozenset({"aescbc", "aesgcm", IDENTITY, "kms", "secretbox"})
_KEY = rb'\{"name":"[\w.:+-]+","secret":"[\w+/]{43}="\}'
_PROVIDER = rb'\{"(?:identity":\{\}|(?:aescbc|secretbox)":\{"keys":\[KEY(?:,KEY)*\]\})\}'.replace(b"KEY", _KEY)
_AS_K3S_WRITES = (
    rb'\{"kind":"EncryptionConfiguration","apiVersion":"apiserver\.config\.k8s\.io/v1","resources":\[\{"resources":'
    rb'\["secrets"\],"providers":\[ONE(?:,ONE)*\]\}\]\}\s*'.replace(b"ONE", _PROVIDER)
)
_ALL_SECRETS = frozenset({"secrets", "secrets.", "*.", "*.*"})
"""Names of Secrets in an EncryptionConfiguration (apiserver.config.k8s.io/v1): the core group has an empty name."""


FIRST_ENABLING_LATER = ((32, 11, 3), (33, 7, 3), (34, 3, 3), (35, 0, 3))
"""The first releases, by minor, patch and build, in which K3s can encrypt the Secrets of a cluster that has data.

(k3s-io/docs, docs/cli/secrets-encrypt.md)
"""


def release_enabling_later(minor: int) -> str:
    """Return the first release, if possible of this minor, that can encrypt the Secrets of a cluster with data."""
    number = next((release for release in FIRST_ENABLING_LATER if release[0] == minor), FIRST_ENABLING_LATER[0])
    return "v1.{}.{}+k3s{}".format(*number)


def can_be_enabled_later(version: Version) -> bool:
    """Return whether K3s of this version can encrypt the Secrets of a cluster that has data.

    A minor version without its patch has all of its fixes.
    """
    build = re.search(r"\+k3s(\d+)", version.build)
    own = (version.minor, version.patch, int(build[1]) if build else 0)
    first = next((release for release in FIRST_ENABLING_LATER if release[0] == version.minor), None)
    if first is None:
        return own > FIRST_ENABLING_LATER[-1]
    return own >= first or not version.is_release


def providers_of_secrets(data: bytes) -> tuple[str, ...]:
    """Return the names of the providers for Secrets, in order. The first one encrypts new values.

    Empty if the file has no entry for Secrets, which means no encryption. Raises ValueError if the file is not an
    EncryptionConfiguration; the message contains no text of the file, which contains keys.
    """
    return tuple(map(_name, _of_secrets(data)))


def encryption_problem(data: bytes, path: PurePosixPath, minor: int) -> InputError | None:
    """Return why the API server of a minor version, 0 if it is unknown, exits at the file; None if it uses it."""
    from agent.k3s.components.files.api_server_files import ENCRYPTION
    from agent.k3s.components.files.file_rules import FileContext, rejected_by

    return next(rejected_by(ENCRYPTION, data, path, FileContext(minor)), None)


def is_as_k3s_writes(data: bytes) -> bool:
    """Return whether a file has the form in which K3s writes it, with keys of 32 bytes: the API server uses it."""
    return re.fullmatch(_AS_K3S_WRITES, data) is not None


def _of_secrets(data: bytes) -> list[Any]:
    for item in _items(_document(data), "resources"):
        # The first item that names a resource applies.
        names = {name for name in _items(item, "resources") if isinstance(name, str)}
        if not _ALL_SECRETS.isdisjoint(names):
            return _items(item, "providers")
    return []


def _document(data: bytes) -> object:
    """Return the content as mappings, lists and text."""
    import json

    try:
        return json.loads(data)  # most files, since K3s writes JSON: importing PyYAML takes a tenth of a check
    except (ValueError, RecursionError):
        pass
    try:
        document = first_object(data, PurePosixPath(ENCRYPTION_CONFIGURATION))
    except InputError:
        raise ValueError("it is neither YAML nor JSON") from None
    return document and plain(document)


def _items(mapping: object, key: str) -> list[object]:
    found = mapping.get(key) if isinstance(mapping, dict) else None
    if not isinstance(found, list):
        raise ValueError(f"the list `{key}` is missing")  # noqa: TRY004 - callers catch one type
    return found


def _name(provider: object) -> str:
    if isinstance(provider, dict) and len(provider) == 1:
        ((name, options),) = provider.items()
        if name in _PROVIDERS and isinstance(options, dict):
            return str(name)
    raise ValueError(f"a provider must be one of {', '.join(sorted(_PROVIDERS))}")
