// Tabs as the ARIA practices say: arrows move, one of them is in the order of the Tab key.
import { useId } from "preact/hooks";
import type { ComponentChildren } from "preact";

export interface Tab {
  key: string;
  title: ComponentChildren;
}

export function Tabs({ tabs, chosen, onChoose, label, children }: { tabs: Tab[]; chosen: string; onChoose: (key: string) => void; label: string; children: ComponentChildren }) {
  const id = useId();
  const move = (event: KeyboardEvent): void => {
    const at = tabs.findIndex((tab) => tab.key === chosen);
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    const next = tabs[(at + step + tabs.length) % tabs.length];
    if (step === 0 || next === undefined) return;
    event.preventDefault();
    onChoose(next.key);
    document.getElementById(`${id}-${next.key}`)?.focus();
  };
  return (
    <>
      <div class="tabs" role="tablist" aria-label={label} onKeyDown={move}>
        {tabs.map(({ key, title }) => (
          <button key={key} type="button" role="tab" id={`${id}-${key}`} aria-selected={key === chosen} aria-controls={`${id}-panel`} tabIndex={key === chosen ? 0 : -1} onClick={() => onChoose(key)}>
            {title}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-${chosen}`} class="scroll" style={{ flex: 1 }} tabIndex={0}>
        {children}
      </div>
    </>
  );
}
