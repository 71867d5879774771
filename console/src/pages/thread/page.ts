import { definePage } from "../../app/pages";

export default definePage({
  path: "threads/:thread",
  title: "Thread",
  under: "threads",
  load: () => import("./view"),
});
