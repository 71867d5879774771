// Markdown of a message, made safe: a model wrote it, or an attacker through the model. The libraries are loaded when the
// first text needs them. What is drawn is bounded: the rest of a long text is a click away, as plain text.
import { Fragment } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { counted, isMarked, whyUndrawn, whyUnparsed } from "./markup";

/** Characters of a plain text that are shown at first. */
const PLAIN_SHOWN = 20_000;

/** Draws a text. Throws what the parser throws, and `Costly`. */
type Draw = (text: string) => DocumentFragment;
let loaded: Promise<Draw> | null = null;
let draw: Draw | null = null;

function load(): Promise<Draw> {
  loaded ??= Promise.all([import("marked"), import("dompurify")]).then(([{ Marked }, { default: purify }]) => {
    // HTML inside Markdown is shown as the text it is; what is drawn comes from Markdown alone, and is cleaned all the same
    const html = ({ text }: { text: string }): string => (/^<br\s*\/?>$/i.test(text) ? "<br>" : escaped(text));
    draw = (text) => {
      const marked = new Marked({ gfm: true, breaks: true, async: false, renderer: { html }, extensions: counted() });
      const fragment = purify.sanitize(marked.parse(text) as string, {
        RETURN_DOM_FRAGMENT: true,
        USE_PROFILES: { html: true },
        FORBID_TAGS: ["style", "form", "input", "button", "textarea", "select", "video", "audio", "iframe", "object", "embed", "dialog", "map", "area"],
        FORBID_ATTR: ["style", "id", "class", "name", "srcset", "ping", "target", "autofocus", "tabindex", "popover", "popovertarget"],
        ALLOW_DATA_ATTR: false,
        ALLOW_ARIA_ATTR: false,
        ALLOWED_URI_REGEXP: /^(https?:|mailto:|data:image\/(png|jpeg|gif|webp);)/i,
      });
      for (const link of fragment.querySelectorAll("a")) {
        const address = link.getAttribute("href");
        if (address === null || !/^(https?:|mailto:)/i.test(address)) link.removeAttribute("href");
        else {
          link.target = "_blank";
          link.rel = "noopener noreferrer nofollow";
          link.title = address;
        }
      }
      // an image from elsewhere would tell its server who reads this, and when: the policy blocks it, a link stands in its place
      for (const image of fragment.querySelectorAll("img")) {
        const address = image.getAttribute("src") ?? "";
        if (address.startsWith("data:")) continue;
        const stand = document.createElement("span");
        stand.textContent = `[image ${image.alt || "without a description"}: ${address.slice(0, 200)}]`;
        image.replaceWith(stand);
      }
      for (const wide of fragment.querySelectorAll("pre, table")) wide.setAttribute("tabindex", "0");
      return fragment;
    };
    return draw;
  });
  return loaded;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

export function Markdown({ text }: { text: string }) {
  const place = useRef<HTMLDivElement>(null);
  const [refused, setRefused] = useState<{ text: string; why: string } | null>(null);
  const marked = useMemo(() => isMarked(text), [text]);
  const unparsed = useMemo(() => whyUnparsed(text), [text]);
  const why = marked ? (unparsed ?? (refused?.text === text ? refused.why : null)) : null;
  const wanted = marked && why === null;
  const [ready, setReady] = useState(draw !== null);
  useEffect(() => {
    if (!wanted || ready) return;
    let gone = false;
    load().then(
      () => !gone && setReady(true),
      () => undefined, // plain text is readable too
    );
    return () => {
      gone = true;
    };
  }, [wanted, ready]);
  const drawn = wanted && ready && draw !== null;
  useEffect(() => {
    if (!drawn || draw === null) return;
    try {
      place.current?.replaceChildren(draw(text));
    } catch (error) {
      setRefused({ text, why: whyUndrawn(error) }); // a person may follow it
    }
  }, [drawn, text]);
  if (drawn) return <div key="drawn" class="markdown" ref={place} />;
  return (
    <Fragment key="plain">
      {why !== null && <p class="quiet">Shown without its formatting: {why}.</p>}
      <Plain text={text} />
    </Fragment>
  );
}

/** A text as it is, with its line breaks; long ones in parts. */
export function Plain({ text }: { text: string }) {
  const [shown, setShown] = useState(PLAIN_SHOWN);
  return (
    <div class="plain-text">
      {text.slice(0, shown)}
      {text.length > shown && (
        <>
          {"… "}
          <button type="button" class="button small" onClick={() => setShown(shown * 10)}>
            Show more ({(text.length - shown).toLocaleString("en")} characters)
          </button>
        </>
      )}
    </div>
  );
}
