"""Writes docs/reference/settings.md from the docstrings of `Settings`: python docs/settings_page.py (a test keeps it current)."""

import ast
import inspect
import itertools
from pathlib import Path

from langlog_backbone.process import environment, settings

PAGE = Path(__file__).parent / "reference" / "settings.md"

INTRO = """# Settings

Every setting is an environment variable; options of the `langlog` command win over them. Names that other LangGraph
servers use are the same here; langlog's own begin with `LANGLOG_`. A variable that holds a secret may be given as
`<VARIABLE>_FILE` instead: the path of a file (a Docker or Kubernetes secret) that holds the value; a line break at its end
is left out. A file that cannot be read, and a variable that is set beside its `_FILE`, stop the start. This page is generated from
`backbone/langlog_backbone/process/settings.py` by `python docs/settings_page.py`.

| variable | default | meaning |
| --- | --- | --- |
"""


def meanings() -> dict[str, str]:
    """Return field -> its docstring."""
    tree = ast.parse(inspect.getsource(settings.Settings))
    body = tree.body[0].body  # type: ignore[attr-defined]
    return {
        field.target.id: text.value.value
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }


def page() -> str:
    defaults, texts = settings.Settings(), meanings()
    rows = []
    for field, names in environment.VARIABLES.items():
        value = getattr(defaults, field)
        shown = (
            str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
        )
        meaning = texts[field].partition(": ")[2]
        meaning = " ".join(meaning.split()).replace("``", "`").replace("|", "\\|")
        if field in environment.SECRETS:
            names += tuple(name + environment.FILE_SUFFIX for name in names)
        rows.append(f"| {', '.join(f'`{x}`' for x in names)} | {f'`{shown}`' if shown else ''} | {meaning} |")
    return INTRO + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page())
