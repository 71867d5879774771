// Data of a view, with the states loading, failed and loaded; read again when the server is reachable again or the caller changes.
import { useEffect, useRef, useState } from "preact/hooks";
import { ApiError, comebacks, credentials } from "./client";

/** The server answers, but a server behind it does not yet: read again, at growing pauses. */
export const NOT_YET: ReadonlySet<number> = new Set([429, 502, 503, 504]);
const PAUSES_MS = [1_000, 2_000, 4_000, 8_000];

/** Milliseconds to wait after so many refusals. */
export function pauseAfter(refusals: number): number {
  return PAUSES_MS[Math.min(refusals, PAUSES_MS.length - 1)] ?? 8_000;
}

export interface Loaded<T> {
  value: T | undefined;
  error: Error | null;
  loading: boolean;
  /** Read once more; what is shown stays until then. */
  again: () => void;
}

/** Reads whenever a member of `on` changes. What is under way then is broken off. `turns`: what makes it read the same thing again. */
export function useLoad<T>(read: (signal: AbortSignal) => Promise<T>, on: readonly unknown[], turns: readonly unknown[] = []): Loaded<T> {
  const [state, setState] = useState<{ value: T | undefined; error: Error | null; loading: boolean }>({ value: undefined, error: null, loading: true });
  const [tries, setTries] = useState(0);
  const refusals = useRef(0);
  const subject = useRef<readonly unknown[]>(on);
  useEffect(() => {
    const breaking = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const same = subject.current.length === on.length && subject.current.every((one, index) => one === on[index]);
    subject.current = on;
    // another subject must not show what belongs to the one before
    setState((before) => ({ value: same ? before.value : undefined, error: null, loading: true }));
    read(breaking.signal).then(
      (value) => {
        if (breaking.signal.aborted) return;
        refusals.current = 0;
        setState({ value, error: null, loading: false });
      },
      (error: unknown) => {
        if (breaking.signal.aborted) return;
        setState((before) => ({ value: before.value, error: error as Error, loading: false }));
        if (!(error instanceof ApiError) || !NOT_YET.has(error.status)) return;
        timer = setTimeout(() => setTries((n) => n + 1), pauseAfter(refusals.current++));
      },
    );
    return () => {
      breaking.abort();
      clearTimeout(timer);
    };
  }, [...on, ...turns, tries, comebacks.value, credentials.value]);
  return { ...state, again: () => setTries((n) => n + 1) };
}
