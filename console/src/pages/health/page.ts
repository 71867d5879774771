import { definePage } from "../../app/pages";

export default definePage({
  path: "health",
  title: "Health",
  nav: { section: "Operate", order: 2, icon: "health", key: "h" },
  load: () => import("./view"),
});
