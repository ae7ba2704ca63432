// Fills each <div class="vega-chart" data-spec="…"> with its Vega-Lite chart; vega.js brings vegaEmbed.
// Charts with several panels fit a phone; on a wide screen the panels are enlarged by this factor, if the page has room.
const LARGER = 1.7;
const AXES = 130; // pixels beside the panels

document.addEventListener("DOMContentLoaded", async () => {
  for (const place of document.querySelectorAll(".vega-chart")) {
    const chart = JSON.parse(place.dataset.spec);
    if (chart.columns > 1 && innerWidth > 600) {
      const room = (place.parentElement.clientWidth - AXES) / chart.columns / chart.spec.width;
      const factor = Math.max(1, Math.min(LARGER, room));
      chart.spec.width *= factor;
      chart.spec.height *= factor;
    }
    await vegaEmbed(place, chart, {
      renderer: "svg", // with a label for screen readers
      actions: { export: true, source: false, compiled: false, editor: false },
    });
    place.querySelector("summary").setAttribute("aria-label", "Save this chart");
    reachable(); // of figures.js
  }
});
