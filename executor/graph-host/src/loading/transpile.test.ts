import assert from "node:assert/strict";
import { test } from "node:test";
import { SourceError, transpiled } from "./transpile.js";

test("types go, lines stay", () => {
  const { format, source } = transpiled("interface A {\n  a: number;\n}\nexport const b = 1 as number;\n", "/p/a.ts", true);
  assert.equal(format, "module");
  assert.equal(source.split("\n").findIndex((line) => line.includes("export const b")), 3);
});

test("enums, members made by parameters, and satisfies are executed", async () => {
  const source = "enum E { A = 'a' }\nclass C { constructor(readonly x: E) {} }\nexport const c = new C(E.A) satisfies C;";
  const made = transpiled(source, "/p/a.ts", true).source;
  const { c } = (await import(`data:text/javascript,${encodeURIComponent(made)}`)) as { c: { x: string } };
  assert.equal(c.x, "a");
});

test("the end of a name and package.json choose the kind of module", () => {
  assert.equal(transpiled("export const a = 1;", "/p/a.cts", true).format, "commonjs");
  assert.equal(transpiled("export const a = 1;", "/p/a.mts", false).format, "module");
  assert.equal(transpiled("export const a = 1;", "/p/a.ts", false).format, "module");
  assert.equal(transpiled("module.exports = 1;", "/p/a.ts", false).format, "commonjs");
});

test("a module of a package of CommonJS has its names", () => {
  const { source } = transpiled("export const a = __dirname;", "/p/a.ts", false);
  assert.match(source, /const __dirname = import\.meta\.dirname;/);
  assert.doesNotMatch(transpiled("export const a = __dirname;", "/p/a.ts", true).source, /import\.meta/);
});

test("a fault is said with its line", () => {
  assert.throws(
    () => transpiled("const a = 1;\nconst = 2;", "/p/a.ts", true),
    (error) => error instanceof SourceError && error.line === 2 && error.file === "/p/a.ts",
  );
});
