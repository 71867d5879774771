// Data of the thread page, read again when the thread's events report a change.
import { useEffect, useRef, useState } from "preact/hooks";
import { at, call, credentials, follow, since } from "../../api/client";
import { isFinal } from "../../api/error";
import { useLoad, type Loaded } from "../../api/load";
import type { Json, Run, State, Thread } from "../../api/types";
import { heard, type Writing } from "./live";

export const CHECKPOINTS = 200;
const PAUSE_MS = 200;
const NOTHING: Writing = new Map();

export interface Around {
  thread: Loaded<Thread>;
  runs: Loaded<Run[]>;
  checkpoints: Loaded<State[]>;
  state: Loaded<State>;
  writing: Writing;
  /** The stream of the thread's events is open. */
  live: boolean;
  earlier: () => void;
  /** Whether there may be checkpoints before those that are loaded. */
  hasEarlier: boolean;
}

const SELECTED = ["next", "metadata", "created_at", "checkpoint", "parent_checkpoint"];

/** `checkpoint`: which state to show; null: the last one. */
export function useThread(id: string, checkpoint: string | null): Around {
  const [limit, setLimit] = useState(CHECKPOINTS);
  const [turn, setTurn] = useState(0);
  const [writing, setWriting] = useState<Writing>(NOTHING);
  const [live, setLive] = useState(false);
  const timer = useRef<ReturnType<typeof setTimeout> | null>(null);

  const thread = useLoad((signal) => call<Thread>(at`/threads/${id}`, { signal }), [id], [turn]);
  const runs = useLoad((signal) => call<Run[]>(at`/threads/${id}/runs`, { query: { limit: 200, select: ["run_id", "thread_id", "assistant_id", "created_at", "updated_at", "status", "metadata"] }, signal }), [id], [turn]);
  const checkpoints = useLoad((signal) => call<State[]>(at`/threads/${id}/history`, { body: { limit, select: SELECTED }, signal }), [id, limit], [turn]);
  const state = useLoad((signal) => call<State>(checkpoint === null ? at`/threads/${id}/state` : at`/threads/${id}/state/${checkpoint}`, { signal }), [id, checkpoint], [checkpoint === null ? turn : 0]);

  useEffect(() => {
    setWriting(NOTHING);
    setLive(false);
    const soon = (): void => {
      timer.current ??= setTimeout(() => {
        timer.current = null;
        setTurn((n) => n + 1);
      }, PAUSE_MS);
    };
    const begun = Date.now();
    const closeEvents = follow(at`/threads/${id}/events`, {
      asked: async () => ({ query: { from: await since(begun) } }),
      onOpen: (again) => {
        setLive(true);
        if (again) soon();
      },
      onEvent: soon,
      onWaiting: () => setLive(false),
      onRefused: () => setLive(false),
      onEnd: (error) => {
        setLive(false);
        return error !== null;
      },
    });
    const closeStream = follow(at`/threads/${id}/stream`, {
      onEvent: ({ event, data }) => {
        if (!event.startsWith("messages")) return;
        setWriting((before) => heard(before, event, JSON.parse(data) as Json));
      },
      onEnd: (error) => !isFinal(error),
    });
    return () => {
      closeEvents();
      closeStream();
      if (timer.current !== null) clearTimeout(timer.current);
      timer.current = null;
    };
  }, [id, credentials.value]);
  // what was being written is in the state once no run is under way
  useEffect(() => {
    if (thread.value !== undefined && thread.value.status !== "busy") setWriting((before) => (before.size === 0 ? before : NOTHING));
  }, [thread.value?.status]);

  return {
    thread, runs, checkpoints, state, writing, live,
    earlier: () => setLimit((n) => Math.min(1000, n * 2)),
    hasEarlier: (checkpoints.value?.length ?? 0) >= limit && limit < 1000,
  };
}
