import { definePage } from "../../app/pages";

export default definePage({
  path: "store",
  title: "Store",
  nav: { section: "Build", order: 5, icon: "store", key: "s" },
  load: () => import("./view"),
});
