// A list that is read page by page as the reader comes to its end; what is shown stays when the next page comes.
import { useEffect, useRef, useState } from "preact/hooks";
import { comebacks, credentials } from "./client";
import { isSame } from "./load";
import { Reading, type Read } from "./reading";

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
  /** Change rows that are shown, without reading. A page that is being read then may be older: it is changed as well. */
  change: (by: (rows: T[]) => T[]) => void;
}

interface Shown<T> {
  rows: T[] | null;
  next: string | null;
  /** Credentials that the rows were read with. */
  of: object | null;
  error: Error | null;
  loading: boolean;
}

/** Reads the first page whenever a member of `on` changes; `keyOf` keeps a row that moves between pages from being there twice. */
export function usePages<T>(read: (after: string | null, signal: AbortSignal) => Promise<PageOf<T>>, keyOf: (row: T) => string, on: readonly unknown[]): Pages<T> {
  const nothing: Shown<T> = { rows: null, next: null, of: null, error: null, loading: true };
  const [state, setState] = useState(nothing);
  const latest = useRef(read);
  latest.current = read;
  const mine = useRef<{ reading: Reading; on: readonly unknown[] } | null>(null);
  /** Changes since the page that is being read was asked for. */
  const changes = useRef<((rows: T[]) => T[])[]>([]);

  const page = (after: string | null): Read => async (signal) => {
    const of = credentials.peek();
    changes.current = [];
    setState((before) => ({ ...before, error: null, loading: true }));
    const found = await latest.current(after, signal);
    if (signal.aborted) return;
    const since = changes.current;
    setState((before) => {
      const kept = after === null ? [] : (before.rows ?? []);
      const known = new Set(kept.map(keyOf));
      const rows = [...kept, ...found.rows.filter((row) => !known.has(keyOf(row)))];
      return { rows: since.reduce((changed, by) => by(changed), rows), next: found.next, of, error: null, loading: false };
    });
  };
  useEffect(() => {
    if (mine.current !== null && !isSame(mine.current.on, on)) setState(nothing);
    const reading = new Reading((error) => setState((before) => ({ ...(before.of === credentials.peek() ? before : nothing), error, loading: false })));
    mine.current = { reading, on };
    reading.again(page(null));
    return () => reading.close();
  }, [...on, comebacks.value, credentials.value]);

  return {
    rows: state.rows,
    error: state.error,
    loading: state.loading,
    atEnd: state.next === null,
    more: () => {
      if (state.next !== null && state.error === null && mine.current?.reading.busy === false) mine.current.reading.again(page(state.next));
    },
    again: () => mine.current?.reading.again(page(null)),
    change: (by) => {
      if (mine.current?.reading.busy) changes.current.push(by);
      setState((before) => (before.rows === null ? before : { ...before, rows: by(before.rows) }));
    },
  };
}
