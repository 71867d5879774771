// A list that is read page by page as the reader comes to its end; what is shown stays when the next page comes.
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, comebacks, credentials } from "./client";
import { NOT_YET, pauseAfter } from "./load";

export interface PageOf<T> {
  rows: T[];
  /** Start of the next page, or null on the last page. */
  next: string | null;
}

export interface Pages<T> {
  /** Null until the first page is there. */
  rows: T[] | null;
  error: Error | null;
  loading: boolean;
  atEnd: boolean;
  more: () => void;
  /** Read the first page once more; what is shown stays until then. */
  again: () => void;
  /** Change rows that are shown, without reading. */
  change: (by: (rows: T[]) => T[]) => void;
}

interface Shown<T> {
  rows: T[] | null;
  next: string | null;
  error: Error | null;
  loading: boolean;
}

/** Reads the first page whenever a member of `on` changes; `keyOf` keeps a row that moves between pages from being there twice. */
export function usePages<T>(read: (after: string | null, signal: AbortSignal) => Promise<PageOf<T>>, keyOf: (row: T) => string, on: readonly unknown[]): Pages<T> {
  const [state, setState] = useState<Shown<T>>({ rows: null, next: null, error: null, loading: true });
  const [tries, setTries] = useState(0);
  const mine = useRef({ breaking: new AbortController(), busy: false, refusals: 0 });
  const subject = useRef(on);

  const page = async (after: string | null, of: typeof mine.current): Promise<void> => {
    if (of.busy) return;
    of.busy = true;
    setState((before) => ({ ...before, loading: true, error: null }));
    try {
      const found = await read(after, of.breaking.signal);
      if (of.breaking.signal.aborted) return;
      of.refusals = 0;
      setState((before) => {
        const kept = after === null ? [] : (before.rows ?? []);
        const known = new Set(kept.map(keyOf));
        return { rows: [...kept, ...found.rows.filter((row) => !known.has(keyOf(row)))], next: found.next, error: null, loading: false };
      });
    } catch (error) {
      if (of.breaking.signal.aborted) return;
      setState((before) => ({ ...before, error: error as Error, loading: false }));
      if (error instanceof ApiError && NOT_YET.has(error.status)) setTimeout(() => !of.breaking.signal.aborted && void page(after, of), pauseAfter(of.refusals++));
    } finally {
      of.busy = false;
    }
  };

  useEffect(() => {
    const same = subject.current.length === on.length && subject.current.every((one, index) => one === on[index]);
    subject.current = on;
    if (!same) setState({ rows: null, next: null, error: null, loading: true });
    const begun = { breaking: new AbortController(), busy: false, refusals: 0 };
    mine.current = begun;
    void page(null, begun);
    return () => begun.breaking.abort();
  }, [...on, tries, comebacks.value, credentials.value]);

  return {
    rows: state.rows,
    error: state.error,
    loading: state.loading,
    atEnd: state.next === null,
    more: () => void (state.next !== null && state.error === null && page(state.next, mine.current)),
    again: () => setTries((n) => n + 1),
    change: (by) => setState((before) => (before.rows === null ? before : { ...before, rows: by(before.rows) })),
  };
}
