"""Loading of settings files and overrides, with every problem of a file in one error. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

from agent.base.errors import InputError, UsageError
from agent.base.model import Location
from agent.base.repair import RunVerb
from agent.base.value import replace
from agent.base.yaml_reader import (
    Document,
    KeyValue,
    Node,
    Scalar,
    YamlMapping,
    describe_node,
    duplicates,
    placeholder_problem,
    read_documents,
    scalars,
    shown,
)
from agent.harden.settings.schema import (
    STAGES_UNTIL,
    Overrides,
    Profile,
    SettingRow,
    Settings,
    setting_row,
    setting_rows,
    stage_rows,
)
from agent.harden.settings.value_kinds import InvalidValue, is_empty
from agent.harden.settings.waivers import SiteWaiver
from agent.k3s.redaction import shown_key


class SettingsError(InputError):
    """A settings file with one or more errors."""

    def __init__(self, path: PurePosixPath, errors: list[tuple[int, str]], topics: Iterable[str]) -> None:
        self.problems = tuple(InputError(Location(path, line), problem) for line, problem in sorted(errors))
        """Each error, in the order of lines."""
        location, problem = self.problems[0].location, self.problems[0].problem
        if len(self.problems) > 1:
            # One line names the file once.
            every_line = "; ".join(f"line {line}: {problem}" for line, problem in sorted(errors))
            location, problem = Location(path), f"{len(errors)} errors: {every_line}"
        super().__init__(location, problem, *(RunVerb("explain", (topic,)) for topic in sorted(topics)))


def load_settings(data: bytes | None, path: PurePosixPath, profile: str | None = None) -> Settings:
    """Read a settings file; None and an empty file give the defaults. `profile` replaces that of the file.

    Raises InputError if the file is not valid YAML, and SettingsError for unknown and repeated keys, invalid values and
    placeholders.
    """
    documents = read_documents(data or b"", path)
    loader = _Loader()
    if documents:
        loader.document(documents[0].node)
    values = loader.finish(documents, path)
    if profile is not None:
        values["profile"] = _option(setting_row("profile"), profile)
    if values.get("profile", Profile.GUIDE) is not Profile.GUIDE:
        from agent.harden.settings import profiles

        values = profiles.with_profile(values)
    settings = replace(Settings(), **values)
    accepted = tuple(replace(one, location=Location(path, one.location.line)) for one in settings.accepted_breaks)
    return replace(settings, waivers=_located(path, settings.waivers, settings), accepted_breaks=accepted)


def load_waivers(data: bytes, path: PurePosixPath, settings: Settings) -> tuple[SiteWaiver, ...]:
    """Read a file that contains only a list of waivers. Raises InputError and SettingsError as load() does."""
    documents = read_documents(data, path)
    if not documents:
        return ()
    loader = _Loader()
    row = setting_row("waivers")
    loader.setting(row, KeyValue(row.key, documents[0].line, documents[0].node))
    return _located(path, loader.finish(documents, path)["waivers"], settings)


def _located(path: PurePosixPath, waivers: tuple[SiteWaiver, ...], settings: Settings) -> tuple[SiteWaiver, ...]:
    needs, problems = settings.waivers_must, []
    for waiver in waivers:
        lacks_day = settings.waivers_must_expire and not waiver.expires
        lacking = {
            "waivers-must": needs.missing_in(waiver) if needs else "",
            "waivers-must-expire": "`expires` is missing" if lacks_day else "",
        }
        texts = (f"`waivers`: {missing}, which `{key}` requires" for key, missing in lacking.items() if missing)
        problems += [(waiver.location.line or 0, text) for text in texts]
    if problems:
        raise SettingsError(path, problems, ("waivers",))
    return tuple(replace(waiver, location=Location(path, waiver.location.line)) for waiver in waivers)


def apply_overrides(settings: Settings, overrides: Overrides) -> Settings:
    """Apply the options of the command line; `auto` as role removes the role of the file.

    Raises UsageError for a value that the settings file does not allow either.
    """
    typed = ((row, getattr(overrides, row.name, None)) for row in setting_rows())
    changes = {row.name: _option(row, text) for row, text in typed if text is not None}
    return replace(settings, **changes)


def _option(row: SettingRow, typed: str) -> Any:  # noqa: ANN401 - the value of any setting
    """Return the value of an option of the command line. Raises UsageError."""
    node = Scalar(typed, typed, 0)
    try:
        value = row.kind.read(node)
    except InvalidValue:
        raise UsageError(
            f"cannot use --{row.key}: it must be {row.kind.allowed}; found {describe_node(node)}", _example(row)
        ) from None
    placeholder = placeholder_problem(node)
    if placeholder:
        raise UsageError(f"cannot use --{row.key}: {placeholder}", _example(row))
    return value


def _example(row: SettingRow) -> str:
    return f"omit the option, or pass a value such as --{row.key} {row.example}"


class _Loader:
    """Reads the nodes of a settings file, and collects values by field and errors by line."""

    def __init__(self) -> None:
        self._rows = {row.key: row for row in setting_rows()}
        self._values: dict[str, Any] = {}
        self._errors: list[tuple[int, str]] = []
        self._topics: set[str] = set()
        """The settings with errors; "settings" if an error is not about the value of one."""

    def document(self, node: Node) -> None:
        if isinstance(node, YamlMapping):
            self._mapping(node, "")
            self._stages(node)
        elif not is_empty(node):
            self._error(node.line, f"the file must be a mapping of settings; found {describe_node(node)}")

    def finish(self, documents: tuple[Document, ...], path: PurePosixPath) -> dict[str, Any]:
        """Return the values by field. Raises SettingsError, also if the file has further documents."""
        for document in documents[1:]:
            self._error(document.line, "the file contains a second document; expected one")
        if self._errors:
            raise SettingsError(path, self._errors, self._topics)
        return self._values

    def setting(self, row: SettingRow, entry: KeyValue) -> None:
        placeholders = [(scalar.line, placeholder_problem(scalar)) for scalar in scalars(entry.node)]
        errors = [(line, f"`{row.key}`: {problem}") for line, problem in placeholders if problem]
        for line, problem in errors:
            self._error(line, problem, row.key)
        if errors:
            return
        if isinstance(entry.node, YamlMapping):
            self._duplicates(entry.node, f"{row.key}.")
        try:
            self._values[row.name] = row.kind.read(entry.node)
        except InvalidValue as invalid:
            for value in (invalid, *invalid.others):
                node = value.node or entry.node
                wrong_kind = f" must be {row.kind.allowed}; found {describe_node(node)}"
                self._error(node.line, f"`{row.key}`{f': {value.problem}' if value.problem else wrong_kind}", row.key)

    def _error(self, line: int, problem: str, topic: str = "settings") -> None:
        self._errors.append((line, problem))
        self._topics.add(topic)

    def _mapping(self, mapping: YamlMapping, prefix: str) -> None:
        self._duplicates(mapping, prefix)
        for entry in mapping.entries:
            key = prefix + entry.key
            if key in self._rows:
                self.setting(self._rows[key], entry)
            elif any(known.startswith(f"{key}.") for known in self._rows):
                self._section(key, entry.node)
            else:
                self._error(entry.line, f"unknown setting `{shown_key(key)}`; {self._suggestion(key)}")

    def _stages(self, node: YamlMapping) -> None:
        postponed = [row for row in stage_rows() if self._values.get(row.name, row.default_value) != row.default_value]
        if postponed and not self._values.get("stages_until"):
            problem = f"`{STAGES_UNTIL}` is missing: `{postponed[0].key}` requires the last day, such as 2027-03-31"
            self._error(node.line_of("stages"), problem)

    def _duplicates(self, mapping: YamlMapping, prefix: str) -> None:
        for first, again in duplicates(mapping):
            self._error(again.line, f"`{shown(prefix + again.key)}` is already set on line {first.line}")

    def _section(self, key: str, node: Node) -> None:
        if isinstance(node, YamlMapping):
            self._mapping(node, f"{key}.")
        elif not is_empty(node):
            inside = ", ".join(known[len(key) + 1 :] for known in self._rows if known.startswith(f"{key}."))
            self._error(node.line, f"`{key}` must be a mapping of {inside}; found {describe_node(node)}")

    def _suggestion(self, key: str) -> str:
        from difflib import get_close_matches

        from agent.k3s.options import AGENT_KEYS, SERVER_ONLY_KEYS

        if key.rstrip("+") in AGENT_KEYS | SERVER_ONLY_KEYS:
            return "it is an option of K3s, and belongs to /etc/rancher/k3s/config.yaml"
        known = [*self._rows, *{section for row in self._rows for section in row.split(".")[:-1]}]
        # The key without its section, or in another section.
        last = key.rpartition(".")[2]
        same = [row for row in self._rows if row.rpartition(".")[2] == last]
        close = list(dict.fromkeys((*get_close_matches(key, known, n=3), *same)))[:3]
        few = close or get_close_matches(key, known, n=3, cutoff=0)
        names = [f"`{name}`" for name in few]
        return f"did you mean {' or '.join(names)}?" if close else f"the nearest are {', '.join(names)}"
