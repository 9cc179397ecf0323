"""The sentence of the READMEs that says where release files lie: [project.urls] in pyproject.toml has the URL.

As long as the project has no such URL, a checkout is the only source.
"""

from __future__ import annotations

import re

_BEGIN, _END = "<!-- releases -->\n", "<!-- end of releases -->\n"
_SENTENCES = {
    "README.md": (
        """\
Other hosts need only Python 3.9 or newer and the release file, which `make release KEY=FINGERPRINT` builds and signs in
`dist/` (`make dist` does not sign: leave out `gpgv`):
""",
        "Other hosts need only Python 3.9 or newer and the release file from [the releases]({}):\n",
    ),
    "README.zh.md": (
        """\
其他主机只需要 Python 3.9 或更新版本和发布文件；`make release KEY=FINGERPRINT` 将其生成到 `dist/` 下并签名
（`make dist` 不签名：省略 `gpgv`）：
""",
        "其他主机只需要 Python 3.9 或更新版本和[发布页面]({})上的发布文件：\n",
    ),
}


def releases_url(pyproject: str) -> str:
    urls = pyproject.partition("\n[project.urls]\n")[2].partition("\n[")[0]
    found = re.search(r'^Releases = "(\S+)"$', urls, re.MULTILINE)
    return found[1] if found else ""


def with_releases(readme: str, text: str, url: str) -> str:
    without, published = _SENTENCES[readme]
    before, _, rest = text.partition(_BEGIN)
    return before + _BEGIN + (published.format(url) if url else without) + _END + rest.partition(_END)[2]
