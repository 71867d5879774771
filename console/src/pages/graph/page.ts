import { definePage } from "../../app/pages";

export default definePage({
  path: "graph",
  title: "Graph",
  nav: { section: "Build", order: 2, icon: "graph", key: "r" },
  load: () => import("./view"),
});
