// The frame around every page: navigation, banner, keys, credentials, and the page that the address names.
import { signal } from "@preact/signals";
import type { ComponentType } from "preact";
import { Component } from "preact";
import { useEffect, useLayoutEffect, useMemo, useState } from "preact/hooks";
import pages from "console:pages";
import { feed } from "../api/changes";
import { connection, refused } from "../api/client";
import icon from "../icon.svg";
import { Button, Failure, Loading, Nothing, PageHead } from "../ui/basic";
import { Icon } from "../ui/icon";
import { Toasts } from "../ui/toast";
import { CredentialsDialog } from "./credentials";
import { GoDialog } from "./go";
import { HelpDialog } from "./help";
import type { Page, ViewProps } from "./pages";
import { base, current, followLinks, navigate, path, START, to } from "./router";
import { onKey, useShortcuts } from "./shortcuts";
import { nextTheme, theme } from "./theme";

const SECTIONS = ["Work", "Build", "Operate"] as const;
const open = signal<"help" | "go" | "credentials" | null>(null);

export function Shell() {
  // before the page is painted: a key that is pressed as soon as something is there counts
  useLayoutEffect(() => {
    const key = (event: KeyboardEvent): void => {
      if (event.key === "k" && (event.ctrlKey || event.metaKey)) {
        event.preventDefault();
        open.value = "go";
      } else onKey(event);
    };
    addEventListener("keydown", key);
    return () => removeEventListener("keydown", key);
  }, []);
  const keys = useMemo(
    () => [
      ...pages.flatMap((page) => (page.nav ? [{ keys: `g ${page.nav.key}`, does: `Go to ${page.title}`, run: () => navigate(base + page.path) }] : [])),
      { keys: "/", does: "Filter", run: () => document.querySelector<HTMLElement>("[data-filter]")?.focus() },
      { keys: "?", does: "Show all keys", run: () => (open.value = "help") },
    ],
    [],
  );
  useShortcuts(keys);
  const found = current.value;
  useEffect(() => {
    document.title = `${found?.page.title ?? "Not found"} · langlog`;
  }, [found?.page.title]);
  return (
    <div class="frame" onClick={followLinks}>
      <a class="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>
        Skip to the page
      </a>
      <Side page={found?.page ?? null} />
      <div class="main">
        <Banner />
        <main id="main" tabIndex={-1}>
          {found === null ? <Lost /> : <View key={found.page.path} page={found.page} params={found.params} />}
        </main>
      </div>
      {open.value === "help" && <HelpDialog onClose={() => close("help")} />}
      {open.value === "go" && <GoDialog onClose={() => close("go")} />}
      {(open.value === "credentials" || refused.value !== null) && <CredentialsDialog onClose={() => close("credentials")} />}
      <Toasts />
    </div>
  );
}

/** The browser says that a dialog is closed after it is: another one may be open by then. */
function close(which: "help" | "go" | "credentials"): void {
  if (open.peek() === which) open.value = null;
}

function Side({ page }: { page: Page | null }) {
  const marked = page?.under ?? page?.path;
  return (
    <nav class="side" aria-label="Pages">
      <a class="brand" href={to(START)}>
        <img src={icon} alt="" width={20} height={20} /> langlog
      </a>
      {SECTIONS.map((section) => {
        const entries = pages.filter((one) => one.nav?.section === section).sort((a, b) => (a.nav?.order ?? 0) - (b.nav?.order ?? 0));
        if (entries.length === 0) return null;
        return (
          <div key={section}>
            <h2 id={`nav-${section}`}>{section}</h2>
            <ul aria-labelledby={`nav-${section}`}>
              {entries.map((one) => (
                <li key={one.path}>
                  <a href={base + one.path} aria-current={one.path === marked ? "page" : undefined} title={`g ${one.nav?.key}`}>
                    <Icon name={one.nav?.icon ?? "docs"} /> {one.title}
                  </a>
                </li>
              ))}
            </ul>
          </div>
        );
      })}
      <div class="foot">
        <Button kind="bare" icon={theme.value === "dark" ? "moon" : theme.value === "light" ? "sun" : "system"} style={{ justifyContent: "flex-start" }} onClick={nextTheme} title="Light, dark, or the system's theme">
          <span class="words">Theme: {theme.value}</span>
        </Button>
        <Button kind="bare" icon="lock" style={{ justifyContent: "flex-start" }} onClick={() => (open.value = "credentials")} title="The header of all requests">
          <span class="words">Credentials</span>
        </Button>
        <Button kind="bare" icon="search" style={{ justifyContent: "flex-start" }} onClick={() => (open.value = "go")} title="A page, or a thread by its id">
          <span class="words">Go to</span> <span class="push kbd words">Ctrl K</span>
        </Button>
        <Button kind="bare" icon="keys" style={{ justifyContent: "flex-start" }} onClick={() => (open.value = "help")} title="All keys">
          <span class="words">Keys</span> <span class="push kbd words">?</span>
        </Button>
      </div>
    </nav>
  );
}

function Banner() {
  const state = connection.value;
  return (
    <div aria-live="polite">
      {state === "lost" && <div class="banner">Connection lost. Trying again; what you see may be old.</div>}
      {state === "back" && <div class="banner back">Connection is back.</div>}
      {state === "up" && feed.value === "off" && <span class="visually-hidden">Lists are not live on this server.</span>}
    </div>
  );
}

/** Loads the page's code when it is first opened. */
function View({ page, params }: { page: Page; params: Record<string, string> }) {
  const [view, setView] = useState<ComponentType<ViewProps> | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const [tries, setTries] = useState(0);
  useEffect(() => {
    let gone = false;
    setError(null);
    page.load().then(
      (loaded) => !gone && setView(() => loaded.default),
      () => !gone && setError(new Error("This page cannot be loaded. If the server has been updated, reload the console.")),
    );
    return () => {
      gone = true;
    };
  }, [page, tries]);
  if (error) return <Failure error={error} again={() => setTries(tries + 1)} />;
  if (view === null) return <Loading />;
  const Shown = view;
  return (
    <Caught key={path.value}>
      <Shown params={params} />
    </Caught>
  );
}

/** A page that fails shows why; the frame stays. */
class Caught extends Component<{ children: preact.ComponentChildren }, { error: Error | null }> {
  override state = { error: null };

  static override getDerivedStateFromError(error: Error): { error: Error } {
    return { error };
  }

  override render() {
    const { error } = this.state as { error: Error | null };
    return error ? <Failure error={`This page has failed: ${error.message}`} again={() => this.setState({ error: null })} /> : this.props.children;
  }
}

function Lost() {
  return (
    <div class="page">
      <PageHead title="Not found" />
      <Nothing title="There is no page at this address">
        <p>
          <a href={to(START)}>Go to the threads</a>
        </p>
      </Nothing>
    </div>
  );
}
