// A run's timeline from its events, live, with the nodes that it executes now.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { at, call } from "../../api/client";
import { useEvents } from "../../api/events";
import type { State } from "../../api/types";
import { runningOf, type RunningNode } from "./running";
import { timelineOf, type Timeline } from "./timeline";

const NONE: readonly RunningNode[] = [];
/** Between two reads of one state. */
const PAUSE_MS = 300;

export function useTimeline(thread: string, run: string): { timeline: Timeline | null; error: Error | null; live: boolean } {
  const { events, error, live } = useEvents(at`/threads/${thread}/runs/${run}/events`);
  const ended = useMemo(() => timelineOf(events), [events]);
  const running = useRunning(thread, run, ended?.isWorkedOn === true, events);
  const timeline = useMemo(() => (running.length === 0 ? ended : timelineOf(events, running)), [ended, running]);
  return { timeline, error, live };
}

/** Nodes that run now; read again when `turn` changes, which is with each event. None while `going` is false. */
function useRunning(thread: string, run: string, going: boolean, turn: unknown): readonly RunningNode[] {
  const [nodes, setNodes] = useState(NONE);
  const last = useRef(0);
  useEffect(() => {
    if (!going) {
      setNodes(NONE);
      return undefined;
    }
    const breaking = new AbortController();
    const read = async (): Promise<void> => {
      last.current = Date.now();
      try {
        const state = await call<State>(at`/threads/${thread}/state`, { query: { subgraphs: true }, signal: breaking.signal });
        // before its first checkpoint, the state is that of an earlier run
        if (!breaking.signal.aborted) setNodes(state.metadata?.["run_id"] === run ? runningOf(state) : NONE);
      } catch {
        // the events tell what has ended all the same
      }
    };
    const timer = setTimeout(() => void read(), Math.max(0, last.current + PAUSE_MS - Date.now()));
    return () => {
      breaking.abort();
      clearTimeout(timer);
    };
  }, [thread, run, going, turn]);
  return nodes;
}
