// Which page an address leads to. Pure.

/** The parameters of a path that fits the pattern (`threads/:thread`); null for one that does not. */
export function match(pattern: string, path: string): Record<string, string> | null {
  const wanted = pattern.split("/");
  const given = path.split("/");
  if (wanted.length !== given.length) return null;
  const params: Record<string, string> = {};
  for (const [index, step] of wanted.entries()) {
    const part = given[index] ?? "";
    if (step.startsWith(":")) {
      if (part === "") return null;
      try {
        params[step.slice(1)] = decodeURIComponent(part);
      } catch {
        return null; // a broken escape names nothing
      }
    } else if (step !== part) return null;
  }
  return params;
}

/** The first page that fits, those without parameters first. */
export function find<T extends { path: string }>(pages: readonly T[], path: string): { page: T; params: Record<string, string> } | null {
  const ordered = [...pages].sort((a, b) => count(a.path) - count(b.path));
  for (const page of ordered) {
    const params = match(page.path, path);
    if (params !== null) return { page, params };
  }
  return null;
}

function count(path: string): number {
  return path.split("/").filter((step) => step.startsWith(":")).length;
}
