// Fills each <div class="vega-chart" data-spec="…"> with its Vega-Lite chart; vega.js brings vegaEmbed.
document.addEventListener("DOMContentLoaded", () => {
  for (const place of document.querySelectorAll(".vega-chart")) {
    vegaEmbed(place, JSON.parse(place.dataset.spec), {
      renderer: "svg", // with a label for screen readers
      actions: { export: true, source: false, compiled: false, editor: false },
    });
  }
});
