import { definePage } from "../../app/pages";

export default definePage({
  path: "threads/:thread/travel",
  title: "Time travel",
  under: "threads",
  load: () => import("./view"),
});
