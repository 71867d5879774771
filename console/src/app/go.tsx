// Go to a page by its name, or to a thread or run by its id.
import { useState } from "preact/hooks";
import pages from "console:pages";
import { at, call } from "../api/client";
import type { Thread } from "../api/types";
import { Dialog } from "../ui/dialog";
import { base, navigate, to } from "./router";

const ID = /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i;

export function GoDialog({ onClose }: { onClose: () => void }) {
  const [text, setText] = useState("");
  const [chosen, setChosen] = useState(0);
  const [wrong, setWrong] = useState("");
  const wanted = text.trim().toLowerCase();
  const found = pages.filter((page) => page.nav && page.title.toLowerCase().includes(wanted));
  const isId = ID.test(wanted);
  const go = async (): Promise<void> => {
    if (isId) {
      try {
        const thread = await call<Thread>(at`/threads/${wanted}`);
        navigate(to("threads", thread.thread_id));
      } catch (error) {
        setWrong((error as Error).message);
        return;
      }
    } else {
      const page = found[Math.min(chosen, found.length - 1)];
      if (page === undefined) return;
      navigate(base + page.path);
    }
    onClose();
  };
  const key = (event: KeyboardEvent): void => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0 && found.length > 0) {
      event.preventDefault();
      setChosen((chosen + step + found.length) % found.length);
    }
  };
  return (
    <Dialog title="Go to" onClose={onClose}>
      <form
        style={{ padding: 0 }}
        onSubmit={(event) => {
          event.preventDefault();
          void go();
        }}
      >
        <input class="input" aria-label="Page or thread id" placeholder="A page, or the id of a thread" value={text} autofocus autocomplete="off" spellcheck={false} onInput={(event) => { setText(event.currentTarget.value); setChosen(0); setWrong(""); }} onKeyDown={key} />
        {wrong && <p class="quiet" role="alert">{wrong}</p>}
        <ul>
          {isId ? (
            <li>Press Enter to open this thread.</li>
          ) : (
            found.map((page, index) => (
              <li key={page.path} style={{ padding: "3px 6px", borderRadius: "4px", background: index === chosen ? "var(--selected)" : "" }}>
                <a href={base + page.path} onClick={onClose} style={{ display: "block", color: "inherit" }}>
                  {page.title}
                </a>
              </li>
            ))
          )}
        </ul>
      </form>
    </Dialog>
  );
}
