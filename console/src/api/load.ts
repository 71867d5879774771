// Data of a view, with the states loading, failed and loaded; read again when the server is reachable again or the caller changes.
import { useEffect, useRef, useState } from "preact/hooks";
import { comebacks, credentials } from "./client";
import { Reading, type Read } from "./reading";

export interface Loaded<T> {
  value: T | undefined;
  error: Error | null;
  loading: boolean;
  /** Read once more; what is shown stays until then. */
  again: () => void;
}

interface Shown<T> {
  value: T | undefined;
  /** Credentials that the value was read with. */
  of: object | null;
  error: Error | null;
  loading: boolean;
}

export const isSame = (a: readonly unknown[], b: readonly unknown[]): boolean => a.length === b.length && a.every((one, index) => one === b[index]);

/** Reads whenever a member of `on` changes; what is under way then is broken off. `turns`: what makes it read the same thing again, once
 * the read under way has settled. */
export function useLoad<T>(read: (signal: AbortSignal) => Promise<T>, on: readonly unknown[], turns: readonly unknown[] = []): Loaded<T> {
  const nothing: Shown<T> = { value: undefined, of: null, error: null, loading: true };
  const [state, setState] = useState(nothing);
  const latest = useRef(read);
  latest.current = read;
  const mine = useRef<{ reading: Reading; on: readonly unknown[]; turns: readonly unknown[] } | null>(null);

  const once: Read = async (signal) => {
    const of = credentials.peek();
    setState((before) => ({ ...before, error: null, loading: true }));
    const value = await latest.current(signal);
    if (!signal.aborted) setState({ value, of, error: null, loading: false });
  };
  useEffect(() => {
    // another subject must not show what belongs to the one before, nor a caller who is refused what another has read
    if (mine.current !== null && !isSame(mine.current.on, on)) setState(nothing);
    const reading = new Reading((error) => setState((before) => ({ ...(before.of === credentials.peek() ? before : nothing), error, loading: false })));
    mine.current = { reading, on, turns };
    reading.again(once);
    return () => reading.close();
  }, [...on, comebacks.value, credentials.value]);
  useEffect(() => {
    if (mine.current?.turns !== turns) mine.current?.reading.again(once);
  }, turns);
  return { value: state.value, error: state.error, loading: state.loading, again: () => mine.current?.reading.again(once) };
}
