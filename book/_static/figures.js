// A figure that scrolls on a narrow screen is reached by the keyboard, as the theme does it for tables and code.
function reachable() {
  for (const figure of document.querySelectorAll("figure:has(> img), .vega-chart")) {
    if (figure.scrollWidth > figure.clientWidth) figure.tabIndex = 0;
    else figure.removeAttribute("tabindex");
  }
}
addEventListener("load", reachable);
addEventListener("resize", reachable);
