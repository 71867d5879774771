import { definePage } from "../../app/pages";

export default definePage({
  path: "inbox",
  title: "Inbox",
  nav: { section: "Work", order: 2, icon: "inbox", key: "i" },
  load: () => import("./view"),
});
