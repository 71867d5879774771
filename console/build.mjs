// Builds the console into a folder: hashed names, code splitting, brotli and gzip beside each file. `node build.mjs [--out FOLDER]`;
// `--tests` bundles the unit tests into .tests/ instead; `--watch` builds again whenever a source changes (see dev.mjs).
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import * as esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, "src");
export const DEFAULT_OUT = resolve(here, "../gateway/langlog_gateway/console/static");
const COMPRESSED_FROM = 512; // bytes: below it a header costs more than is saved
const FORMAT = { bundle: true, format: "esm", target: ["es2022"], jsx: "automatic", jsxImportSource: "preact", logLevel: "silent" };

/** All files below a folder whose names match. */
function files(folder, pattern) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && pattern.test(entry.name))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

/** `console:pages` is the list of all pages, `console:styles` all style sheets: a new page needs no change of any other file. */
const found = {
  name: "found",
  setup(build) {
    build.onResolve({ filter: /^console:(pages|styles)$/ }, ({ path }) => ({ path, namespace: "found" }));
    build.onLoad({ filter: /.*/, namespace: "found" }, ({ path }) => {
      if (path === "console:pages") {
        const pages = files(join(source, "pages"), /^page\.ts$/);
        const lines = pages.map((page, n) => `import page${n} from ${JSON.stringify(page)};`);
        return { contents: `${lines.join("\n")}\nexport default [${pages.map((_, n) => `page${n}`).join(", ")}];`, loader: "ts", resolveDir: here, watchFiles: pages, watchDirs: [join(source, "pages")] };
      }
      const order = (sheet) => (sheet.includes("/styles/") ? (sheet.endsWith("tokens.css") ? 0 : 1) : sheet.includes("/pages/") ? 3 : 2);
      const sheets = files(source, /\.css$/).sort((a, b) => order(a) - order(b));
      return { contents: sheets.map((sheet) => `import ${JSON.stringify(sheet)};`).join("\n"), loader: "js", resolveDir: here, watchFiles: sheets };
    });
  },
};

function options(out, minify) {
  return {
    ...FORMAT,
    absWorkingDir: here,
    entryPoints: { main: join(source, "main.tsx"), theme: join(source, "theme.ts") },
    entryNames: "[name]-[hash]",
    chunkNames: "chunk-[hash]",
    assetNames: "[name]-[hash]",
    splitting: true,
    minify,
    metafile: true,
    outdir: out,
    legalComments: "none",
    loader: { ".svg": "file" },
    define: { "process.env.NODE_ENV": '"production"' },
    plugins: [found],
  };
}

/** Writes index.html, manifest.json and the compressed files of a build. Returns the manifest. */
function finish(out, metafile) {
  const outputs = Object.entries(metafile.outputs).map(([path, output]) => ({ name: basename(path), ...output }));
  const byName = new Map(outputs.map((output) => [output.name, output]));
  const entry = (name, ending) => outputs.find((output) => output.name.startsWith(`${name}-`) && output.name.endsWith(ending)).name;
  const [main, styles, theme] = [entry("main", ".js"), entry("main", ".css"), entry("theme", ".js")];
  const first = new Set([main, styles, theme]);
  const follow = (name) => {
    for (const { path, kind } of byName.get(name).imports) {
      const next = basename(path);
      if (kind === "import-statement" && byName.has(next) && !first.has(next)) {
        first.add(next);
        follow(next);
      }
    }
  };
  follow(main);
  // the view that an empty address leads to is loaded with the frame
  const start = outputs.find((output) => output.entryPoint?.endsWith("pages/threads/view.tsx"))?.name;
  if (start !== undefined && !first.has(start)) {
    first.add(start);
    follow(start);
  }
  const icon = readFileSync(join(source, "icon.svg"));
  const iconName = `icon-${createHash("sha256").update(icon).digest("hex").slice(0, 8).toUpperCase()}.svg`;
  writeFileSync(join(out, iconName), icon);
  const preloads = [...first].filter((name) => name.endsWith(".js") && name !== main && name !== theme);
  const page = readFileSync(join(here, "index.html"), "utf8")
    .replace("%theme%", theme)
    .replace("%styles%", styles)
    .replace("%main%", main)
    .replace("%icon%", iconName)
    .replace("%preloads%", preloads.map((name) => `<link rel="modulepreload" href="${name}">`).join("\n    "));
  writeFileSync(join(out, "index.html"), page);
  const sizes = {};
  for (const name of readdirSync(out).sort()) {
    const body = readFileSync(join(out, name));
    const gz = gzipSync(body, { level: 9 });
    sizes[name] = { bytes: body.length, gzipped: gz.length };
    if (name === "index.html" || body.length < COMPRESSED_FROM) continue;
    writeFileSync(join(out, `${name}.gz`), gz);
    writeFileSync(join(out, `${name}.br`), brotliCompressSync(body, { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }));
  }
  const firstView = [...first, "index.html"].reduce((sum, name) => sum + sizes[name].gzipped, 0);
  const manifest = { first: [...first].sort(), first_view_gzipped_bytes: firstView, files: sizes };
  writeFileSync(join(out, "manifest.json"), JSON.stringify(manifest, null, 1));
  return manifest;
}

/** One build into `out`, which is replaced as a whole once the build has succeeded. */
export async function buildConsole(out = DEFAULT_OUT, { minify = true } = {}) {
  const fresh = `${out}.new`;
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { recursive: true });
  const { metafile } = await esbuild.build(options(fresh, minify));
  const manifest = finish(fresh, metafile);
  rmSync(out, { recursive: true, force: true });
  renameSync(fresh, out);
  return manifest;
}

async function buildTests() {
  const out = join(here, ".tests");
  rmSync(out, { recursive: true, force: true });
  const tests = files(source, /\.test\.tsx?$/);
  await esbuild.build({ ...FORMAT, absWorkingDir: here, entryPoints: tests, outdir: out, outbase: source, platform: "node", external: ["node:*"], outExtension: { ".js": ".mjs" }, sourcemap: "inline" });
  return tests.length;
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  const at = process.argv.indexOf("--out");
  try {
    if (process.argv.includes("--tests")) {
      console.log(`${await buildTests()} test files bundled`);
    } else {
      const out = at < 0 ? DEFAULT_OUT : resolve(process.argv[at + 1]);
      const manifest = await buildConsole(out);
      console.log(`console built into ${relative(process.cwd(), out) || "."}: first view ${(manifest.first_view_gzipped_bytes / 1000).toFixed(1)} kB gzipped`);
    }
  } catch (error) {
    if (error.errors === undefined) throw error;
    console.error((await esbuild.formatMessages(error.errors, { kind: "error" })).join("\n"));
    process.exit(1);
  }
}
