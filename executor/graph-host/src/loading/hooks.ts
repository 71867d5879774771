/**
 * How Node finds and reads the project's modules: TypeScript, imports without the end of a name or with `.js` for a `.ts`, `paths` of
 * tsconfig.json. What is in `node_modules` is Node's own affair.
 *
 * Where Node has hooks within the thread (22.15, 23.5) they are used; older ones run them in a thread of their own, which loads this file
 * once more: nothing here, and nothing that it imports, may do anything when it is loaded.
 */
import { readFileSync, statSync } from "node:fs";
import { dirname, extname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import * as nodeModule from "node:module";
import { hasModuleSyntax, isTranspiled, transpiled, TYPESCRIPT } from "./transpile.js";
import { mapped } from "./tsconfig.js";

/** Begins a specifier that is to be resolved as if another file imported it: `langlog-from:<encoded URL>:<specifier>`. */
const FROM = "langlog-from:";

export function importedFrom(file: string, specifier: string): Promise<unknown> {
  return import(`${FROM}${encodeURIComponent(pathToFileURL(file).href)}:${specifier}`);
}

interface Resolved {
  url: string;
  format?: string | null;
  shortCircuit?: boolean;
  importAttributes?: Record<string, string>;
}
interface Context {
  parentURL?: string;
  conditions?: string[];
  importAttributes?: Record<string, string>;
}
interface Loaded {
  format: string;
  source: string | Buffer | null;
  shortCircuit?: boolean;
}

const ENDS = [".ts", ".tsx", ".mts", ".cts", ".js", ".mjs", ".cjs", ".jsx", ".json"];
const TYPESCRIPT_OF: Record<string, string[]> = { ".js": [".ts", ".tsx"], ".jsx": [".tsx"], ".mjs": [".mts"], ".cjs": [".cts"] };

function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** The file that a path means, by the rules of TypeScript's resolution. */
function located(path: string, preferTypescript: boolean): string | null {
  const end = extname(path);
  const typescript = (TYPESCRIPT_OF[end] ?? []).map((each) => path.slice(0, -end.length) + each);
  const tried = preferTypescript ? [...typescript, path] : [path, ...typescript];
  return [...tried, ...ENDS.map((each) => path + each), ...ENDS.map((each) => join(path, `index${each}`))].find(isFile) ?? null;
}

/** The file that a specifier of the project's own code means; null: Node finds it. */
function ofProject(specifier: string, parentURL: string | undefined): string | null {
  if (parentURL === undefined || !parentURL.startsWith("file:")) return null;
  const parent = fileURLToPath(parentURL);
  if (parent.includes("/node_modules/")) return null;
  const fromTypescript = TYPESCRIPT.has(extname(parent));
  if (/^(\.{1,2}(\/|$)|\/|file:)/.test(specifier)) {
    const [bare] = specifier.split(/[?#]/, 1);
    const path = bare!.startsWith("file:") ? fileURLToPath(bare!) : fileURLToPath(new URL(bare!, parentURL));
    return isFile(path) && !fromTypescript ? null : located(path, fromTypescript);
  }
  if (!fromTypescript || specifier.startsWith("node:")) return null;
  for (const path of mapped(specifier, parent)) {
    const found = located(path, true);
    if (found !== null) return found;
  }
  return null;
}

function asked(specifier: string, context: Context): [string, Context] {
  if (!specifier.startsWith(FROM)) return [specifier, context];
  const rest = specifier.slice(FROM.length);
  const colon = rest.indexOf(":");
  return [rest.slice(colon + 1), { ...context, parentURL: decodeURIComponent(rest.slice(0, colon)) }];
}

const packages = new Map<string, boolean>();

function inModulePackage(file: string): boolean {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    const known = packages.get(folder);
    if (known !== undefined) return known;
    const manifest = join(folder, "package.json");
    if (isFile(manifest)) {
      let type: unknown;
      try {
        type = (JSON.parse(readFileSync(manifest, "utf8")) as { type?: unknown }).type;
      } catch {
        type = undefined;
      }
      packages.set(folder, type === "module");
      return type === "module";
    }
    if (folder === dirname(folder)) return false;
  }
}

/** The module, where it is the project's to be made into JavaScript. */
function ownModule(url: string, context: Context): Loaded | null {
  if (!url.startsWith("file:")) return null;
  const file = fileURLToPath(url.split(/[?#]/, 1)[0]!);
  if (isTranspiled(file)) return { ...transpiled(readFileSync(file, "utf8"), file, inModulePackage(file)), shortCircuit: true };
  const required = context.conditions?.includes("require") ?? false;
  if (extname(file) === ".json" && !required && context.importAttributes?.["type"] === undefined && !file.includes("/node_modules/")) {
    return { format: "module", source: `export default ${readFileSync(file, "utf8")}`, shortCircuit: true };
  }
  return null;
}

type Next<T> = (target: string, context: Context) => T;

/** What package.json's `imports` name (`#lib/a.js`) may be a `.ts` as well; null: it is not. */
function ofImports(specifier: string, parentURL: string | undefined, error: unknown): string | null {
  const url = (error as { url?: unknown } | null)?.url;
  if (!specifier.startsWith("#") || typeof url !== "string" || !url.startsWith("file:") || parentURL?.includes("/node_modules/")) return null;
  return located(fileURLToPath(url), true);
}

function found(file: string, { importAttributes }: Context): Resolved {
  return { url: pathToFileURL(file).href, shortCircuit: true, importAttributes };
}

function resolveSync(specifier: string, context: Context, next: Next<Resolved>): Resolved {
  const [target, within] = asked(specifier, context);
  const file = ofProject(target, within.parentURL);
  if (file !== null) return found(file, within);
  try {
    return next(target, within);
  } catch (error) {
    const meant = ofImports(target, within.parentURL, error);
    if (meant === null) throw error;
    return found(meant, within);
  }
}

function loadSync(url: string, context: Context, next: Next<Loaded>): Loaded {
  return ownModule(url, context) ?? next(url, context);
}

/** For `module.register`, in the thread of the hooks. */
export async function resolve(specifier: string, context: Context, next: Next<Promise<Resolved>>): Promise<Resolved> {
  const [target, within] = asked(specifier, context);
  const file = ofProject(target, within.parentURL);
  if (file !== null) return found(file, within);
  try {
    return await next(target, within);
  } catch (error) {
    const meant = ofImports(target, within.parentURL, error);
    if (meant === null) throw error;
    return found(meant, within);
  }
}

/** As `resolve`. */
export async function load(url: string, context: Context, next: Next<Promise<Loaded>>): Promise<Loaded> {
  const own = ownModule(url, context);
  if (own?.format === "commonjs" && !hasModuleSyntax(readFileSync(fileURLToPath(url.split(/[?#]/, 1)[0]!), "utf8"))) {
    return { format: "commonjs", source: null, shortCircuit: true }; // it is read by `hookRequire`, as what it requires is
  }
  return own ?? next(url, context);
}

interface Registers {
  registerHooks?(hooks: { resolve: typeof resolveSync; load: typeof loadSync }): void;
  register(url: string): void;
}

interface CommonModule {
  filename?: string;
  _compile(source: string, filename: string): void;
}
interface CommonLoader {
  _resolveFilename(request: string, parent: CommonModule | undefined, ...rest: unknown[]): string;
  _extensions: Record<string, (module: CommonModule, filename: string) => void>;
}

/** `require` of the project's TypeScript, which hooks in a thread of their own do not see, nor before Node 24 those within it. */
function hookRequire(): void {
  const loader = nodeModule.Module as unknown as CommonLoader;
  const resolveFilename = loader._resolveFilename;
  loader._resolveFilename = function (this: unknown, request, parent, ...rest) {
    const file = parent?.filename === undefined ? null : ofProject(request, pathToFileURL(parent.filename).href);
    return file ?? resolveFilename.call(this, request, parent, ...rest);
  };
  for (const end of TYPESCRIPT) {
    loader._extensions[end] = (module, filename) =>
      module._compile(transpiled(readFileSync(filename, "utf8"), filename, inModulePackage(filename), true).source, filename);
  }
}

/** `url`: of the file that has these functions. */
export function registerHooks(url: string): void {
  const { registerHooks: within, register } = nodeModule as unknown as Registers;
  if (within !== undefined) within({ resolve: resolveSync, load: loadSync });
  else register(url);
  hookRequire();
}
