import { definePage } from "../../app/pages";

export default definePage({
  path: "docs",
  title: "API",
  nav: { section: "Build", order: 6, icon: "docs", key: "d" },
  load: () => import("./view"),
});
