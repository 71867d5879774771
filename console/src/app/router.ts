// The current address, as signals. Every view and every filter has an address of its own.
import { computed, signal } from "@preact/signals";
import type { TargetedMouseEvent } from "preact";
import { find } from "./match";
import type { Page } from "./pages";
import pages from "console:pages";

/** The path of the console itself, with a slash at its end: `/console/`, or behind a mount prefix. */
export const base = new URL(document.baseURI).pathname;

export const START = "threads";

const here = signal(read());

/** The path below the console, without slashes at its ends. */
export const path = computed(() => here.value.path);
/** The filters of the address. */
export const query = computed(() => new URLSearchParams(here.value.search));
/** The page, and the parameters of its path; null where there is none. */
export const current = computed<{ page: Page; params: Record<string, string> } | null>(() => find(pages, path.value));

function read(): { path: string; search: string } {
  const below = location.pathname.startsWith(base) ? location.pathname.slice(base.length) : "";
  return { path: below.replace(/\/+$/, "") || START, search: location.search };
}

/** The address of a view: `to("threads", id, "runs", run)`, with filters as the last argument. Empty filters are left out. */
export function to(...steps: (string | Record<string, string | null | undefined>)[]): string {
  const parts: string[] = [];
  let search = "";
  for (const step of steps) {
    if (typeof step === "string") parts.push(encodeURIComponent(step));
    else search = searchOf(step);
  }
  return base + parts.join("/") + search;
}

function searchOf(filters: Record<string, string | null | undefined>): string {
  const kept = new URLSearchParams();
  for (const [name, value] of Object.entries(filters)) if (value) kept.set(name, value);
  const text = kept.toString();
  return text === "" ? "" : `?${text}`;
}

/** Go to an address as `to` makes it. `replace`: without a step to go back to. */
export function navigate(address: string, how: { replace?: boolean } = {}): void {
  const before = path.peek();
  if (how.replace) history.replaceState(null, "", address);
  else history.pushState(null, "", address);
  here.value = read();
  if (path.peek() !== before) afterMove();
}

/** Change filters of the address and stay on the page; an empty value removes one. */
export function setQuery(changes: Record<string, string | null | undefined>): void {
  const all: Record<string, string | null | undefined> = Object.fromEntries(query.peek());
  navigate(location.pathname + searchOf({ ...all, ...changes }), { replace: true });
}

/** The focus follows the person to a new page, as it does with documents. */
function afterMove(): void {
  requestAnimationFrame(() => document.getElementById("main")?.focus({ preventScroll: true }));
}

addEventListener("popstate", () => {
  here.value = read();
});

/** Links within the console change the view without loading the document again. */
export function followLinks(event: TargetedMouseEvent<HTMLElement>): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = (event.target as Element).closest("a");
  if (link === null || link.target !== "" || link.origin !== location.origin || !link.pathname.startsWith(base)) return;
  if (link.hasAttribute("download")) return;
  event.preventDefault();
  navigate(link.pathname + link.search);
}
