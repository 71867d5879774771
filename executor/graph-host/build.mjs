// Bundles the graph host into one file that needs nothing beside Node: `node build.mjs [--out FILE]`. `--tests` bundles the unit tests
// into .tests/ instead. The project's own packages (`@langchain/*`, `typescript`) are never part of it.
import { mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, "src");
export const DEFAULT_OUT = resolve(here, "../langlog_executor/graph_host/static/host.mjs");
const FORMAT = {
  bundle: true,
  format: "esm",
  platform: "node",
  target: ["node20"],
  absWorkingDir: here,
  mainFields: ["module", "main"],
  legalComments: "none",
  logLevel: "silent",
  // packages in CommonJS that ask for Node's own modules
  banner: { js: 'import { createRequire as langlogCreateRequire } from "node:module"; const require = langlogCreateRequire(import.meta.url);' },
};

export async function buildHost(out = DEFAULT_OUT) {
  mkdirSync(dirname(out), { recursive: true });
  const fresh = `${out}.new`;
  await esbuild.build({ ...FORMAT, entryPoints: [join(source, "main.ts")], outfile: fresh, minifySyntax: true });
  renameSync(fresh, out);
}

async function buildTests() {
  const out = join(here, ".tests");
  rmSync(out, { recursive: true, force: true });
  const tests = readdirSync(source, { recursive: true })
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => join(source, name));
  await esbuild.build({ ...FORMAT, entryPoints: tests, outdir: out, outbase: source, outExtension: { ".js": ".mjs" }, sourcemap: "inline" });
  return tests.length;
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf("--out");
  try {
    if (process.argv.includes("--tests")) {
      console.log(`${await buildTests()} test files bundled`);
    } else {
      const out = at < 0 ? DEFAULT_OUT : resolve(process.argv[at + 1]);
      await buildHost(out);
      console.log(`graph host built into ${relative(process.cwd(), out)}`);
    }
  } catch (error) {
    if (error.errors === undefined) throw error;
    console.error((await esbuild.formatMessages(error.errors, { kind: "error" })).join("\n"));
    process.exit(1);
  }
}
