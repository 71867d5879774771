// Methods and options of the official client as its declarations (.d.ts) have them, read by TypeScript's own parser and checker.

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import ts from "typescript";

const PARTS = { assistants: "AssistantsClient", threads: "ThreadsClient", runs: "RunsClient", crons: "CronsClient", store: "StoreClient" };
const entry = join(dirname(createRequire(import.meta.url).resolve("@langchain/langgraph-sdk")), "client.d.ts");

/** Whether a type is an object of options of the client's own: one that its declarations list the members of. */
const isOptions = (checker, type) =>
  (type.flags & ts.TypeFlags.Object) !== 0 &&
  !checker.isArrayType(type) &&
  type.getCallSignatures().length === 0 &&
  type.getProperties().some((member) => member.name === "signal");

const optionsOf = (checker, parameter, at) => {
  const type = checker.getNonNullableType(checker.getTypeOfSymbolAtLocation(parameter, at));
  const kinds = type.isUnion() ? type.types : [type];
  const objects = kinds.filter((kind) => isOptions(checker, kind) && kind.symbol?.name !== "AbortSignal");
  return objects.length === 0 ? [parameter.name] : objects.flatMap((kind) => kind.getProperties().map((member) => member.name));
};

/** `["runs.stream input", …]`: every option of every public method, names of its parameters among them. */
export const signatures = () => {
  const program = ts.createProgram([entry], { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, skipLibCheck: true, target: ts.ScriptTarget.ES2022 });
  const checker = program.getTypeChecker();
  const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(entry)));
  const found = new Set();
  for (const [part, name] of Object.entries(PARTS)) {
    const symbol = exported.find((one) => one.name === name);
    const declared = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    for (const node of declared.declarations[0].members) {
      const method = node.name?.getText();
      if (!ts.isMethodDeclaration(node) || method.startsWith("_")) continue;
      const signature = checker.getSignatureFromDeclaration(node);
      for (const parameter of signature.getParameters()) {
        for (const option of optionsOf(checker, parameter, node)) found.add(`${part}.${method} ${option}`);
      }
    }
  }
  return [...found].sort();
};
