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
  const options: Options = {};
  let base = dirname(name);
  let current: string | undefined = name;
  let given: Record<string, unknown> | undefined;
  for (let depth = 0; current !== undefined && depth < EXTENDED_MAX; depth++) {
    const parsed = parse(current);
    if (parsed === null) return depth === 0 ? null : { options, base, paths: patterns(given) };
    const own = (parsed["compilerOptions"] ?? {}) as Options;
    if (options["baseUrl"] === undefined && typeof own["baseUrl"] === "string") base = resolve(dirname(current), own["baseUrl"]);
    if (given === undefined && typeof own["paths"] === "object" && own["paths"] !== null) {
      given = own["paths"] as Record<string, unknown>;
      if (options["baseUrl"] === undefined && own["baseUrl"] === undefined) base = dirname(current);
    }
    for (const [key, value] of Object.entries(own)) options[key] ??= value;
    const extended: unknown = Array.isArray(parsed["extends"]) ? parsed["extends"].at(-1) : parsed["extends"];
    current = typeof extended === "string" ? located(extended, current) : undefined;
  }
  return { options, base, paths: patterns(given) };
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

function patterns(given: Record<string, unknown> | undefined): [RegExp, string[]][] {
  const longestFirst = Object.entries(given ?? {}).sort(([a], [b]) => b.length - a.length);
  return longestFirst.flatMap(([pattern, targets]) => {
    if (!Array.isArray(targets)) return [];
    const escaped = pattern.replace(/[.+?^${}()|[\]\\]/g, "\\$&").replace("*", "(.*)");
    return [[new RegExp(`^${escaped}$`), targets.filter((each): each is string => typeof each === "string")]];
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
