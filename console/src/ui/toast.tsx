// Short messages that go by themselves; failures stay longer.
import { signal } from "@preact/signals";
import { Icon } from "./icon";

interface Toast {
  id: number;
  text: string;
  kind: "good" | "bad";
}

const shown = signal<readonly Toast[]>([]);
let last = 0;

export function toast(text: string, kind: "good" | "bad" = "good"): void {
  const id = (last += 1);
  shown.value = [...shown.peek().slice(-3), { id, text, kind }];
  setTimeout(() => drop(id), kind === "bad" ? 12_000 : 4_000);
}

function drop(id: number): void {
  shown.value = shown.peek().filter((one) => one.id !== id);
}

export function Toasts() {
  return (
    <div class="toasts" aria-live="polite" role="status">
      {shown.value.map(({ id, text, kind }) => (
        <div key={id} class={`toast ${kind}`}>
          <span>{text}</span>
          <button type="button" class="button bare small" aria-label="Dismiss" onClick={() => drop(id)}>
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}
