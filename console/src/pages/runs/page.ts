import { definePage } from "../../app/pages";

export default definePage({
  path: "runs",
  title: "Runs",
  nav: { section: "Work", order: 2, icon: "timeline", key: "u" },
  load: () => import("./view"),
});
