import "console:styles";
import { render } from "preact";
import { Shell } from "./app/shell";

const root = document.getElementById("root");
if (root !== null) render(<Shell />, root);
