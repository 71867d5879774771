// Names of records as people read them. Pure.

/** `langlog.run.created.v1` → `run.created`. */
export function shortType(type: string): string {
  return type.replace(/^langlog\./, "").replace(/\.v\d+$/, "");
}
