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
from tests.scenarios.host_tree import HostTree

_SPAN = re.compile(r"`[^`]*`")
_AT = r"(?: \(.*\))? (?:in|at) (?P<file>/[^:`]+?)(?::(?P<line>\d+))?"
_REMOVE_NAME = re.compile(rf"remove (?P<name>[\w-]+) from `(?P<item>[^`]+)`{_AT}")
_ADD_NAMES = re.compile(rf"add (?P<names>`[^`]+`(?: and `[^`]+`)*) to `(?P<item>[^`]+)`(?P<quoted>, in quotes,)?{_AT}")
_SET = re.compile(rf"set `(?P<item>[^`]+)`{_AT}")
_APPEND = re.compile(rf"write `(?P<new>[^`]+)` instead of `(?P<old>[^`]+)`{_AT}")
_KERNEL = re.compile(rf"set (?P<item>[\w./-]+) to (?P<value>\S+), or delete the line{_AT}")
_REPLACE = re.compile(rf"replace `(?P<old>[^`]+)` by `(?P<new>[^`]+)`{_AT}")
_REMOVE = re.compile(rf"remove `(?P<old>[^`]+)`{_AT}")
_ADD = re.compile(r"add `(?P<new>[^`]+)` (?:below|to the end of) (?P<file>/[^:`]+)(?::(?P<line>\d+))?")
_SHADOWED = ("/etc", "/var", "/run", "/srv", "/opt", "/usr/local", "/usr/lib/systemd", "/usr/lib/sysctl.d", "/proc/sys")
_NO_EDIT = ("restart K3s", "start K3s", "restart K3s on every server")


CAUTIONS = frozenset(control.caution for control in catalogue.all_controls()) - {""}
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
            (_REPLACE, self._replace),
            (_REMOVE, self._replace),
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

    def _replace(self, found: re.Match[str]) -> None:
        """Replace a text in a line; without a new one, remove it, and the line with nothing else in it."""
        path, old, new = self.host[found["file"]], found["old"], found.groupdict().get("new", "")
        lines = path.read_text().split("\n")
        index = int(found["line"]) - 1
        if index >= len(lines) or old not in lines[index]:
            return  # it was done before
        if new:
            lines[index] = lines[index].replace(old, new)
        else:
            left = re.sub(rf"([\"']?)(?:--)?{re.escape(old)}\1", "", lines[index])
            lines[index : index + 1] = [left] if left.strip(" -") else []
        path.write_text("\n".join(lines))

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
        if found["line"] is None:  # a setting, whose keys a dot separates
            path = self.host[found["file"]]
            content = (yaml.safe_load(path.read_text()) if path.exists() else None) or {}
            key, _, value = found["item"].partition(": ")
            *above, last = key.split(".")
            inside = content
            for name in above:
                inside = inside.setdefault(name, {})
            inside[last] = yaml.safe_load(value)
            self.host.write(found["file"], yaml.safe_dump(content), 0o600)
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
        lines = path.read_text().splitlines() if path.exists() else []
        if found["new"] not in lines:
            lines.insert(int(found["line"] or len(lines)), found["new"])
        self.host.write(found["file"], "".join(f"{line}\n" for line in lines), 0o600)


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
