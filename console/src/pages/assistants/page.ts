import { definePage } from "../../app/pages";

export default definePage({
  path: "assistants",
  title: "Assistants",
  nav: { section: "Build", order: 4, icon: "assistant", key: "a" },
  load: () => import("./view"),
});
