/** What of a project's tsconfig.json matters when its sources are executed: `paths`, `baseUrl`, and options of decorators and JSX. */
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, isAbsolute, join, resolve } from "node:path";

type Options = Record<string, unknown>;
interface Config {
  options: Options;
  /** Where `paths` start from. */
  base: string;
  paths: [RegExp, string[]][];
}

const EXTENDED_MAX = 16;
const known = new Map<string, Config | null>();

function configOf(file: string): Config | null {
  for (let folder = dirname(file); ; folder = dirname(folder)) {
    const name = join(folder, "tsconfig.json");
    let config = known.get(folder);
    if (config === undefined) {
      config = existsSync(name) ? read(name) : null;
      known.set(folder, config);
    }
    if (config !== null || folder === dirname(folder)) return config;
  }
}

export function compilerOptions(file: string): Options {
  return configOf(file)?.options ?? {};
}

/** The files that a specifier may mean by `paths` and `baseUrl`, without ends of names being tried. */
export function mapped(specifier: string, parent: string): string[] {
  const config = configOf(parent);
  if (config === null) return [];
  for (const [pattern, targets] of config.paths) {
    const match = pattern.exec(specifier);
    if (match !== null) return targets.map((target) => resolve(config.base, target.replace("*", () => match[1] ?? "")));
  }
  return config.options["baseUrl"] === undefined ? [] : [resolve(config.base, specifier)];
}

function read(name: string): Config | null {
  const found = merged(name, 0);
  if (found === null) return null;
  // TypeScript 5.5: the folder of the tsconfig.json that extends the others
  const placed = (path: string): string => path.replace("${configDir}", () => dirname(name));
  const { options, pathsFrom, paths } = found;
  const baseUrl = found.baseUrl === null ? null : resolve(found.baseUrl.from, placed(found.baseUrl.path));
  if (baseUrl !== null) options["baseUrl"] = baseUrl;
  return { options, base: baseUrl ?? pathsFrom ?? dirname(name), paths: patterns(paths, placed) };
}

interface Merged {
  options: Options;
  baseUrl: { path: string; from: string } | null;
  paths: Record<string, unknown> | undefined;
  /** The folder of the file that has `paths`. */
  pathsFrom: string | undefined;
}

/** A configuration with what it extends: its own members win, and those of a later extended one over an earlier one's. */
function merged(name: string, depth: number): Merged | null {
  const parsed = parse(name);
  if (parsed === null) return null;
  const result: Merged = { options: {}, baseUrl: null, paths: undefined, pathsFrom: undefined };
  const extended: unknown[] = Array.isArray(parsed["extends"]) ? parsed["extends"] : [parsed["extends"]];
  for (const each of depth < EXTENDED_MAX ? extended : []) {
    const file = typeof each === "string" ? located(each, name) : undefined;
    const inherited = file === undefined ? null : merged(file, depth + 1);
    if (inherited === null) continue;
    Object.assign(result.options, inherited.options);
    result.baseUrl = inherited.baseUrl ?? result.baseUrl;
    if (inherited.paths !== undefined) [result.paths, result.pathsFrom] = [inherited.paths, inherited.pathsFrom];
  }
  const own = (parsed["compilerOptions"] ?? {}) as Options;
  Object.assign(result.options, own);
  if (typeof own["baseUrl"] === "string") result.baseUrl = { path: own["baseUrl"], from: dirname(name) };
  if (typeof own["paths"] === "object" && own["paths"] !== null) {
    [result.paths, result.pathsFrom] = [own["paths"] as Record<string, unknown>, dirname(name)];
  }
  return result;
}

function located(extended: string, from: string): string | undefined {
  if (extended.startsWith(".") || isAbsolute(extended)) {
    const path = resolve(dirname(from), extended);
    return [path, `${path}.json`, join(path, "tsconfig.json")].find((each) => existsSync(each) && each.endsWith(".json"));
  }
  for (const each of [extended, `${extended}/tsconfig.json`]) {
    try {
      return createRequire(from).resolve(each);
    } catch {
      // the next one
    }
  }
  return undefined;
}

function patterns(given: Record<string, unknown> | undefined, placed: (path: string) => string): [RegExp, string[]][] {
  const longestFirst = Object.entries(given ?? {}).sort(([a], [b]) => b.length - a.length);
  return longestFirst.flatMap(([pattern, targets]) => {
    if (!Array.isArray(targets)) return [];
    const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replace("*", "(.*)");
    return [[new RegExp(`^${escaped}$`), targets.filter((each): each is string => typeof each === "string").map(placed)]];
  });
}

/** JSON with comments and trailing commas, as TypeScript reads it; null for text that is not such JSON. */
function parse(name: string): Record<string, unknown> | null {
  try {
    const text = readFileSync(name, "utf8").replace(/^\uFEFF/, "");
    const bare = text.replace(/"(?:[^"\\]|\\.)*"|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (part) => (part.startsWith('"') ? part : " "));
    const tidy = bare.replace(/"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])/g, (part) => (part === "," ? "" : part));
    const parsed: unknown = JSON.parse(tidy);
    return typeof parsed === "object" && parsed !== null ? (parsed as Record<string, unknown>) : null;
  } catch {
    return null;
  }
}
