// Runs before anything is drawn, so that a page of the other theme never flashes.
try {
  const chosen = localStorage.getItem("langlog.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset["theme"] = chosen;
} catch {
  // storage is switched off: the system's theme holds
}
