import { definePage } from "../../app/pages";

export default definePage({
  path: "replay",
  title: "Replay",
  nav: { section: "Operate", order: 3, icon: "replay", key: "p" },
  load: () => import("./view"),
});
