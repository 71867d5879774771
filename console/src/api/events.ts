// The audit events of a thread or run: all that there are, then what happens, by one stream.
import { useEffect, useState } from "preact/hooks";
import { credentials, follow } from "./client";
import type { AuditEvent } from "./types";

/** More than these are not held: the log explorer and `langlog log export` show the rest. */
export const MOST_EVENTS = 20_000;

export interface Events {
  events: readonly AuditEvent[];
  error: Error | null;
  live: boolean;
  /** There are more than are held. */
  cut: boolean;
}

const NONE: Events = { events: [], error: null, live: false, cut: false };

/** `path`: of the API, `/threads/{id}/events` or that of a run. */
export function useEvents(path: string): Events {
  const [state, setState] = useState<Events>(NONE);
  useEffect(() => {
    setState(NONE);
    const events: AuditEvent[] = [];
    const seen = new Set<string>();
    let drawing = 0;
    const draw = (): void => {
      drawing = 0;
      setState((before) => ({ ...before, events: events.slice() })); // another array, once a frame: what depends on it is made anew
    };
    const close = follow(path, {
      onOpen: () => setState((before) => ({ ...before, error: null, live: true })),
      onEvent: ({ event, data, id }) => {
        // a resumed stream may repeat its last event
        if (event === "error" || seen.has(id)) return;
        seen.add(id);
        if (events.length >= MOST_EVENTS) {
          close();
          setState((before) => ({ ...before, live: false, cut: true }));
          return;
        }
        events.push(JSON.parse(data) as AuditEvent);
        drawing ||= requestAnimationFrame(draw);
      },
      onWaiting: (error) => setState((before) => ({ ...before, error, live: false })),
      onRefused: (error) => setState((before) => ({ ...before, error, live: false })),
      onEnd: (error) => {
        setState((before) => ({ ...before, live: false }));
        return error !== null;
      },
    });
    return () => {
      close();
      cancelAnimationFrame(drawing);
    };
  }, [path, credentials.value]);
  return state;
}
