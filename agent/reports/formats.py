"""Names of the output formats, and the characters that a stream supports."""

from __future__ import annotations

from enum import Enum
from typing import TextIO

from agent.base.model import StrEnum


class Format(StrEnum):
    """Output format; auto selects a table on a terminal and plain lines elsewhere."""

    AUTO = "auto"
    TABLE = "table"
    PLAIN = "plain"
    JSON = "json"
    KUBE_BENCH = "kube-bench"
    JUNIT = "junit"
    SARIF = "sarif"
    OPENREPORTS = "openreports"
    OPENMETRICS = "openmetrics"
    HTML = "html"
    CKLB = "cklb"
    OSCAL = "oscal"
    OSCAL_POAM = "oscal-poam"

    def on(self, stream: TextIO) -> Format:
        """Return the format, which auto selects by the stream."""
        return self if self is not Format.AUTO else Format.TABLE if stream.isatty() else Format.PLAIN


REPORT_FORMATS = (Format.AUTO, Format.TABLE, Format.PLAIN, Format.JSON)
"""The formats of a report; an assessment has all."""


OF_AUDITORS = (Format.CKLB, Format.OSCAL, Format.OSCAL_POAM)
"""The formats of other frameworks than CIS."""


ENDINGS = {
    ".html": (Format.HTML,),
    ".sarif": (Format.SARIF,),
    ".xml": (Format.JUNIT,),
    ".cklb": (Format.CKLB,),
    ".json": (Format.JSON, Format.KUBE_BENCH, Format.SARIF, Format.OPENREPORTS, Format.OSCAL, Format.OSCAL_POAM),
}
"""The formats that a file with this ending can have, the default one first."""


class SettingsFormat(StrEnum):
    """A further format of `impact`."""

    SETTINGS = "settings"


IMPACT_FORMATS = (*REPORT_FORMATS, SettingsFormat.SETTINGS)


FLEET_FORMATS = (*REPORT_FORMATS, Format.OPENREPORTS, Format.HTML)


_IN_ASCII = {"→": "->", "“": '"', "”": '"', "’": "'", "—": "-", "…": "...", "✔": "+", "✘": "x"}


class Verbosity(int, Enum):
    """Amount of detail in formats for people."""

    QUIET = -1
    NORMAL = 0
    VERBOSE = 1


def fitting(text: str, stream: TextIO) -> str:
    """Return the text with every character that the stream's encoding lacks replaced by ASCII."""
    encoding = stream.encoding or "ascii"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        for sign, substitute in _IN_ASCII.items():
            if not sign.encode(encoding, "ignore"):
                text = text.replace(sign, substitute)
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text
