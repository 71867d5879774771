// Light, dark, or what the system says.
import { effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";
const KEY = "langlog.theme";

export const theme = signal<Theme>(stored());

function stored(): Theme {
  const chosen = document.documentElement.dataset["theme"];
  return chosen === "light" || chosen === "dark" ? chosen : "system";
}

effect(() => {
  const chosen = theme.value;
  if (chosen === "system") delete document.documentElement.dataset["theme"];
  else document.documentElement.dataset["theme"] = chosen;
  try {
    if (chosen === "system") localStorage.removeItem(KEY);
    else localStorage.setItem(KEY, chosen);
  } catch {
    // without storage the choice holds until the page is closed
  }
});

export function nextTheme(): void {
  theme.value = theme.peek() === "system" ? "light" : theme.peek() === "light" ? "dark" : "system";
}
