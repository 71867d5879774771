// What a view reads: with the states loading, failed and there; read again when the server comes back or the caller changes.
import { useEffect, useRef, useState } from "preact/hooks";
import { comebacks, credentials } from "./client";

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
  const subject = useRef<readonly unknown[]>(on);
  useEffect(() => {
    const breaking = new AbortController();
    const same = subject.current.length === on.length && subject.current.every((one, index) => one === on[index]);
    subject.current = on;
    // another subject must not show what belongs to the one before
    setState((before) => ({ value: same ? before.value : undefined, error: null, loading: true }));
    read(breaking.signal).then(
      (value) => !breaking.signal.aborted && setState({ value, error: null, loading: false }),
      (error: unknown) => !breaking.signal.aborted && setState((before) => ({ value: before.value, error: error as Error, loading: false })),
    );
    return () => breaking.abort();
  }, [...on, ...turns, tries, comebacks.value, credentials.value]);
  return { ...state, again: () => setTries((n) => n + 1) };
}
