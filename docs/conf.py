"""Configuration of the site of the documents, for `make site`, which runs Sphinx."""

import re
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]

CONTENTS = ("docs/README.md", "docs/howto/choose.md", "docs/adr/README.md")
"""Pages whose links are the contents of the site. A page that several of them link to belongs to the first."""

_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)
_PAGE = re.compile(r"\]\((?!https?:)([^)#\s]+\.md)\b")

project = "k3s-harden"
_VERSIONED = Path(ROOT, "agent/__init__.py").read_text("utf-8")
version = release = re.findall(r'^__version__ = "(.+)"$', _VERSIONED, re.MULTILINE)[0]
extensions = ["myst_parser"]
root_doc = "README"
include_patterns = ["*.md", "docs/**.md", ".github/SECURITY.md"]
suppress_warnings = ["toc.not_included"]
myst_heading_anchors = 4
smartquotes = False  # it changes -- in commands
html_theme = "furo"
templates_path = ["_templates"]
# Furo's own, and the link to the sites of other versions, which .ci/publish-site writes beside this one.
_SIDEBARS = "brand search scroll-start navigation versions scroll-end"
html_sidebars = {"**": [f"sidebar/{name}.html" for name in _SIDEBARS.split()]}
html_title = f"{project} {version}"
html_show_sphinx = html_show_copyright = html_copy_source = False


def _add_contents(_: Sphinx, name: str, source: list[str]) -> None:
    """Add the contents that begin on a page, as hidden tables of contents."""
    listed = {f"/{root_doc}"}
    for page in CONTENTS:
        path = Path(ROOT, page)
        parent = root_doc if page == CONTENTS[0] else page.removesuffix(".md")
        title, *sections = _SECTION.split(path.read_text("utf-8"))
        for caption, text in zip(("", *sections[::2]), (title, *sections[1::2])):
            links = (Path(path.parent, link).resolve() for link in _PAGE.findall(text))
            pages = dict.fromkeys(f"/{link.relative_to(ROOT).with_suffix('')}" for link in links)
            new = [page for page in pages if page not in listed]
            listed.update(new)
            if new and name == parent:
                options = (":hidden:", f":caption: {caption}" if caption else ":titlesonly:")
                source[0] += "\n".join(("", "```{toctree}", *options, "", *new, "```", ""))


def setup(app: Sphinx) -> None:
    """Connect the function that adds the contents."""
    app.connect("source-read", _add_contents)
