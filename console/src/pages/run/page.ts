import { definePage } from "../../app/pages";

export default definePage({
  path: "threads/:thread/runs/:run",
  title: "Run",
  under: "threads",
  load: () => import("./view"),
});
