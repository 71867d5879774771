import { definePage } from "../../app/pages";

export default definePage({
  path: "threads/:thread/events",
  title: "Events",
  under: "threads",
  load: () => import("./view"),
});
