// A run's timeline from its events, live, with the nodes that it executes now.
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { at, call, credentials } from "../../api/client";
import { useEvents } from "../../api/events";
import { Reading } from "../../api/reading";
import type { State } from "../../api/types";
import { runningOf, type RunningNode } from "./running";
import { timelineOf, type Timeline } from "./timeline";

const NONE: readonly RunningNode[] = [];
/** Between two reads of one state. */
const PAUSE_MS = 300;

export function useTimeline(thread: string, run: string): { timeline: Timeline | null; error: Error | null; live: boolean; cut: boolean } {
  const { events, error, live, cut } = useEvents(at`/threads/${thread}/runs/${run}/events`);
  const ended = useMemo(() => timelineOf(events), [events]);
  const running = useRunning(thread, run, ended?.isWorkedOn === true && !cut, events);
  const timeline = useMemo(() => (running.length === 0 ? ended : timelineOf(events, running)), [ended, running]);
  return { timeline, error, live, cut };
}

/** Nodes that run now; read again when `turn` changes, which is with each event. None while `going` is false. */
function useRunning(thread: string, run: string, going: boolean, turn: unknown): readonly RunningNode[] {
  const [nodes, setNodes] = useState(NONE);
  const mine = useRef<Reading | null>(null);
  useEffect(() => {
    // the events tell what has ended, whether the state can be read or not
    const reading = going ? new Reading(() => undefined) : null;
    mine.current = reading;
    setNodes(NONE);
    return () => reading?.close();
  }, [thread, run, going, credentials.value]);
  useEffect(() => {
    mine.current?.again(async (signal) => {
      const state = await call<State>(at`/threads/${thread}/state`, { query: { subgraphs: true }, signal });
      // before its first checkpoint, the state is that of an earlier run
      if (!signal.aborted) setNodes(state.metadata?.["run_id"] === run ? runningOf(state) : NONE);
      await new Promise((done) => setTimeout(done, PAUSE_MS));
    });
  }, [thread, run, going, turn]);
  return nodes;
}
