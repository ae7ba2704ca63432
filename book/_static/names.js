// The hyphens of these names are no place to break a line.
const NAMES = /([LV]-STN|CIFAR-10|Caltech-101)/;

document.addEventListener("DOMContentLoaded", () => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) if (NAMES.test(walker.currentNode.data)) texts.push(walker.currentNode);
  for (const text of texts) {
    if (text.parentElement.closest("pre, script, style, svg, table.interactive")) continue;
    text.replaceWith(
      ...text.data.split(NAMES).map((part, i) => {
        if (i % 2 === 0) return part;
        const name = document.createElement("span");
        name.className = "name";
        name.textContent = part;
        return name;
      })
    );
  }
});
