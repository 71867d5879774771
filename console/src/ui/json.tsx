// JSON as a tree that opens where it is clicked. Long texts and lists are shown in parts: a value may have a million of anything.
import { useState } from "preact/hooks";
import type { Json } from "../api/types";
import { excerpt } from "./format";

const ENTRIES_SHOWN = 100;
const TEXT_SHOWN = 2_000;
const PREVIEWED = 200;

/** `open`: how many levels are open at first. `preview`: while the value itself is closed, its beginning is shown. */
export function JsonTree({ value, open = 2, name, preview }: { value: Json | undefined; open?: number; name?: string; preview?: boolean }) {
  return (
    <div class="json">
      <Node value={value} open={open} name={name} preview={preview} />
    </div>
  );
}

function Node({ value, open, name, preview }: { value: Json | undefined; open: number; name: string | undefined; preview?: boolean | undefined }) {
  if (value !== null && typeof value === "object") return <Branch value={value} open={open} name={name} preview={preview === true} />;
  return (
    <div class="leaf">
      <Key name={name} />
      <Leaf value={value} />
    </div>
  );
}

function Key({ name }: { name: string | undefined }) {
  return name === undefined ? null : (
    <>
      <span class="key">{name.length > 200 ? `${name.slice(0, 200)}…` : name}</span>:{" "}
    </>
  );
}

function Leaf({ value }: { value: null | boolean | number | string | undefined }) {
  const [shown, setShown] = useState(TEXT_SHOWN);
  if (typeof value === "string") {
    return (
      <span class="text">
        "{value.slice(0, shown)}"
        {value.length > shown && (
          <button type="button" class="more" onClick={() => setShown(shown * 20)}>
            {" "}
            … {(value.length - shown).toLocaleString("en")} more characters
          </button>
        )}
      </span>
    );
  }
  return <span class={typeof value === "number" ? "number" : "word"}>{String(value)}</span>;
}

function Branch({ value, open, name, preview }: { value: Json[] | { [name: string]: Json }; open: number; name: string | undefined; preview: boolean }) {
  const [isOpen, setOpen] = useState(open > 0);
  const [shown, setShown] = useState(ENTRIES_SHOWN);
  const list = Array.isArray(value);
  const keys = list ? null : Object.keys(value);
  const count = keys?.length ?? value.length as number;
  const summary = list ? `[${count}]` : `{${count}}`;
  if (count === 0) {
    return (
      <div class="leaf">
        <Key name={name} />
        {list ? "[]" : "{}"}
      </div>
    );
  }
  const entries: [string, Json][] = isOpen
    ? list
      ? value.slice(0, shown).map((one, index) => [String(index), one])
      : (keys ?? []).slice(0, shown).map((key) => [key, value[key] ?? null])
    : [];
  return (
    <div>
      <button type="button" class="opener" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <Key name={name} />
        <span class="quiet">{preview && !isOpen ? excerpt(value, PREVIEWED) : summary}</span>
      </button>
      {isOpen && (
        <ul>
          {entries.map(([key, one]) => (
            <li key={key}>
              <Node value={one} open={open - 1} name={key} />
            </li>
          ))}
          {count > shown && (
            <li>
              <button type="button" class="more" onClick={() => setShown(shown * 10)}>
                {(count - shown).toLocaleString("en")} more
              </button>
            </li>
          )}
        </ul>
      )}
    </div>
  );
}
