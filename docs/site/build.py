"""Build the documentation as a web site: ``python docs/site/build.py``; a warning is an error.

The pages are the Markdown files of ``docs/``, copied, and the reference that is made here from the
``.proto`` files and from the command line itself. The site is in ``build/docs/html``.
"""

import re
import shutil
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

SITE = Path(__file__).resolve().parent
DOCS = SITE.parent
ROOT = DOCS.parent
TARGET = ROOT / "build" / "docs"

sys.path.insert(0, str(SITE))

import reference_api  # noqa: E402 - beside this file, which is no package
import reference_cli  # noqa: E402

_UNKNOWN = "```mermaid"
"""The site has no script that draws it; its text is easily read."""
_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)[^)\s]+)\)")
_SECTIONS = (
    ("Learn", ("tutorial",), ()),
    ("How to", (), ("how-to/*",)),
    ("Reference", ("reference/python",), ("reference/api/*", "reference/cli/*")),
    ("Decisions", (), ("decisions/*",)),
)
_PYTHON = """\
# Python client

The ideas are in [the smart client](../client.md); this is every name of it.

## `mulligan.client`

```{eval-rst}
.. autoclass:: mulligan.client.client.Client
```

## Several regions

```{eval-rst}
.. autoclass:: mulligan.client.regions.Regions
.. autoclass:: mulligan.client.preferring.Preference
.. automodule:: mulligan.client.placing
.. automodule:: mulligan.client.sharing
```

## Contexts

```{eval-rst}
.. automodule:: mulligan.client.context
```

## Lists longer than a page

```{eval-rst}
.. automodule:: mulligan.client.paging
```

## Names

```{eval-rst}
.. autoclass:: mulligan.client.names.Names
```

## Errors

```{eval-rst}
.. automodule:: mulligan.errors
```
"""


def main() -> int:
    """Build the site; return 0 when it is built without a warning."""
    source, html = TARGET / "source", TARGET / "html"
    shutil.rmtree(TARGET, ignore_errors=True)
    shutil.copytree(DOCS, source, ignore=shutil.ignore_patterns("site", "tour", "__pycache__"))
    shutil.copy(SITE / "conf.py", source)
    for page in source.rglob("*.md"):
        text = page.read_text().replace(_UNKNOWN, "```text")
        page.write_text(inward(text, page, source))
    reference = source / "reference"
    reference_api.write(ROOT / "proto", reference / "api")
    reference_cli.write(reference / "cli")
    (reference / "python.md").write_text(_PYTHON)
    (source / "README.md").rename(source / "index.md")
    (source / "index.md").write_text((source / "index.md").read_text() + contents(source))
    for page in source.rglob("*.md"):
        page.write_text(page.read_text().replace("README.md", "index.md"))
    code = build_main(["-W", "--keep-going", "-q", "-j", "2", str(source), str(html)])
    if code == 0:
        sys.stdout.write(f"{html}/index.html\n")
    return code


def inward(text: str, page: Path, source: Path) -> str:
    """Return a page whose links to files beyond ``docs/`` are their paths, as text."""

    def shown(link: re.Match[str]) -> str:
        path, _, _ = link[2].partition("#")
        target = (page.parent / path).resolve()
        if target.is_relative_to(source):
            return link[0]
        within = target.relative_to(TARGET)
        return f"{link[1]} (`{within}` of the source)"

    return _LINK.sub(shown, text)


def contents(source: Path) -> str:
    """Return the tables of contents, which only the site's menu shows."""
    taken = {"index"} | {name for _, names, _ in _SECTIONS for name in names}
    rest = sorted(page.stem for page in source.glob("*.md") if page.stem not in taken)
    sections = [*_SECTIONS[:2], ("Explanation", tuple(rest), ()), *_SECTIONS[2:]]
    tables = []
    for caption, names, patterns in sections:
        entries = "\n".join((*names, *patterns))
        tables.append(
            f"```{{toctree}}\n:hidden:\n:glob:\n:maxdepth: 1\n:caption: {caption}\n\n{entries}\n```"
        )
    return "\n" + "\n\n".join(tables) + "\n"


if __name__ == "__main__":
    sys.exit(main())
