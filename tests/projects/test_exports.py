"""Exports of a JavaScript or TypeScript module, read from its text."""

from __future__ import annotations

import pytest
from langlog.projects.exports import exported_names

LIMIT_S = 60.0
HOSTILE = {"many exports": "export const " * 700_000, "comments without an end": "export {" + "/* " * 400_000 + "}"}
"""Texts that would take minutes and an hour if all that follows an export were searched, not `_SHOWN` characters of it."""


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("export const graph = builder.compile();", {"graph"}),
        ("export let a = 1; export var b = 2", {"a", "b"}),
        ("export function make(config: X) {}", {"make"}),
        ("export async function make() {}\nexport function* steps() {}", {"make", "steps"}),
        ("export class Agent {}\nexport abstract class $Base {}", {"Agent", "$Base"}),
        ("export enum A {}\nexport const enum B {}\nexport declare const c: number", {"A", "B", "c"}),
        ("export default builder.compile();", {"default"}),
        ("export { graph, other as second, type T, };", {"graph", "second", "T"}),
        ("export { default as graph } from './x.js'", {"graph"}),
        ("export {\n  // the graph\n  graph, /* b, */\n}", {"graph"}),
        ("export type T = string;\nexport interface I {}\nexport const graph = 1", {"graph"}),
        ("const graph = 1;", set()),
        ("import { exported } from 'x'; x.export; my_export = 1", set()),
        ("export * from './x.js'", None),
        ("export const { graph, other } = make();", None),
        ("module.exports = { graph }", None),
        ("exports.graph = 1", None),
        ("// we export what is made below\nexport const graph = 1", None),
        ("export", None),
        ("", set()),
    ],
)
def test_the_exports_of_a_module(text: str, names: set[str] | None) -> None:
    assert exported_names(text) == names


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.timeout(LIMIT_S)
def test_a_hostile_module_is_read_in_linear_time(kind: str) -> None:
    """It ends at all."""
    assert exported_names(HOSTILE[kind]) is None
