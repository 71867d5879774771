"""Texts that users and operators read keep to plain English: phrases of an old dialect, each with what to write instead."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Collection, Iterator
from pathlib import Path

import click
import pytest
from langlog.main import cli
from langlog_gateway.openapi.document import WORDS
from langlog_gateway.openapi.operations import OPERATIONS

from tests.stack.syntax import parsed

ROOT = Path(__file__).parents[2]

INSTEAD = {
    r"(?<!there )\bis none\b": "does not exist, or is not a …",
    r"\bsuch a one\b": "such a …, by its name",
    r"\bfor ever\b": "permanently, or without limit",
    r"\bcomes? of (it|that|this|what)\b": "results from …",
    r"\b(is|are|was|were) told\b": "receives, is notified, must …: by the verb of what happens",
    r"\bto be told\b": "to be sent, or reported",
    r"\btells? (of|what|which|whether|when|apart)\b": "reports, shows, distinguishes",
    r"\b(hears?|heard) of\b": "learns of, receives, is notified of",
    r"\b(cannot|not to) be had\b": "is not available, or cannot bind …",
    r"\bwhoever\b": "the caller, the operator, …: name the actor",
    r"(?<![\w`] )\bWho (?!(is|are|was|were|may|can|does|holds)\b)[a-z]+s?\b(?![^.\n]*\?)": "the caller, the client, …: name the actor",
    r"\b(is asked of|asked of)\b": "the request to, or a query",
    r"\bsays so no more\b": "no longer reports",
    r"\bgoes another way\b": "diverges",
    r"\bas asked\b": "as requested",
    r"\bis not as it must be\b": "is not valid",
    r"\blet(s|ting)? go of\b": "deletes, or releases",
    r"\bstands? in for\b": "replaces",
    r"\btak(e|es|en) (it |that |this |them )?for a\b": "reads as, or counts as",
    r"\bmended?\b": "fixed, or repaired",
    r"\b(says?|said) so\b": "reports it, logs it, refuses",
    r"\bsays? why\b": "gives the reason, or explains",
    r"\b(is|are|was|were) said\b": "is reported, or logged",
    r"\bunless (it is )?told\b": "unless configured",
    r"\btells? (those|it|the same|less)\b": "notifies, returns, reports",
    r"\bhears? (it|that|them)\b": "receives, is notified",
    r"\basks? (Postgres|Redis|the log|another)\b": "queries, probes, requests",
    r"\basked (for|over)\b": "requested, called",
    r"\b(log|read model|start|line|report|worker|service|process|event|gateway|projector|decider|scheduler|command|handler)s? "
    r"(says?|said|tells?|told|asks?|asked|hears?|heard)\b": "reports, logs, has, requests, receives: the verb of what it does",
}
"""Pattern -> better words (docs/reference/glossary.md has the terms). Those with a capital letter match as they are written."""

OPENINGS = {
    r"(What|Which)\b": "a noun phrase for a value (Maximum size of …, in bytes), a verb for a function (Return the …)",
    r"Where\b": "Path of …, Position of …, Return the …",
    r"(Who|Whom|Whose|Whoever)\b": "the actor: Callers that …, Permission to …",
}
"""First words of a docstring or comment -> what to write instead. A question (with ``?`` in its first sentence) is fine."""

IN_CODE = {
    r"(?<!`)\b[Ss]omebody\b": "a client, an operator, another process: name the actor",
    r"(?<!`)\b[Nn]obody\b": "no client, no process, or without …",
    r"\b(says?|said) so\b": "reports it, logs it, refuses",
    r"\bas it stands\b": "unchanged",
    r"\b(is|are) away\b": "is unavailable",
    r"\bfor company\b": "until more have arrived",
}
"""Phrases in docstrings and comments -> what to write instead."""

SUSPECT = re.compile("|".join([rf"#[-\s]*{opening}" for opening in OPENINGS] + [rf"#.*{phrase}" for phrase in IN_CODE]))
"""Lines of code whose comment may be unclear."""

NAMES = {
    "tell tells told telling": "notify, send, report",
    "say says said": "write, print, log, report",
    "ask asks asked asking asker": "query, request, check",
    "found": "the name of what was found",
    "lane lanes": "partition",
    "heard hears": "received",
    "bury buried burial burials": "publish a dead letter, close an abandoned producer",
    "untold": "orphaned",
    "complaint complaints": "log record",
    "happening happenings": "update",
}
"""Words in names of modules, classes, functions, parameters and variables -> the field's terms."""

NOT_FOUND = re.compile(r"(?i)not_?found|none_found")
"""The name of HTTP's 404 is its own."""

SOURCES = [
    path
    for top in ("schemas", "projector", "scheduler", "executor", "backbone", "cli", "gateway", "bench", "docs")
    for path in sorted((ROOT / top).glob("**/*.py"))
]

STATEMENTS = [path for package in {path.parent for path in SOURCES} for path in sorted(package.glob("sql/*.sql"))]

TESTS = sorted((ROOT / "tests").glob("**/*.py"))
RETIRED = ("tell tells told telling", "lane lanes", "untold", "complaint complaints")
"""Entries of `NAMES` that apply to tests as well."""

PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("**/*.md"))]


