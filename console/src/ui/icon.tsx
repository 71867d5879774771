// Small drawings on a 16 by 16 grid, in the colour of the text around them.
const PATHS = {
  threads: "M2.500 4.500h11M2.500 8h11M2.500 11.500h7",
  inbox: "M2 9l2-5.500h8L14 9v3.500H2zM2 9h3.500l1 1.500h3l1-1.500H14",
  chat: "M2.500 3h11v8H7l-3 2.500V11H2.500z",
  graph: "M4 4.500a1.500 1.500 0 100-.01M12 8a1.500 1.500 0 100-.01M4 11.500a1.500 1.500 0 100-.01M5.300 4.800L10.700 7.500M5.300 11.200l5.400-2.700",
  cron: "M8 2.500a5.500 5.500 0 100 11 5.500 5.500 0 000-11zM8 5v3l2 1.500",
  assistant: "M8 2.500a2.500 2.500 0 100 5 2.500 2.500 0 000-5zM3 13.500c.5-3 2.500-4 5-4s4.500 1 5 4",
  store: "M3 4c0-2 10-2 10 0v8c0 2-10 2-10 0zM3 4c0 2 10 2 10 0M3 8c0 2 10 2 10 0",
  log: "M3 2.500h10v11H3zM5.500 5.500h5M5.500 8h5M5.500 10.500h3",
  health: "M1.500 8h3l1.500-4 3.500 8L11 8h3.500",
  replay: "M3 8a5 5 0 105-5H4.500M6.500 1L4.300 3l2.200 2",
  docs: "M3 2.500h7l3 3v8H3zM10 2.500v3h3",
  timeline: "M2 4h6M5 8h7M9 12h5",
  copy: "M5.500 5.500h8v8h-8zM10.500 5.500v-3h-8v8h3",
  search: "M7 2.500a4.500 4.500 0 100 9 4.500 4.500 0 000-9zM10.500 10.500l3 3",
  sun: "M8 5.500a2.500 2.500 0 100 5 2.500 2.500 0 000-5zM8 1.500v1.500M8 13v1.500M1.500 8H3M13 8h1.500M3.500 3.500l1 1M11.500 11.500l1 1M12.500 3.500l-1 1M4.500 11.500l-1 1",
  moon: "M13.500 9.500A6 6 0 016.500 2.500a5.500 5.500 0 107 7z",
  system: "M2.500 3h11v7.500h-11zM6 13.500h4M8 10.500v3",
  keys: "M1.500 4.500h13v7h-13zM4 7h.01M6.500 7h.01M9 7h.01M11.500 7h.01M5 9.500h6",
  close: "M4 4l8 8M12 4l-8 8",
  check: "M3 8.500l3.500 3.500L13 4.500",
  refresh: "M13 8a5 5 0 11-1.500-3.500M13 2v3h-3",
  play: "M5 3l8 5-8 5z",
  stop: "M4 4h8v8H4z",
  fork: "M5 2.500v11M5 6c0 3 6 1 6 4v3.500M11 2.500v.01",
  left: "M10 3.500L5.500 8l4.500 4.500",
  right: "M6 3.500L10.500 8 6 12.500",
  down: "M3.500 6L8 10.500 12.500 6",
  external: "M6 3H3v10h10v-3M9 3h4v4M13 3L7 9",
  lock: "M4 7.500h8v6H4zM5.500 7.500V5a2.500 2.500 0 015 0v2.500",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name }: { name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  );
}
