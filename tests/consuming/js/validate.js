import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
for (const d of diagnostics) console.log(d.severity, d.code, d.path.join("."), d.message);
process.exit(document === undefined ? 1 : 0);
