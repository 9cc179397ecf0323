"""K3s' encryption configuration: which providers the datastore's Secrets go through. Pure."""

from __future__ import annotations

ENCRYPTION_CONFIGURATION = "server/cred/encryption-config.json"
"""Below the data directory; K3s writes it, as JSON, and rewrites it at each `k3s secrets-encrypt`."""

IDENTITY = "identity"
"""The provider that stores what it gets as it is."""

_PROVIDERS = frozenset({"aescbc", "aesgcm", IDENTITY, "kms", "secretbox"})
_ALL_SECRETS = frozenset({"secrets", "secrets.", "*.", "*.*"})
"""What names Secrets in an EncryptionConfiguration (apiserver.config.k8s.io/v1): the core group has no name."""


def providers_of_secrets(data: bytes) -> tuple[str, ...]:
    """The providers for Secrets by name, in their order: the first one encrypts what is written.

    None at all: it says nothing of Secrets, which are then stored as they are. Raises ValueError for what is no
    EncryptionConfiguration, in words that hold nothing of the file, since keys are in it.
    """
    import json

    try:
        configuration = json.loads(data)
    except (ValueError, RecursionError):
        # The error of json has no text of the file, but its `doc` has all of it.
        raise ValueError("it is not JSON") from None
    for item in _list(configuration, "resources"):
        # The first that names a resource decides.
        if not _ALL_SECRETS.isdisjoint(name for name in _list(item, "resources") if isinstance(name, str)):
            return tuple(map(_name, _list(item, "providers")))
    return ()


def _list(mapping: object, key: str) -> list[object]:
    found = mapping.get(key) if isinstance(mapping, dict) else None
    if not isinstance(found, list):
        raise ValueError(f"it has no list `{key}` where one must be")  # noqa: TRY004 - one kind of error for all
    return found


def _name(provider: object) -> str:
    if isinstance(provider, dict) and len(provider) == 1:
        name, options = next(iter(provider.items()))
        if name in _PROVIDERS and isinstance(options, dict):
            return str(name)
    raise ValueError(f"a provider must be one of {', '.join(sorted(_PROVIDERS))}")
