import { definePage } from "../../app/pages";

export default definePage({
  path: "log",
  title: "Log",
  nav: { section: "Operate", order: 1, icon: "log", key: "l" },
  load: () => import("./view"),
});
