import { definePage } from "../../app/pages";

export default definePage({
  path: "threads",
  title: "Threads",
  nav: { section: "Work", order: 1, icon: "threads", key: "t" },
  load: () => import("./view"),
});
