import { definePage } from "../../app/pages";

export default definePage({
  path: "inbox",
  title: "Inbox",
  nav: { section: "Work", order: 3, icon: "inbox", key: "i" },
  load: () => import("./view"),
});
