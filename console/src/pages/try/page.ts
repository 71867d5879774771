import { definePage } from "../../app/pages";

export default definePage({
  path: "try",
  title: "Try it",
  nav: { section: "Build", order: 1, icon: "chat", key: "y" },
  load: () => import("./view"),
});
