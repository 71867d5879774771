// Definition of a page. Each folder of src/pages has a page.ts that exports one by default; the build finds them (console:pages).
import type { ComponentType } from "preact";
import type { IconName } from "../ui/icon";

/** `params`: the parts of the address that the path names with a colon, decoded. */
export interface ViewProps {
  params: Record<string, string>;
}

export interface Page {
  /** Below /console/, without a slash at either end; `:name` is a parameter. */
  path: string;
  title: string;
  /** An entry of the navigation; none for pages that others lead to. */
  nav?: {
    section: "Work" | "Build" | "Operate";
    /** Places it within the section. */
    order: number;
    icon: IconName;
    /** Opens the page after `g`. One letter, not taken by another page. */
    key: string;
  };
  /** Which entry of the navigation is marked while the page is open: its path. The page's own, unless said. */
  under?: string;
  load: () => Promise<{ default: ComponentType<ViewProps> }>;
}

export function definePage(page: Page): Page {
  return page;
}
