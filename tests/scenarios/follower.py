"""A person who carries out the text of a remediation word for word, on a host tree."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence

import yaml

from agent.assess.benchmark import catalogue
from agent.base.errors import ExitCode
from tests.scenarios.host_tree import CONFIG, DROPINS, HostTree

_SPAN = re.compile(r"`[^`]*`")
_AT = r"(?: \(.*\))? (?:in|at) (?P<file>/[^:`]+?)(?::(?P<line>\d+))?"
_SET_IN_LIST = re.compile(rf"(?:set|add) `(?P<item>[^`]+)` (?:in|to) the list `(?P<key>[^`]+)`{_AT}")
_REMOVE_EVERYWHERE = re.compile(
    r"remove (?P<items>`[^`]+`(?: and `[^`]+`)*) from the list `(?P<key>[^`]+)` in K3s' configuration.*"
)
_REMOVE_OPTIONS = re.compile(r"remove (?P<items>`[^`]+`(?: and `[^`]+`)*) from K3s' configuration")
_REMOVE = re.compile(rf"remove `(?P<item>[^`]+)`(?: and the key `(?P<key>[^`]+)`, which has no other item)?{_AT}")
_REMOVE_NAME = re.compile(rf"remove (?P<name>[\w-]+) from `(?P<item>[^`]+)`{_AT}")
_ADD_NAMES = re.compile(rf"add (?P<names>`[^`]+`(?: and `[^`]+`)*) to `(?P<item>[^`]+)`(?P<quoted>, in quotes,)?{_AT}")
_SET = re.compile(rf"set `(?P<item>[^`]+)`{_AT}")
_APPEND = re.compile(rf"write `(?P<new>[^`]+)` instead of `(?P<old>[^`]+)`{_AT}")
_KERNEL = re.compile(rf"set (?P<item>[\w./-]+) to (?P<value>\S+), or delete the line{_AT}")
_ADD = re.compile(rf"add `(?P<item>[^`]+)`{_AT}")
_SHADOWED = ("/etc", "/var", "/run", "/srv", "/opt", "/usr/local", "/usr/lib/systemd", "/usr/lib/sysctl.d", "/proc/sys")
_NO_EDIT = ("restart K3s", "start K3s", "restart K3s on every server")


RATE_LIMITS = next(
    control.caution for control in catalogue.all_controls() if control.id == "apiserver-event-rate-limit"
)
"""A caution that changes a file."""
CAUTIONS = frozenset(control.caution for control in catalogue.all_controls()) - {"", RATE_LIMITS}
"""What a person has to find out or decide before a remediation; it changes nothing on the host."""


_COMMANDS = ("sudo ", "chroot ", "k3s-harden ")
"""Begins of a remediation that is one command. The tree belongs to the user, so the program needs no sudo."""


class Follower:
    """Edits the files of a host tree, and runs the commands on it. Commands of others require root."""

    def __init__(self, host: HostTree) -> None:
        self.host = host
        self._tools = host.root.with_name("tools")
        if not self._tools.exists():
            self._tools.mkdir()
            sudo = self._tools / "sudo"
            sudo.write_text('#!/bin/sh\nexec "$@"\n')
            sudo.chmod(0o755)
            (self._tools / "systemctl").symlink_to("/bin/true")
        for name, line in (("passwd", "root:x:0:0:root:/root:/bin/sh"), ("group", "root:x:0:")):
            host.write(f"/etc/{name}", f"{line}\n")
        self.prose: list[str] = []
        """The steps so far that no program can carry out."""

    def follow(self, text: str) -> bool:
        """Carry out the steps of a remediation, up to the first that needs a person; False if there is one."""
        for step in steps_of(text):
            if not self._step(step):
                self.prose.append(step)
                return False
        return True

    def _step(self, step: str) -> bool:
        command = re.fullmatch(r"run `((?:sudo|chroot|k3s-harden) [^`]*)`", step)
        if command or step.startswith(_COMMANDS):
            self.paste(command[1] if command else step)
            return True
        if step in _NO_EDIT or step in CAUTIONS:
            return True
        for pattern, edit in (
            (_SET_IN_LIST, self._set_in_list),
            (_REMOVE_EVERYWHERE, self._remove_everywhere),
            (_REMOVE_OPTIONS, self._remove_everywhere),
            (_REMOVE, self._remove),
            (_REMOVE_NAME, self._remove_name),
            (_ADD_NAMES, self._add_names),
            (_APPEND, self._append),
            (_SET, self._set),
            (_ADD, self._add),
            (_KERNEL, self._kernel_parameter),
        ):
            found = pattern.fullmatch(step)
            if found:
                edit(found)
                return True
        return False

    def paste(self, command: str) -> None:
        """Run a command in a shell whose files are those of the tree."""
        command = re.sub(r"^(?:sudo )?chroot \S+ ", "sudo ", command)
        words = shlex.split(command.removeprefix("sudo "))
        if words[:1] == ["k3s-harden"]:
            if "--root" not in words:
                words += ["--root", str(self.host.root), *self.host.options]
            assert words[words.index("--root") + 1] == str(self.host.root)
            self._own(words[1:])
            return
        # The directories of the tree replace those of this machine, but not those of its programs.
        shadows = {at: self.host[at] for at in _SHADOWED if self.host[at].is_dir()}
        mounts = "".join(f"mount --bind {shlex.quote(str(path))} {at}\n" for at, path in shadows.items())
        script = f"set -eu\nmount --make-rprivate /\n{mounts}mount -o remount,bind,ro /\n{command}\n"
        done = subprocess.run(
            ["unshare", "--mount", "bash", "-c", script],
            env={"PATH": f"{self._tools}:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert (done.returncode, done.stderr) == (0, ""), (command, done)

    def _own(self, words: list[str]) -> None:
        """Run k3s-harden. If it names a directory that is not safe, carry out its advice and run it again."""
        assert self.host.program is not None
        done = self.host.program.run(*words)
        seen: set[str] = set()
        while done.code not in {0, 3}:
            advice = dict.fromkeys(
                re.findall(r"; fix: restrict it to root: (.*?)(?:; fix: .*)?$", done.stdout, re.MULTILINE)
            )
            new = [step for step in advice if step not in seen]
            if not new and done.code in {ExitCode.ERROR, ExitCode.PARTIAL}:
                return  # something else is in the way; the next report shows what
            assert new, done
            seen |= {*new}
            for command in new:
                self.paste(command.replace(str(self.host.root), ""))
            done = self.host.program.run(*words)

    def _set_in_list(self, found: re.Match[str]) -> None:
        """Set an argument in a list of a file, which is created if it is missing."""
        file, key, item = found["file"], found["key"], found["item"]
        path = self.host[file]
        content = (yaml.safe_load(path.read_text()) if path.exists() else None) or {}
        key = next((name for name in (key, f"{key}+") if name in content), key)
        values = content.get(key) or []
        values = list(values) if isinstance(values, list) else [values]
        name = _name(item)
        same = [index for index, value in enumerate(values) if _name(str(value)) == name]
        if not same:
            values.append(item)
        for index in same:
            values[index] = item
        content[key] = values
        self.host.write(file, yaml.safe_dump(content, sort_keys=False), 0o600)

    def _remove_everywhere(self, found: re.Match[str]) -> None:
        names = {_name(item.strip("`")) for item in found["items"].split(" and ")}
        for path in [self.host[CONFIG], *sorted(self.host[DROPINS].glob("*.yaml"))]:
            if path.exists():
                lines = path.read_text().splitlines()
                for number in range(len(lines), 0, -1):
                    for name in names:
                        lines = list(_edited(lines, number, name, None))
                path.write_text("".join(f"{line}\n" for line in lines))

    def _remove(self, found: re.Match[str]) -> None:
        self._line(found, found["item"], None)
        if found["key"]:
            path = self.host[found["file"]]
            empty = re.compile(rf"^[\"']?{re.escape(found['key'])}\+?[\"']?:(?: *\[\])?$")
            path.write_text("".join(f"{line}\n" for line in path.read_text().splitlines() if not empty.match(line)))

    def _remove_name(self, found: re.Match[str]) -> None:
        """Remove a name from a comma-separated value, or the argument with its last name."""
        lines = self.host[found["file"]].read_text().splitlines()
        line = lines[int(found["line"]) - 1] if len(lines) >= int(found["line"]) else ""
        value = re.search(rf"{found['item']}=([^\s'\"]*)", line)
        if value is None:
            return  # it was removed before
        left = ",".join(name for name in value[1].split(",") if name != found["name"])
        self._line(found, found["item"], f"{found['item']}={left}" if left else None)

    def _add_names(self, found: re.Match[str]) -> None:
        """Add names to a comma-separated value, as a person types them into the text of the line."""
        path = self.host[found["file"]]
        lines = path.read_text().splitlines()
        index = int(found["line"]) - 1
        value = re.search(rf"(['\"]?)([^\s\[]*?{found['item']}=)([^\s'\"\]]*)\1", lines[index])
        if value is None:
            return  # it was removed before
        present = value[3].split(",")
        left = ",".join([*present, *(name for name in re.findall("`(.*?)`", found["names"]) if name not in present)])
        quote = value[1] or ("'" if found["quoted"] else "")
        lines[index] = f"{lines[index][: value.start()]}{quote}{value[2]}{left}{quote}{lines[index][value.end() :]}"
        path.write_text("".join(f"{line}\n" for line in lines))

    def _set(self, found: re.Match[str]) -> None:
        if found["line"] is None:
            self._add(found)
        else:
            self._line(found, found["item"], found["item"])

    def _line(self, found: re.Match[str], item: str, new: str | None) -> None:
        path = self.host[found["file"]]
        lines = path.read_text().splitlines()
        edited = list(_edited(lines, int(found["line"] or 1), _name(item), new))
        path.write_text("".join(f"{line}\n" for line in edited))

    def _append(self, found: re.Match[str]) -> None:
        path = self.host[found["file"]]
        lines = path.read_text().splitlines()
        index = int(found["line"]) - 1
        is_quoted = re.search(rf"['\"]{re.escape(found['old'])}\b", lines[index])
        if found["new"] not in lines[index] and not is_quoted:
            lines[index] = lines[index].replace(found["old"], found["new"], 1)
        path.write_text("".join(f"{line}\n" for line in lines))

    def _kernel_parameter(self, found: re.Match[str]) -> None:
        path = self.host[found["file"]]
        lines = path.read_text().splitlines()
        lines[int(found["line"]) - 1] = f"{found['item']} = {found['value']}"
        path.write_text("".join(f"{line}\n" for line in lines))

    def _add(self, found: re.Match[str]) -> None:
        path = self.host[found["file"]]
        text = path.read_text() if path.exists() else ""
        if found["item"] not in text.splitlines():
            self.host.write(found["file"], f"{text}{found['item']}\n", 0o600)


def steps_of(text: str) -> list[str]:
    """Return the steps of a printed remediation; those of an alternative are left out."""
    if text.startswith(_COMMANDS):
        return [text]
    spans: list[str] = []

    def hidden(found: re.Match[str]) -> str:
        spans.append(found[0])
        return f"\0{len(spans) - 1}\0"

    first = re.split(r"; or (?!later)", _SPAN.sub(hidden, text))[0]
    parts = [part for step in first.split("; then ") for part in re.split(r"; (?=restart K3s$|run \0)", step)]
    return [re.sub("\0(\\d+)\0", lambda found: spans[int(found[1])], part) for part in parts if part]


def _name(item: str) -> str:
    """Return the name of an argument or option, without dashes at its begin and with dashes within."""
    return re.split("[=:]", item.strip().strip("\"'"), maxsplit=1)[0].lstrip("-").replace("_", "-")


def _edited(lines: Sequence[str], number: int, name: str, new: str | None) -> Iterator[str]:
    """Yield the lines with the item of this name on one line replaced, or removed if `new` is None."""
    for index, line in enumerate(lines, 1):
        if index != number:
            yield line
            continue
        left = _changed(line, name, new)
        if left is not None:
            yield left


def _changed(line: str, name: str, new: str | None) -> str | None:
    item = re.fullmatch(r"(\s*-\s+)(.*)", line)
    if item and not item[2].startswith("["):
        if _name(item[2]) != name:
            return line
        return f"{item[1]}{new}" if new is not None else None
    field = re.fullmatch(r"(\s*)([\w.+'\"-]+):(?:\s+(.*))?", line)
    if field:
        if _name(field[2]) == name.rpartition(".")[2]:  # a field of the kubelet is named with those above it
            inner = new.partition(":")[0].rpartition(".")[0] if new is not None else ""
            return f"{field[1]}{new[len(inner) + 1 if inner else 0 :]}" if new is not None else None
        value = yaml.safe_load(field[3] or "null")
        values = value if isinstance(value, list) else [value]
        if not any(_name(str(value)) == name for value in values):
            return line
        left = [new if _name(str(value)) == name else value for value in values]
        left = [value for value in left if value is not None]
        return f"{field[1]}{field[2]}: {json.dumps(left)}" if left else None
    return _changed_words(line, name, new)


def _changed_words(line: str, name: str, new: str | None) -> str | None:
    """Return a line of a systemd unit with an argument of K3s replaced or removed."""
    changed = line
    for word in re.findall(r"'[^']*'|\"[^\"]*\"|[^\s\\]+", line):
        option, equals, argument = word.strip("'\"").partition("=")
        if equals and _name(argument) == name:
            changed = changed.replace(word, f"'{option}={new}'" if new is not None else "")
        elif _name(option) == name:
            changed = changed.replace(word, f"'--{new}'" if new is not None else "")
    return changed if changed.strip(" \t") else None
