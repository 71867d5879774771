declare module "console:pages" {
  import type { Page } from "./app/pages";
  const pages: Page[];
  export default pages;
}
declare module "console:styles";
declare module "*.svg" {
  const address: string;
  export default address;
}