def dialect(text: str) -> list[str]:
    """Return what to write instead, for each phrase of the dialect. Names of tests are left out."""
    prose = " ".join(re.sub(r"\[`test_\w+`\]\([^)]*\)", "", text).split())
    return [
        f"{match.group(0)!r}: write {instead!r}"
        for pattern, instead in INSTEAD.items()
        for match in re.finditer(pattern, prose, 0 if "Who" in pattern else re.IGNORECASE)
    ]


def docstrings(tree: ast.AST) -> str:
    """The docstrings of modules, classes and functions, and the strings under members and constants."""
    return "\n".join(
        node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )


def comments(source: str) -> Iterator[tuple[int, str]]:
    """Last line and text of each block of comments. Empty without tokenizing if no comment can be unclear."""
    if not any(SUSPECT.search(line) for line in source.splitlines() if "#" in line):
        return
    block: list[str] = []
    last = -1
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if token.start[0] != last + 1 and block:
                yield last, " ".join(block)
                block = []
            block.append(token.string.lstrip("#- "))
            last = token.start[0]
    if block:
        yield last, " ".join(block)


def prose(source: str, tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Line and text of each docstring and of each block of comments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, " ".join(node.value.value.split())
    yield from comments(source)


def unclear(source: str, tree: ast.AST, phrases: dict[str, str]) -> list[str]:
    """One line for each docstring or comment that begins without an actor or a noun, or holds one of the phrases."""
    wrong = []
    for line, text in prose(source, tree):
        first = re.split(r"[.:;] ", text, maxsplit=1)[0]
        for opening, instead in OPENINGS.items():
            if re.match(opening, text) and "?" not in first:
                wrong.append(f"line {line}: {text[:60]!r}: write {instead!r}")
        for phrase, instead in phrases.items():
            if (match := re.search(phrase, text)) is not None:
                wrong.append(f"line {line}: {match[0]!r}: write {instead!r}")
    return wrong


def names(tree: ast.AST) -> set[str]:
    """All names that a module binds."""
    bound: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.arg(arg=name):
                bound.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                bound.add(name)
    return bound


def words(name: str) -> set[str]:
    """``KeptFrames`` and ``kept_frames``: kept, frames."""
    return set(re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower().split("_"))


def misnamed(bound: Collection[str], terms: Collection[str] = tuple(NAMES)) -> list[str]:
    return [
        f"{name}: {NAMES[of]}"
        for name in sorted(bound)
        for of in terms
        if words(NOT_FOUND.sub("", name)) & set(of.split())
    ]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_the_words_of_its_field(source: Path) -> None:
    text = source.read_text()
    tree = parsed(text)
    assert dialect(docstrings(tree)) == []
    assert unclear(text, tree, IN_CODE) == []
    assert misnamed({source.stem, *names(tree)}) == []


def test_tests_bind_no_retired_name() -> None:
    wrong = {
        str(source.relative_to(ROOT)): misnamed(
            {x for x in names(parsed(source.read_text())) if "test_" not in x}, RETIRED
        )
        for source in TESTS
    }
    assert {source: bound for source, bound in wrong.items() if bound} == {}


def test_docstrings_and_comments_of_tests_begin_with_a_noun_or_a_verb() -> None:
    texts = {source: source.read_text() for source in TESTS}
    wrong = {str(source.relative_to(ROOT)): unclear(text, parsed(text), {}) for source, text in texts.items()}
    assert {source: lines for source, lines in wrong.items() if lines} == {}


def test_comments_of_statements_begin_with_a_noun_or_a_verb() -> None:
    wrong = {
        f"{path.relative_to(ROOT)}:{number}": line
        for path in STATEMENTS
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for opening in OPENINGS
        if re.match(rf"-- {opening}", line)
    }
    assert wrong == {}


def test_an_unclear_docstring_is_noticed() -> None:
    source = (
        '"""What a worker says."""\nA = 1  # Where it is kept\n\n# How long it lasts\n"""Who goes there? A riddle."""\n'
    )
    assert [line[:7] for line in unclear(source, ast.parse(source), {})] == ["line 1:", "line 2:"]
    assert unclear("# nobody waits for it", ast.parse(""), IN_CODE)


def test_the_dialect_is_noticed() -> None:
    assert dialect("Who waits is told of it. A `Who` in code, or: Who is that? is fine.")
    assert dialect("The cause is mended") and not dialect("It recommends nothing.")
    assert misnamed({"found", "_tell_end", "askedFirst", "Lane"}) and not misnamed(
        {"not_found", "NotFound", "task", "essay"}
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_is_in_plain_english(page: Path) -> None:
    assert dialect(page.read_text()) == []


def test_the_openapi_document_is_in_plain_english() -> None:
    assert dialect("\n".join(WORDS.values())) == []
    assert dialect("\n".join(operation.summary for operation in OPERATIONS.values())) == []


def commands(command: click.Command, name: str) -> list[tuple[str, click.Command]]:
    inner = command.commands.items() if isinstance(command, click.Group) else ()
    return [(name, command), *(pair for n, c in inner for pair in commands(c, f"{name} {n}"))]


@pytest.mark.parametrize(
    ("name", "command"), commands(cli, "langlog"), ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_help_of_a_command_is_in_plain_english(name: str, command: click.Command) -> None:
    with click.Context(command, info_name=name) as context:
        assert dialect(command.get_help(context)) == []
