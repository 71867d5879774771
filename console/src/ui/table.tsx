// A long list: only the rows in view are in the document, so that 100,000 are as fast as ten. j and k move, Enter opens.
import { Virtualizer, elementScroll, observeElementOffset, observeElementRect } from "@tanstack/virtual-core";
import type { ComponentChildren } from "preact";
import { useLayoutEffect, useReducer, useRef } from "preact/hooks";
import { useShortcuts } from "../app/shortcuts";

export interface Column<Row> {
  key: string;
  title: string;
  /** A size of CSS grid: `120px`, `minmax(0, 1fr)`. */
  width: string;
  right?: boolean;
  /** Left out where the page is narrow. */
  wide?: boolean;
  /** Something to press of its own: not part of the row's link. */
  own?: boolean;
  cell: (row: Row) => ComponentChildren;
}

interface Props<Row> {
  label: string;
  rows: readonly Row[];
  columns: Column<Row>[];
  keyOf: (row: Row) => string;
  /** The first column links there, and the whole row with it. */
  hrefOf?: (row: Row) => string;
  onOpen?: (row: Row) => void;
  /** How many there are, if more than are loaded. */
  total?: number | null;
  /** Called when the end of what is loaded comes into view. */
  onEnd?: () => void;
  /** Below the last row: `loading more`. */
  after?: ComponentChildren;
  rowHeight?: number;
  /** Told how far the list is scrolled. */
  onScroll?: (top: number) => void;
}

export function Table<Row>({ label, rows, columns, keyOf, hrefOf, onOpen, total, onEnd, after, rowHeight = 36, onScroll }: Props<Row>) {
  const box = useRef<HTMLDivElement>(null);
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  const made = useRef<Virtualizer<HTMLDivElement, Element> | null>(null);
  const options = {
    count: rows.length,
    getScrollElement: () => box.current,
    estimateSize: () => rowHeight,
    overscan: 12,
    scrollToFn: elementScroll,
    observeElementRect,
    observeElementOffset,
    initialRect: { width: 1200, height: 900 },
    onChange: () => redraw(undefined),
  };
  made.current ??= new Virtualizer<HTMLDivElement, Element>(options);
  const list = made.current;
  list.setOptions(options);
  useLayoutEffect(() => list._didMount(), []);
  useLayoutEffect(() => list._willUpdate());
  const items = list.getVirtualItems();
  const lastShown = items.at(-1)?.index ?? 0;
  useLayoutEffect(() => {
    if (rows.length > 0 && lastShown >= rows.length - 20) onEnd?.();
  }, [lastShown, rows]); // once more for other rows, since a list that is being read anew takes no next page meanwhile

  const move = (step: number): void => {
    const active = document.activeElement?.closest<HTMLElement>("[data-index]");
    const from = active === null || active === undefined || !box.current?.contains(active) ? (step > 0 ? -1 : rows.length) : Number(active.dataset["index"]);
    const next = Math.max(0, Math.min(rows.length - 1, from + step));
    if (rows.length === 0) return;
    list.scrollToIndex(next, { align: "auto" });
    const focus = (tries: number): void => {
      const target = box.current?.querySelector<HTMLElement>(`[data-index="${next}"] .whole-row`);
      if (target) target.focus({ preventScroll: true });
      else if (tries > 0) requestAnimationFrame(() => focus(tries - 1));
    };
    focus(20);
  };
  const down = useRef(() => move(1));
  const up = useRef(() => move(-1));
  down.current = () => move(1);
  up.current = () => move(-1);
  const keys = useRef([
    { keys: "j", does: "Next row", run: () => down.current() },
    { keys: "k", does: "Row before", run: () => up.current() },
    { keys: "ArrowDown", does: "Next row", run: () => down.current() },
    { keys: "ArrowUp", does: "Row before", run: () => up.current() },
  ]);
  useShortcuts(keys.current);

  const cellClass = (column: Column<Row>): string => `${column.right ? "right" : ""}${column.wide ? " wide" : ""}${column.own ? " own" : ""}`;
  const linked = columns.findIndex((column) => !column.own);
  const widths = (shown: Column<Row>[]): string => shown.map((column) => column.width).join(" ");
  return (
    <div class="table" role="table" aria-label={label} aria-rowcount={(total ?? rows.length) + 1} style={{ "--columns": widths(columns), "--columns-narrow": widths(columns.filter((column) => !column.wide)), "--row": `${rowHeight}px` }}>
      <div role="rowgroup">
        <div class="head" role="row" aria-rowindex={1}>
          {columns.map((column) => (
            <span key={column.key} role="columnheader" class={cellClass(column)}>
              {column.title}
            </span>
          ))}
        </div>
      </div>
      <div class="rows" role="rowgroup" ref={box} tabIndex={-1} onScroll={(event) => onScroll?.(event.currentTarget.scrollTop)}>
        <div class="space" role="presentation" style={{ height: `${list.getTotalSize() + (after ? 40 : 0)}px` }}>
          {items.map((item) => {
            const row = rows[item.index];
            if (row === undefined) return null;
            return (
              <div key={keyOf(row)} role="row" aria-rowindex={item.index + 2} data-index={item.index} data-key={keyOf(row)} style={{ top: `${item.start}px` }}>
                {columns.map((column, index) => (
                  <span key={column.key} role="cell" class={cellClass(column)}>
                    {index === linked && hrefOf ? (
                      <a class="whole-row" href={hrefOf(row)}>
                        {column.cell(row)}
                      </a>
                    ) : index === linked && onOpen ? (
                      <button type="button" class="button bare whole-row" onClick={() => onOpen(row)}>
                        {column.cell(row)}
                      </button>
                    ) : (
                      column.cell(row)
                    )}
                  </span>
                ))}
              </div>
            );
          })}
          {after && (
            <div class="after" role="presentation" style={{ top: `${list.getTotalSize()}px` }}>
              {after}
            </div>
          )}
        </div>
      </div>
    </div>
  );
}
