/**
 * Bundles the components that `ui` of langgraph.json names, with the project's own `@langchain/langgraph-ui`: `public/<name>/<file>` below
 * a folder that the gateway made. Writes to a descriptor whether that is done, or why not: `{"done": true}` or `{"refused": reason}`, a
 * line of JSON, and ends. The other side: `langlog_gateway/components/bundles.py`.
 */
import { writeSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { described } from "../errors.js";
import { endProcess } from "../exit.js";

export interface BundleSpec {
  root: string;
  output: string;
  /** Folder of the package. */
  bundler: string;
  /** Name -> file, relative to `root`. */
  defs: Record<string, string>;
  shared: string[];
}

interface Library {
  build(options: { cwd: string; output: string; defs: Record<string, string>; config: { shared: string[] } }): Promise<void>;
}

/** `reportTo`: the descriptor. */
export async function bundle(spec: BundleSpec, reportTo: number): Promise<void> {
  process.stdin.on("end", () => endProcess(0)).on("error", () => endProcess(0)).resume();
  process.on("SIGINT", () => undefined);
  process.chdir(spec.root);
  let said: object = { done: true };
  try {
    const file = createRequire(import.meta.url).resolve(spec.bundler);
    const { build } = (await import(pathToFileURL(file).href)) as Library;
    await build({ cwd: spec.root, output: spec.output, defs: spec.defs, config: { shared: spec.shared } });
  } catch (error) {
    said = { refused: described(error).message };
  }
  writeSync(reportTo, `${JSON.stringify(said)}\n`);
  endProcess(0);
}
