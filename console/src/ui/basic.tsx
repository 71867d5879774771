// Buttons, badges, times, states of a view: the small parts of every page.
import type { ButtonHTMLAttributes, ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { ago, exact, shortId } from "./format";
import { Icon, type IconName } from "./icon";
import { toast } from "./toast";

interface ButtonProps extends Omit<ButtonHTMLAttributes<HTMLButtonElement>, "icon"> {
  kind?: "plain" | "main" | "danger" | "bare";
  small?: boolean;
  icon?: IconName;
  children?: ComponentChildren;
}

export function Button({ kind = "plain", small, icon, children, class: extra, type = "button", ...rest }: ButtonProps) {
  return (
    <button {...rest} type={type} class={`button ${kind}${small ? " small" : ""}${extra ? ` ${String(extra)}` : ""}`}>
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

/** A button that begins a change on the server: it waits meanwhile, and says what went wrong. */
export function ActionButton({ act, done, ...rest }: Omit<ButtonProps, "onClick"> & { act: () => Promise<unknown>; done?: string }) {
  const [busy, setBusy] = useState(false);
  const onClick = async (): Promise<void> => {
    setBusy(true);
    try {
      await act();
      if (done) toast(done);
    } catch (error) {
      toast((error as Error).message, "bad");
    } finally {
      setBusy(false);
    }
  };
  return <Button {...rest} disabled={busy || rest.disabled} aria-busy={busy} onClick={() => void onClick()} />;
}

export type Tone = "quiet" | "ok" | "busy" | "wait" | "bad";

const TONES: Record<string, Tone> = {
  idle: "quiet", busy: "busy", interrupted: "wait", error: "bad",
  pending: "quiet", running: "busy", success: "ok", timeout: "bad",
};

export function Badge({ tone = "quiet", plain, children }: { tone?: Tone; plain?: boolean; children: ComponentChildren }) {
  return <span class={`badge ${tone}${plain ? " plain" : ""}`}>{children}</span>;
}

/** The status of a thread or run. */
export function Status({ of }: { of: string }) {
  return <Badge tone={TONES[of] ?? "quiet"}>{of}</Badge>;
}

/** How long ago, going on by itself; the exact time when pointed at. */
export function Time({ at }: { at: string | null | undefined }) {
  const [, again] = useState(0);
  useEffect(() => {
    const timer = setInterval(() => again((n) => n + 1), 15_000);
    return () => clearInterval(timer);
  }, []);
  if (!at) return <span class="quiet">–</span>;
  return (
    <time dateTime={at} title={exact(at)} class="number nowrap">
      {ago(at, Date.now())}
    </time>
  );
}

export function CopyButton({ text, label, children }: { text: string | (() => string); label: string; children?: ComponentChildren }) {
  const [copied, setCopied] = useState(false);
  const onClick = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(typeof text === "string" ? text : text());
      setCopied(true);
      setTimeout(() => setCopied(false), 1500);
    } catch {
      toast("The browser does not let this page copy. Mark the text and copy it yourself.", "bad");
    }
  };
  return (
    <Button kind="bare" small class="copy" icon={copied ? "check" : "copy"} aria-label={children ? undefined : label} title={label} onClick={() => void onClick()}>
      {children}
    </Button>
  );
}

/** The beginning of an id, whole when pointed at, and a button that copies it. */
export function Id({ id, href, copy = true }: { id: string; href?: string; copy?: boolean }) {
  const short = shortId(id);
  return (
    <span class="row nowrap mono" style={{ gap: "2px", display: "inline-flex" }} title={id}>
      {href ? <a href={href}>{short}</a> : short}
      {copy && <CopyButton text={id} label={`Copy ${id}`} />}
    </span>
  );
}

export function Nothing({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="nothing">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

export function Failure({ error, again }: { error: Error | string; again?: () => void }) {
  return (
    <div class="failure" role="alert">
      <span>{typeof error === "string" ? error : error.message}</span>
      {again && (
        <Button small onClick={again} icon="refresh">
          Try again
        </Button>
      )}
    </div>
  );
}

export function Loading({ lines = 4 }: { lines?: number }) {
  return (
    <div class="loading" role="status" aria-label="Loading">
      {Array.from({ length: lines }, (_, n) => (
        <i key={n} style={{ width: `${92 - ((n * 23) % 50)}%` }} />
      ))}
    </div>
  );
}

/** The head of a page: where it stands, and what can be done. */
export function PageHead({ title, trail, children }: { title: ComponentChildren; trail?: { text: string; href: string }[]; children?: ComponentChildren }) {
  return (
    <header class="page-head">
      <div class="trail">
        {trail?.map((step) => (
          <span class="step" key={step.href}>
            <a href={step.href}>{step.text}</a> /
          </span>
        ))}
        <h1 class="clip">{title}</h1>
      </div>
      {children && <div class="actions">{children}</div>}
    </header>
  );
}

export function Field({ label, hint, wrong, children }: { label: string; hint?: ComponentChildren; wrong?: string | null | undefined; children: ComponentChildren }) {
  return (
    <label class="field">
      <span>{label}</span>
      {children}
      {wrong ? <span class="wrong" role="alert">{wrong}</span> : hint ? <span class="hint">{hint}</span> : null}
    </label>
  );
}
