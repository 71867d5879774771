// Keyboard shortcuts, which work everywhere except in text fields. Pages add theirs by `useShortcuts`.
import { useLayoutEffect, useRef } from "preact/hooks";
import { signal } from "@preact/signals";

export interface Shortcut {
  /** Key as in `KeyboardEvent.key` (`j`, `/`, `Escape`), or two keys one after the other (`g t`). */
  keys: string;
  does: string;
  run: (event: KeyboardEvent) => void;
}

/** All that hold now, for the help. */
export const shortcuts = signal<readonly Shortcut[]>([]);

const SECOND_KEY_MS = 1200;
let first = "";
let since = 0;

export function useShortcuts(list: readonly Shortcut[]): void {
  useLayoutEffect(() => {
    shortcuts.value = [...shortcuts.peek(), ...list];
    return () => {
      shortcuts.value = shortcuts.peek().filter((shortcut) => !list.includes(shortcut));
    };
  }, list);
}

/** Escape closes a pane beside a list; inside a field it is the field's. */
export function useEscape(close: () => void): void {
  const latest = useRef(close);
  latest.current = close;
  const keys = useRef([{ keys: "Escape", does: "Close what is beside the list", run: () => latest.current() }]);
  useShortcuts(keys.current);
}

/** Whether a key belongs to what has the focus. */
export function typing(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

export function onKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  if (document.querySelector("dialog[open]") !== null) return;
  const now = event.timeStamp;
  const pair = first !== "" && now - since < SECOND_KEY_MS ? `${first} ${event.key}` : "";
  first = event.key;
  since = now;
  // the newest first: what a page says of a key holds before what the frame says
  const all = [...shortcuts.peek()].reverse();
  const meant = (pair !== "" && all.find((shortcut) => shortcut.keys === pair)) || all.find((shortcut) => shortcut.keys === event.key);
  if (!meant) return;
  event.preventDefault();
  first = "";
  meant.run(event);
}
