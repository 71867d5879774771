import { definePage } from "../../app/pages";

export default definePage({
  path: "threads/:thread/diff",
  title: "Checkpoint diff",
  under: "threads",
  load: () => import("./view"),
});
