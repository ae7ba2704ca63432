// Fills each <div class="vega-chart" data-spec="…"> with its Vega-Lite chart; vega.js brings vegaEmbed.
document.addEventListener("DOMContentLoaded", async () => {
  for (const place of document.querySelectorAll(".vega-chart")) {
    await vegaEmbed(place, JSON.parse(place.dataset.spec), {
      renderer: "svg", // with a label for screen readers
      actions: { export: true, source: false, compiled: false, editor: false },
    });
    place.querySelector("summary").setAttribute("aria-label", "Save this chart");
    reachable(); // of figures.js
  }
});
