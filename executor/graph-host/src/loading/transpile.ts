/**
 * TypeScript and JSX made into JavaScript, line for line, so that errors name the lines of the source.
 *
 * By sucrase, which is part of this file and the same on every machine. What it does not know (decorators, namespaces with values) is
 * left to the project's own `typescript`, or else its `esbuild`.
 */
import { createRequire } from "node:module";
import { extname } from "node:path";
import { transform, type Transform } from "sucrase";
import { compilerOptions } from "./tsconfig.js";

export const TYPESCRIPT = new Set([".ts", ".tsx", ".mts", ".cts"]);
const TRANSPILED = new Set([...TYPESCRIPT, ".jsx"]);

export interface Module {
  format: "module" | "commonjs";
  source: string;
}

/** A source that cannot be made into JavaScript; `line` where that is known. */
export class SourceError extends Error {
  override name = "SyntaxError";
  constructor(
    message: string,
    readonly file: string,
    readonly line: number | null,
  ) {
    super(message);
    // as the engine's own syntax errors name their place; the stack is all that comes over from the hooks' thread
    this.stack = `${file}:${line ?? 1}\n${this.name}: ${message}`;
  }
}

export function isTranspiled(file: string): boolean {
  return TRANSPILED.has(extname(file)) && !file.includes("/node_modules/");
}

const BEYOND_SUCRASE = /^\s*(@[A-Za-z_$][\w$.]*[\s(]|(export\s+)?(declare\s+)?namespace\s+[\w$.]+\s*\{)/m;
const HAS_MODULE_SYNTAX = /^\s*(import\s*[\w{*"'(]|export\s*[\w{*])/m;
const NAMES_OF_COMMONJS = /\b(__dirname|__filename|require)\b/;

/** Whether the source imports or exports as a module does; one of CommonJS uses `require`. */
export function hasModuleSyntax(source: string): boolean {
  return HAS_MODULE_SYNTAX.test(source);
}

/** `inModulePackage`: the nearest package.json says `"type": "module"`. `required`: by `require`. Throws SourceError. */
export function transpiled(source: string, file: string, inModulePackage: boolean, required = false): Module {
  const extension = extname(file);
  const asModule = !required && (extension === ".mts" || (extension !== ".cts" && (inModulePackage || HAS_MODULE_SYNTAX.test(source))));
  const format = asModule ? "module" : "commonjs";
  const beyond = BEYOND_SUCRASE.test(source) ? byProject(source, file, format) : null;
  let code = beyond ?? bySucrase(source, file, format);
  if (asModule && !inModulePackage && extension !== ".mts" && NAMES_OF_COMMONJS.test(source)) {
    // a compiler to CommonJS would have them
    const declared = (name: string): boolean => new RegExp(`\\b(const|let|var|function|import)\\s+\\{?\\s*${name}\\b`).test(source);
    const given = [
      ["__dirname", "import.meta.dirname"],
      ["__filename", "import.meta.filename"],
      ["require", 'process.getBuiltinModule ? process.getBuiltinModule("module").createRequire(import.meta.url) : undefined'],
    ].filter(([name]) => !declared(name!));
    code = `${given.map(([name, value]) => `const ${name} = ${value};`).join(" ")} ${code}`;
  }
  return { format, source: code };
}

function bySucrase(source: string, file: string, format: Module["format"]): string {
  const extension = extname(file);
  const transforms: Transform[] = extension === ".jsx" ? [] : ["typescript"];
  if (extension === ".tsx" || extension === ".jsx") transforms.push("jsx");
  if (format === "commonjs") transforms.push("imports");
  try {
    return transform(source, {
      transforms,
      disableESTransforms: true,
      preserveDynamicImport: true,
      injectCreateRequireForImportRequire: format === "module",
      jsxRuntime: "automatic",
      production: true,
      filePath: file,
    }).code;
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const place = /\((\d+):(\d+)\)/.exec(message);
    const what = message.replace(/^Error transforming [^:]*: /, "").replace(/ \(\d+:\d+\)$/, "");
    throw new SourceError(what, file, place === null ? null : Number(place[1]));
  }
}

interface TypeScript {
  transpileModule?(source: string, options: object): { outputText: string };
}
interface Esbuild {
  transformSync?(source: string, options: object): { code: string };
}

/** By a compiler that the project has; null without one. */
function byProject(source: string, file: string, format: Module["format"]): string | null {
  const require = createRequire(file);
  const options = compilerOptions(file);
  const typescript = optional<TypeScript>(require, "typescript");
  if (typescript?.transpileModule !== undefined) {
    const compiled = typescript.transpileModule(source, {
      fileName: file,
      compilerOptions: {
        ...options,
        target: "ES2022",
        module: format === "module" ? "ESNext" : "CommonJS",
        moduleResolution: undefined,
        sourceMap: false,
        inlineSourceMap: true,
        inlineSources: true,
        declaration: false,
        noEmit: false,
        verbatimModuleSyntax: false,
      },
    });
    return compiled.outputText;
  }
  const esbuild = optional<Esbuild>(require, "esbuild");
  if (esbuild?.transformSync !== undefined) {
    const loader = extname(file) === ".tsx" ? "tsx" : "ts";
    return esbuild.transformSync(source, {
      loader,
      format: format === "module" ? "esm" : "cjs",
      target: "node20",
      sourcefile: file,
      sourcemap: "inline",
      tsconfigRaw: { compilerOptions: options },
    }).code;
  }
  return null;
}

function optional<T>(require: NodeJS.Require, name: string): T | undefined {
  try {
    return require(name) as T;
  } catch {
    return undefined;
  }
}
