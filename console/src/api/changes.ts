// The live feed of list changes: one stream for the whole page, open while a view listens.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { credentials, follow } from "./client";
import type { Changes } from "./types";

/** `live`: the feed is open. `off`: the server refuses it, so lists change only when they are read again. */
export const feed = signal<"closed" | "live" | "off">("closed");

/** Whether objects of this kind have changed, were deleted, or may have been missed. */
export function concerns(changes: Changes, kind: "thread" | "run" | "assistant" | "cron"): boolean {
  return changes[`${kind}s`] !== undefined || changes.deleted?.some((one) => one.kind === kind) === true || changes.stale?.includes(`${kind}s`) === true;
}

type Listener = (changes: Changes) => void;
const listeners = new Set<Listener>();
let close: (() => void) | null = null;
/** What is refused to a caller may be allowed later. */
const REFUSED_PAUSE_MS = 30_000;
let timer: ReturnType<typeof setTimeout> | undefined;
/** Argument of a listener when changes may have been missed. */
const EVERYTHING: Changes = { stale: ["threads", "runs", "assistants", "crons"] };

function open(): void {
  let continued = false;
  close = follow("/changes", {
    onOpen: (_, resumed) => {
      feed.value = "live";
      continued = resumed;
    },
    onEvent: ({ event, data }) => {
      // `open` says what was missed meanwhile, where the server cannot tell it one by one
      if (event !== "changes" && event !== "open") return;
      let changes = JSON.parse(data) as Changes;
      if (event === "open") {
        // lists that were read before this stream began may lack what changed in between
        if (!continued) changes = EVERYTHING;
        if (!changes.stale) return;
      }
      for (const listener of listeners) listener(changes);
    },
    onWaiting: () => {
      feed.value = "closed";
    },
    onRefused: (error) => {
      feed.value = error.status === 401 ? "closed" : "off";
      close = null;
      if (feed.value === "off") timer = setTimeout(open, REFUSED_PAUSE_MS);
    },
  });
}

/** Hear of each change of a list while the component is shown. */
export function useChanges(listener: Listener, watched: readonly unknown[]): void {
  useEffect(() => {
    listeners.add(listener);
    if (close === null && feed.peek() !== "off") open();
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0) stop();
    };
  }, watched);
}

function stop(): void {
  close?.();
  close = null;
  clearTimeout(timer);
  feed.value = "closed";
}

// who asks has changed: what was heard so far is another person's
credentials.subscribe(() => {
  stop();
  if (listeners.size === 0) return;
  open();
  for (const listener of listeners) listener(EVERYTHING);
});
