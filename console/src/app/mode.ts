// Mode of the console that the server allows: LANGLOG_CONSOLE.

/** Whether buttons that change things are hidden. The server's authorisation refuses, not this. */
export const readOnly = document.querySelector<HTMLMetaElement>('meta[name="langlog-console"]')?.content === "read";
