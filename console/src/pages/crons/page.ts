import { definePage } from "../../app/pages";

export default definePage({
  path: "crons",
  title: "Crons",
  nav: { section: "Build", order: 3, icon: "cron", key: "c" },
  load: () => import("./view"),
});
