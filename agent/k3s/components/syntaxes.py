"""Syntaxes of values that components require, each with a text that has it and one that does not. Pure."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from agent.k3s.components import values
from agent.k3s.components.names import is_label_value, is_qualified_name
from agent.k3s.components.words import CONTROLLERS, LABELS, SIGNALS, SUITES

if TYPE_CHECKING:
    from collections.abc import Callable


class Syntax(NamedTuple):
    """A syntax of a value, or of an item of a list or a mapping."""

    expected: str
    accepts: Callable[[str], bool]
    valid: str
    """An example, with which tests start the components."""
    invalid: str


def _pattern(expression: str) -> Callable[[str], bool]:
    return lambda text: re.fullmatch(expression, text, re.ASCII) is not None


def _is_issuer(text: str) -> bool:
    return text.lower().startswith("https://") and values.is_url(text) and not set(text) & set("?#@")


def _is_whole_host(text: str) -> bool:
    """Return whether an expression for origins has anchors, as far as the API server requires it, and is valid."""
    pinned = ("^" in text or "//" in text) and ("$" in text or ":" in text)
    return pinned and _can_be_expression(text)


def _can_be_expression(text: str) -> bool:
    """Return whether Go can accept a regular expression; Python reads one without escapes and flags alike."""
    if re.search(r"\\[A-Za-z0-9]|\(\?[^:]|\[:", text):
        return True
    try:
        re.compile(re.sub(r"(?<!\[)\^|\$", "a", text))  # Python rejects a repeated anchor
    except (re.error, OverflowError):
        return False
    return True


def _has_cidrs(text: str, longest_suffix: int = 0) -> bool:
    """Return whether a text has one CIDR of each IP version at most, each with at least this many bits for hosts."""
    found = [values.cidr(item.strip()) for item in text.split(",")]
    known = [size for size in found if size and size[0] - size[1] >= longest_suffix]
    return len(known) == len(found) == len({bits for bits, _ in known})


def _is_host_and_port(text: str) -> bool:
    port = text.rpartition(":")[2]
    return not text or values.is_ip(text) or (port.isdecimal() and int(port) > 0)


def _is_node_label(text: str) -> bool:
    """Return whether a kubelet may set a label (cmd/kubelet/app/options/options.go)."""
    key, _, value = text.partition("=")
    namespace = key.rpartition("/")[0]
    is_reserved = re.fullmatch(r"(.*\.)?(kubernetes|k8s)\.io", namespace) is not None
    is_own = re.fullmatch(r"(.*\.)?(kubelet|node)\.kubernetes\.io", namespace) is not None
    is_allowed = not is_reserved or is_own or key in LABELS
    return is_allowed and is_qualified_name(key) and is_label_value(value)


def _is_cpu_list(text: str) -> bool:
    matches = [re.fullmatch("([0-9]{1,6})(?:-([0-9]{1,6}))?", item.strip(), re.ASCII) for item in text.split(",")]
    return not text or all(match and (match[2] is None or int(match[1]) <= int(match[2])) for match in matches)


def _is_threshold(text: str, *, is_reclaim: bool = False) -> bool:
    """Return whether `signal=amount` is a threshold of eviction (pkg/kubelet/eviction/helpers.go)."""
    signal, _, amount = text.partition("=")
    if signal not in SIGNALS:
        return False
    if amount.endswith("%"):
        share = _number(values.number, amount.rstrip("%"))
        return share > 0 if is_reclaim else 0 <= share <= 100  # noqa: PLR2004 - percent
    is_zero = re.fullmatch("[+]?0*[.]?0*[A-Za-z]*", amount, re.ASCII) is not None
    return values.is_quantity(amount) and not amount.startswith("-") and (is_reclaim or not is_zero)


def _is_grace_period(text: str) -> bool:
    signal, _, period = text.partition("=")
    return signal in SIGNALS and _number(values.duration, period) >= 0


def _number(parser: Callable[[str], float], text: str) -> float:
    try:
        return parser(text)
    except values.InvalidValueError:
        return float("nan")


def _is_reservation(text: str) -> bool:
    resource, _, size = text.partition("=")
    is_known = resource in ("cpu", "memory", "ephemeral-storage", "pid")
    return is_known and values.is_quantity(size) and not size.startswith("-")


def _is_node_port_address(text: str, words: tuple[str, ...]) -> bool:
    return text in words or values.cidr(text) is not None


_SYSCTL = r"(?:[a-z0-9](?:[-_a-z0-9]*[a-z0-9])?[./])*(?:[a-z0-9][-_a-z0-9]*)?[a-z0-9*]"
_NAMESPACED = (
    r"(?:net|fs[./]mqueue|user)[./].*"
    r"|kernel[./](?:domainname|sem|shm(?:all|max|mni|_rmid_forced)?|msg(?:max|mnb|mni)?)\*?"
)
"""The parameters of a namespace (component-helpers/node/util/sysctl/namespace.go)."""
_BOOLEAN = "(?:true|false|1|0|t|f|T|F|True|False|TRUE|FALSE)"
_CPU_OPTIONS = (
    "align-by-socket|distribute-cpus-across-cores|distribute-cpus-across-numa|full-pcpus-only"
    "|prefer-align-cpus-by-uncorecache|strict-cpu-reservation"
)

ABSOLUTE_PATH = Syntax("an absolute path", lambda text: text.startswith("/"), "/var/lib/kubelet", "kubelet")
CACHE_SIZE = Syntax("resource#size", _pattern("[^#]*#([+]?[0-9]+|-0+)"), "pods#100", "pods=100")
CIDR = Syntax("a CIDR", lambda text: values.cidr(text) is not None, "10.0.0.0/8", "10.0.0.0")
CIDRS = Syntax("a CIDR of each IP version", _has_cidrs, "10.42.0.0/16", "10.42.0.0/16,10.44.0.0/16")
CIPHER_SUITE = Syntax(
    "names of cipher suites of Go", SUITES.__contains__, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_OWN"
)
CONTROLLER = Syntax(
    "names of controllers, or *",
    lambda text: text == "*" or text.removeprefix("-") in CONTROLLERS,
    "*",
    "no-such-controller",
)
CPU_LIST = Syntax("a list such as 0-1,3", _is_cpu_list, "0", "0-")
CPU_POLICY_OPTION = Syntax(
    f"{_CPU_OPTIONS.replace('|', ', ')}; each true or false",
    _pattern(f"(?:{_CPU_OPTIONS})={_BOOLEAN}"),
    "full-pcpus-only=true",
    "full-pcpus-only=maybe",
)
ENDPOINT = Syntax(
    "HOST:PORT, or an address that begins with dns:// or unix://",
    values.is_endpoint,
    "localhost:4317",
    "http://localhost:4317",
)
EVICTION_GRACE_PERIOD = Syntax(
    "signal=duration, such as memory.available=1m30s", _is_grace_period, "memory.available=1m", "memory.available=-1m"
)
EVICTION_RECLAIM = Syntax(
    "signal=amount, such as memory.available=1Gi",
    partial(_is_threshold, is_reclaim=True),
    "memory.available=1Mi",
    "memory.free=1Mi",
)
EVICTION_THRESHOLD = Syntax(
    "signal<amount, such as memory.available<1Gi", _is_threshold, "memory.available=1Mi", "memory.available=0"
)
FILE_PATH = Syntax("the path of a file", lambda text: not text.endswith("/"), "/var/log/own.log", "/var/log/own/")
HOST_AND_PORT = Syntax("IP:PORT", _is_host_and_port, "127.0.0.1:10256", "127.0.0.1:0")
HSTS_DIRECTIVE = Syntax(
    "max-age=SECONDS, includeSubDomains or preload",
    _pattern("includeSubDomains|preload|max-age=[^=]*"),
    "max-age=31536000",
    "max-age",
)
HTTPS_ISSUER = Syntax(
    "https://HOST/PATH, without a query, fragment or user name", _is_issuer, "https://issuer.example", "http://a.b"
)
HTTPS_URL = Syntax("https://...", lambda text: not text or text.startswith("https://"), "https://a.b/c", "http://a.b/c")
ID_COUNT = Syntax("a multiple of 65536", lambda text: int(text) > 0 and int(text) % 65536 == 0, "65536", "65537")
METRIC = Syntax("names of metrics", _pattern("[a-zA-Z_:][a-zA-Z0-9_:]*"), "own_metric", "own-metric")
METRIC_LABELS = Syntax(
    "metric,label=value,value",
    _pattern("[a-zA-Z_:][a-zA-Z0-9_:]*,[a-zA-Z_][a-zA-Z0-9_]*=.*"),
    "own_metric,label='a,b'",
    "own_metric='a,b'",
)
NODE_LABEL = Syntax(
    "a label of Kubernetes' syntax; of kubernetes.io and k8s.io only a few",
    _is_node_label,
    "node.kubernetes.io/own=a",
    "kubernetes.io/own=a",
)
NODE_PORT_ADDRESS = Syntax(
    "CIDRs, or primary", partial(_is_node_port_address, words=("primary", "localhost", "all")), "primary", "own"
)
NODE_PORT_ADDRESS_34 = Syntax(
    "CIDRs, or primary", partial(_is_node_port_address, words=("primary",)), "primary", "localhost"
)
"""That of 1.34; newer ones can have more words."""
NOT_BLANK = Syntax("a text that is not blank", lambda text: not text or bool(text.strip()), "node-1", " ")
ORIGIN = Syntax(
    "a regular expression for the whole host, such as ^https://example[.]com$",
    _is_whole_host,
    "^https://example[.]com$",
    "//(a|b$",
)
PATH_PREFIX = Syntax(
    "paths with * only at their end", lambda text: "*" not in text.removeprefix("/")[:-1], "/a*", "/a*b"
)
POD_LOGS_PATH = Syntax(
    "an absolute path without a slash at its end", _pattern("/|(/[^/]+)+"), "/var/log/own", "/var/log/own/"
)
QOS_RESERVATION = Syntax("memory=PERCENT%", _pattern("memory=0*([0-9]{1,2}|100)%"), "memory=50%", "memory=101%")
REACHABLE_ADDRESS = Syntax(
    "an address that other nodes can reach",
    lambda text: not text.startswith(("127.", "169.254.")),
    "10.99.0.1",
    "127.0.0.1",
)
RESERVATION = Syntax(
    "cpu, memory, ephemeral-storage or pid, with a quantity such as 500Mi", _is_reservation, "memory=1Mi", "disk=1Mi"
)
SERVICE_CIDRS = Syntax(
    "a CIDR of each IP version, with at least 8 addresses",
    partial(_has_cidrs, longest_suffix=3),
    "10.43.0.0/16",
    "10.43.0.0/30",
)
SERVICE_ISSUER = Syntax(
    "a name without a colon, or a URL", lambda text: ":" not in text or values.is_url(text), "own", "https://[::1"
)
STORAGE_SERVERS = Syntax(
    "group/resource#server;server",
    _pattern("[^/#]*/[^/#]*#[^#;]+(;[^#;]+)*"),
    "/events#http://127.0.0.1:2379",
    "events#http://127.0.0.1:2379",
)
TOPOLOGY_POLICY_OPTION = Syntax(
    "prefer-closest-numa-nodes=true, or max-allowable-numa-nodes with at least 8",
    _pattern(f"prefer-closest-numa-nodes={_BOOLEAN}|max-allowable-numa-nodes=0*([89]|[1-9][0-9]{{1,8}})"),
    "max-allowable-numa-nodes=8",
    "max-allowable-numa-nodes=4",
)
TWO_ITEMS = Syntax("one or two CIDRs", lambda text: text.count(",") < 2, "10.43.0.0/16", "a,b,c")  # noqa: PLR2004
UNSAFE_SYSCTL = Syntax(
    "parameters such as net.*, kernel.msg*, kernel.shm* or kernel.sem",
    lambda text: _pattern(_SYSCTL)(text) and _pattern(_NAMESPACED)(text),
    "net.core.somaxconn",
    "vm.max_map_count",
)
WHOLE_QUANTITY = Syntax("a quantity such as 10Mi", values.is_whole_quantity, "10Mi", "1.5Mi")
