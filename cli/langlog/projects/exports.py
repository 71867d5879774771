"""Names that a JavaScript or TypeScript module exports, as far as its text shows them. Nothing is executed.

The text is searched, not parsed: what is not understood counts as any name, so that no sound project is refused. ECMA-262, Exports.
"""

from __future__ import annotations

import re

_NAME = r"[^\W\d][\w$]*|\$[\w$]*"
_EXPORT = re.compile(r"(?<![\w$.])export(?![\w$])")
_DECLARED = re.compile(
    rf"\s+(?:declare\s+|abstract\s+|async\s+)*(?:const\s+enum|const|let|var|function\s*\*?|class|enum|namespace)\s+({_NAME})"
)
_TYPE = re.compile(rf"\s+(?:declare\s+)?(?:type|interface)\s+(?:{_NAME})")
_DEFAULT = re.compile(r"\s+default(?![\w$])")
_LIST = re.compile(r"\s*\{([^{}]*)\}")
_LISTED = re.compile(rf"(?:type\s+)?(?:{_NAME})(?:\s+as\s+({_NAME}))?\Z")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_COMMON_JS = re.compile(
    r"(?<![\w$.])(?:module\s*\.\s*exports|exports\s*[.\[]|Object\s*\.\s*defineProperty\s*\(\s*exports)"
)


def exported_names(text: str) -> set[str] | None:
    """Return the exported names; None if the text may export names that it does not show: ``export *``, patterns, CommonJS."""
    if _COMMON_JS.search(text):
        return None
    names: set[str] = set()
    for export in _EXPORT.finditer(text):
        rest = text[export.end() : export.end() + _SHOWN]
        if (declared := _DECLARED.match(rest)) is not None:
            names.add(declared[1])
        elif _DEFAULT.match(rest):
            names.add("default")
        elif (listed := _LIST.match(rest)) is not None:
            for each in _COMMENT.sub("", listed[1]).split(","):
                if not (member := each.strip()):
                    continue
                match = _LISTED.match(member)
                if match is None:
                    return None
                names.add(match[1] or member.split()[-1])
        elif not _TYPE.match(rest):
            return None
    return names


_SHOWN = 20_000
"""Number of characters of an export that are searched."""
