"""The same work by pyinfra, which runs this file in its own environment. `work.json` (work.py) is its input."""

import json
from pathlib import Path

from pyinfra import host  # type: ignore[import-not-found]
from pyinfra.operations import files  # type: ignore[import-not-found]

work = json.loads(Path(host.data.work).read_text(encoding="utf-8"))

for path in work["directories"]:
    files.directory(path=f"{work['root']}/{path}", mode="700")
for file in work["files"]:
    files.put(src=f"{work['source']}/{file['path']}", dest=f"{work['root']}/{file['path']}", mode=file["mode"])
