"""The site of the documents in a real browser: contents, search, colors, narrow screens, and no other host."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.browser.chromium import Page, installed, opened

CHECKOUT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(sys.version_info < (3, 11), reason="Sphinx needs Python 3.11"),
]

RESULTS = "[...document.querySelectorAll('#search-results li a')].map((one) => one.textContent)"
FOUND = f"""
new Promise((done) => {{
  const has_ended = () => document.querySelector('#search-results .search-summary')?.textContent.includes("found");
  const look = () => has_ended() ? done({RESULTS}) : setTimeout(look, 100);
  look();
}})
"""
"""The titles of the results, after the search."""
WIDER = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
BACKGROUND = "getComputedStyle(document.body).backgroundColor"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of the site, which is built without a warning."""
    directory = tmp_path_factory.mktemp("site")
    environment = Path(sys.prefix).relative_to(CHECKOUT)
    subprocess.run(["make", f"VENV={environment}", "site", f"SITE={directory}"], cwd=CHECKOUT, check=True)
    (directory / "favicon.ico").touch()  # browsers ask for it
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(directory)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    program = installed()
    assert program
    with opened(program, tmp_path_factory.mktemp("chromium") / "profile") as found:
        yield found


@pytest.fixture(autouse=True)
def _no_other_host(page: Page, site: str) -> Iterator[None]:
    page.complaints.clear()
    yield
    assert page.complaints == []
    assert [url for url in page.requests if not url.startswith((site, "data:"))] == []


def test_each_document_is_in_the_contents(site: str, page: Page) -> None:
    page.look()
    page.show(f"{site}/index.html")
    listed = page.value("[...document.querySelectorAll('.sidebar-tree a')].map((one) => one.href)")
    documents = {path.relative_to(CHECKOUT).with_suffix(".html") for path in CHECKOUT.glob("docs/*/*.md")}
    missing = {path for path in documents if f"{site}/{path}" not in listed and path.parent.name != "adr"}
    assert missing == {path for path in missing if path.name == "README.html"}


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("gate-half-missing", "Findings"),
        ("sysctl precedence", "Precedence of sysctl files at boot"),
        ("SuccessExitStatus", "0015"),
        ("手动加固主机", "手动加固主机"),
    ],
)
def test_the_search_finds(words: str, title: str, site: str, page: Page) -> None:
    page.look()
    page.show(f"{site}/search.html?q={words}")
    assert any(title in found for found in page.value(FOUND))


def test_a_finding_has_an_anchor(site: str, page: Page) -> None:
    page.show(f"{site}/docs/reference/findings.html#gate-half-missing")
    assert page.value("document.querySelector(':target').textContent").strip().startswith("gate-half-missing")


@pytest.mark.parametrize("name", ["README", "docs/howto/k3s-blocked", "docs/reference/findings", "README.zh"])
def test_a_narrow_screen_does_not_scroll_sideways(name: str, site: str, page: Page) -> None:
    page.look(width=400)
    page.show(f"{site}/{name}.html")
    assert not page.value(WIDER)


def test_dark_follows_the_system(site: str, page: Page) -> None:
    backgrounds = []
    for scheme in ("light", "dark"):
        page.look(scheme=scheme)
        page.show(f"{site}/README.html")
        backgrounds.append(page.value(BACKGROUND))
    assert backgrounds[0] != backgrounds[1]
