"""Suggestions for an unknown verb or option: the command that was probably meant, with the other words of the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from agent.errors import CommandHint, UsageError
from agent.present.text import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agent.cli.group import WrongWordsError

_HELP = "--help"
_SHORTEST = 4
"""Letters of a synonym that is compared with a misspelled word: shorter ones are similar to many."""


class Synonym(NamedTuple):
    """Words of other programs, and what they are called here."""

    words: tuple[str, ...]
    """Verbs, and options with their dashes."""
    meant: str
    """A verb, an option with its value, or empty for an option that is not needed."""
    verbs: tuple[str, ...] = ()
    """The verbs with which an option has this meaning, all if it is empty; `""` is the place before the verb."""
    reason: str = ""
    """Replaces the message that there is no such command or option."""


_COMPARING = ("", "apply", "assess", "check", "diff")
"""Verbs for which an option can mean another verb: `revert --dry-run` is not diff, which shows changes of apply."""

SYNONYMS = (
    Synonym(("audit", "scan", "benchmark", "report", "cis", "evaluate", "kube-bench", "inspect"), "assess"),
    Synonym(("harden", "remediate", "fix", "enforce", "converge"), "apply"),
    Synonym(("undo", "rollback", "restore", "reset", "unapply", "unharden"), "revert"),
    Synonym(("status", "verify", "validate", "test", "health", "doctor", "lint"), "check"),
    Synonym(("dry-run", "dryrun", "plan", "preview", "compare", "whatif", "noop", "simulate"), "diff"),
    Synonym(("upgrade", "precheck", "pre-flight", "upgrade-check"), "preflight"),
    Synonym(("show", "describe", "why", "list", "controls", "findings", "man", "info"), "explain"),
    Synonym(("settings", "config", "configuration"), "explain settings"),
    Synonym(("print", "generate", "template", "output", "export"), "render"),
    Synonym(("cloud-init", "user-data"), "render cloud-init"),
    Synonym(("setup", "enable", "deploy", "systemd"), "install"),
    Synonym(("remove", "disable", "purge", "delete"), "uninstall"),
    Synonym(("unblock", "bypass", "skip-gate", "override"), "release"),
    Synonym(("serviceaccounts", "service-account", "sa", "tokens"), "service-accounts"),
    Synonym(("install-k3s", "k3s", "k3s-install"), "apply",
            reason="k3s-harden does not install K3s; harden the host, then install K3s"),
    Synonym(("completion", "completions", "autocomplete"), "--show-completion"),
    Synonym(("version", "ver"), "--version"),
    Synonym(("help", "usage", "commands"), _HELP),
    Synonym(("--dry-run", "--dryrun", "--noop", "--what-if", "--plan", "--preview", "-n"), "diff", _COMPARING),
    Synonym(("--dry-run", "--dryrun", "--noop", "--what-if", "--plan", "--preview", "-n"), _HELP, ("revert",),
            reason="revert has no preview"),
    Synonym(("--check-only", "--audit-only", "--no-changes", "--read-only"), "check", _COMPARING),
    Synonym(("--undo", "--rollback", "--restore"), "revert", ("", "apply")),
    Synonym(("--json",), "--format json"),
    Synonym(("--html",), "--format html", ("assess",)),
    Synonym(("--junit", "--xml"), "--format junit", ("assess",)),
    Synonym(("--sarif",), "--format sarif", ("assess",)),
    Synonym(("--plain", "--text", "--no-color", "--no-colour"), "--format plain"),
    Synonym(("--output-format", "--type", "--out-format"), "--format"),
    Synonym(("--out", "--report", "--outfile", "--file"), "--output", ("assess",)),
    Synonym(("--profile", "--cis", "--version-cis", "--standard"), "--benchmark", ("assess",)),
    Synonym(("--settings", "--config-file", "--conf", "--configuration"), "--config"),
    Synonym(("--chroot", "--prefix", "--rootfs", "--sysroot", "--host-root"), "--root"),
    Synonym(("--node-role", "--node-type", "--mode"), "--role"),
    Synonym(("--kubernetes-version", "--k8s-version", "--k3s"), "--k3s-version"),
    Synonym(("--datadir", "--k3s-data-dir"), "--data-dir"),
    Synonym(("--debug", "--details", "--all", "-d"), "--verbose"),
    Synonym(("--silent", "--short", "--summary", "-s"), "--quiet"),
    Synonym(("--follow", "--loop", "--monitor", "--live", "-w"), "--watch", ("check",)),
    Synonym(("--service", "--service-name"), "--unit"),
    Synonym(("--latest", "--newest"), "--last", ("revert",)),
    Synonym(("--overwrite", "-f"), "--force"),
    Synonym(("--yes", "--assume-yes", "--non-interactive", "--no-input", "--batch", "-y"), "",
            reason="no command asks for confirmation"),
)  # fmt: skip
"""The only table of synonyms. A test checks each against the verbs and options that exist."""

_WITH_ARGUMENT = ("explain", "preflight", "render")
"""Verbs that take other words than options."""


def usage_error(wrong: WrongWordsError, words: Sequence[str]) -> UsageError:
    """Return the error of wrong words, with what was probably meant. `words` are all arguments of the call."""
    error = wrong.error
    if error is None:
        return unknown_verb(wrong.verb, words)
    name = str(getattr(error, "option_name", ""))
    if type(error).__name__ == "NoSuchOption":
        return unknown_option(name, wrong.verb, words)
    if type(error).__name__ == "BadOptionUsage":
        return wrong_value(name, wrong.verb, words)
    if hasattr(error, "param"):
        return wrong_parameter(error, wrong.verb)
    return wrong_arguments(error, wrong.verb, words)


def unknown_verb(name: str, words: Sequence[str]) -> UsageError:
    """Return the error for a verb that does not exist."""
    verbs = visible_verbs()
    found = [row for row in SYNONYMS if name.lower() in row.words]
    meant = [row.meant for row in found] or _near(name, verbs)
    at = words.index(name) if name in words else len(words)
    rest = [*words[:at], *words[at + 1 :]]
    reason = next((row.reason for row in found if row.reason), "k3s-harden has no such command")
    return UsageError(f"cannot run {printable(name)}: {reason}", _hint([_with_verb(one, rest, verbs) for one in meant]))


def unknown_option(name: str, verb: str, words: Sequence[str]) -> UsageError:
    """Return the error for an option that a verb does not have. `verb` is empty for an option before the verb."""
    verbs = visible_verbs()
    own = verbs.get(verb) or options_of(verb)
    problem = f"{verb or 'k3s-harden'} has no such option"
    later = "" if verb else next((word for word in words if word in verbs), "")
    if later and name in verbs[later]:
        rest = [word for word in words if word != later]
        return UsageError(f"cannot use {name} before the command: options follow it", _hint([_command(later, *rest)]))
    suggested = []
    for row in SYNONYMS:
        if name in row.words and (not row.verbs or verb in row.verbs):
            problem = row.reason or problem
            if not row.meant or row.meant.split()[0] in own:
                suggested.append(_replaced(words, name, row.meant))
            elif row.meant in verbs:
                rest = [word for word in words if word != verb and word.partition("=")[0] != name]
                suggested.append(_with_verb(row.meant, rest, verbs))
    if not suggested and verb in _COMPARING and name.lstrip("-") in verbs:
        rest = [word for word in words if word not in (verb, name)]
        suggested = [_with_verb(name.lstrip("-"), rest, verbs)]
    if not suggested and name.startswith("--"):
        suggested = [_replaced(words, name, one) for one in _near(name, own)]
    return UsageError(f"cannot use {printable(name)}: {problem}", _hint(suggested, verb))


def wrong_parameter(error: Any, verb: str) -> UsageError:  # noqa: ANN401 - a class of Click or of Typer, by the release
    """Return the error for a missing argument, or for a value that an option does not have."""
    parameter = getattr(error, "param", None)
    if parameter is None:
        name = "the command line"
    elif parameter.param_type_name == "option":
        name = max(parameter.opts, key=len)
    else:
        name = parameter.metavar or parameter.name.upper()
    if type(error).__name__ == "MissingParameter":
        return UsageError(f"cannot run {verb or 'k3s-harden'}: {name} is missing", _hint((), verb))
    least, most = (getattr(parameter and parameter.type, name, None) for name in ("min", "max"))
    if least is not None and most is not None:
        return UsageError(f"cannot use {name}: it must be a number from {least} to {most}", _hint((), verb))
    return UsageError(f"cannot use {name}: {printable(error.message.rstrip('.'))}", _hint((), verb))


def wrong_value(name: str, verb: str, words: Sequence[str]) -> UsageError:
    """Return the error for an option without its value, or with a value that it does not take."""
    if options_of(verb).get(name):
        return UsageError(f"cannot use {name}: its value is missing", _hint((), verb))
    without = [name if word.partition("=")[0] == name else word for word in words]
    return UsageError(f"cannot use {name}: it does not take a value", _hint([_command(*without)]))


def wrong_arguments(error: Any, verb: str, words: Sequence[str]) -> UsageError:  # noqa: ANN401 - as above
    """Return the error for more arguments than a verb has, or for no verb."""
    from shlex import quote

    of_verb = [word for word in words[words.index(verb) + 1 :] if word != "--"] if verb else []
    arguments = [word for name, given in _pairs(of_verb, options_of(verb)) if not name for word in given]
    supported = [row for row in _group().commands[verb].params if row.param_type_name == "argument"] if verb else []
    extra = arguments[len(supported) :]
    if not extra:
        problem = printable(error.message.rstrip("."))
        return UsageError(f"cannot run {verb or 'k3s-harden'}: {problem}", _hint((), verb))
    left = [word for word in of_verb if word not in extra]
    named = " ".join(quote(word) for word in extra)
    return UsageError(printable(f"cannot run {verb}: unexpected argument {named}"), _hint([_command(verb, *left)]))


def visible_verbs() -> dict[str, dict[str, bool]]:
    """Return the options of each verb that --help lists: whether each takes a value."""
    return {name: _options(command) for name, command in _group().commands.items() if not command.hidden}


def options_of(verb: str) -> dict[str, bool]:
    """Return the options of a verb, also of a hidden one, or of the program: whether each takes a value."""
    group = _group()
    return _options(group.commands[verb] if verb else group)


def _group() -> Any:  # noqa: ANN401 - a class of Click or of Typer, by the release
    from typer.main import get_command

    from agent.cli.application import application
    from agent.cli.declared import COMMANDS

    return get_command(application(COMMANDS))


def _options(command: Any) -> dict[str, bool]:  # noqa: ANN401 - as above
    rows = [row for row in command.params if row.param_type_name == "option"]
    named = {name: not row.is_flag for row in rows for name in row.opts}
    return {**named, _HELP: False, "-h": False}


def _near(name: str, known: Iterable[str]) -> list[str]:
    """Return the known names that are similar, or what a similar synonym means."""
    import difflib

    # Without dashes: `--foo` and `--root` have little more in common.
    bare = {one.lstrip("-"): one for one in known if one[:2] == name[:2] or not name.startswith("-")}
    near = difflib.get_close_matches(name.lower().lstrip("-"), bare, n=2, cutoff=0.7)
    if near:
        return [bare[one] for one in near]
    others = {word: row.meant for row in SYNONYMS for word in row.words if len(word) >= _SHORTEST}
    similar = difflib.get_close_matches(name.lower(), others, n=1, cutoff=0.8)
    return [others[word] for word in similar if others[word].partition(" ")[0] in bare.values()]


def _hint(commands: Sequence[str], verb: str = "") -> str:
    """Return the commands that were probably meant, or how to list what exists."""
    if commands:
        different = list(dict.fromkeys(commands))
        return CommandHint(different[0]) if len(different) == 1 else " or ".join(f"`{one}`" for one in different)
    return f"run k3s-harden {verb} {_HELP} for its options" if verb else f"run k3s-harden {_HELP} for all commands"


def _with_verb(meant: str, rest: Sequence[str], verbs: Mapping[str, Mapping[str, bool]]) -> str:
    """Return the command with another verb, and with those other words that this verb supports."""
    if meant.startswith("-"):
        return _command(*(word for word in rest[:1] if meant == _HELP and word in verbs), meant)
    verb = meant.split(maxsplit=1)[0]
    kept = [
        word
        for name, given in _pairs(rest, verbs[verb])
        if (name in verbs[verb] if name else verb in _WITH_ARGUMENT)
        for word in given
    ]
    return _command(*meant.split(), *kept)


def _pairs(words: Sequence[str], options: Mapping[str, bool]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each option with its words, and each other word with an empty name."""
    left = list(words)
    while left:
        word = left.pop(0)
        name, equals, _ = word.partition("=")
        if not word.startswith("-"):
            yield "", (word,)
        elif options.get(name) and not equals and left:
            yield name, (word, left.pop(0))
        else:
            yield name, (word,)


def _replaced(words: Sequence[str], name: str, by: str) -> str:
    """Return the command with another option; `--name=value` keeps its value."""
    new: list[str] = []
    for word in words:
        if word.partition("=")[0] != name:
            new.append(word)
        elif "=" in word and by and " " not in by:
            new.append(by + word[len(name) :])
        else:
            new += by.split()
    return _command(*new)


def _command(*words: str) -> str:
    from shlex import quote

    from agent.model import OwnCommand, Remediation
    from agent.present import remediation

    quoted = [quote(word) for word in words]
    if not quoted or quoted[0].startswith("-") or quoted[-1] == _HELP:
        return " ".join(("k3s-harden", *quoted))
    return printable(remediation.text(Remediation((OwnCommand(quoted[0], tuple(quoted[1:])),))))
