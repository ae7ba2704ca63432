// The hyphens of these names are no place to break a line.
const NAMES = /([LV]-STN|CIFAR-10|Caltech-101)/;

document.addEventListener("DOMContentLoaded", () => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) if (NAMES.test(walker.currentNode.data)) texts.push(walker.currentNode);
  for (const text of texts) {
    if (text.parentElement.closest("pre, script, style, svg, table.interactive")) continue;
    const whole = document.createElement("span"); // one item, as the text was, if its parent is a grid
    for (const [i, part] of text.data.split(NAMES).entries()) {
      if (i % 2 === 0) {
        whole.append(part);
        continue;
      }
      const name = document.createElement("span");
      name.className = "name";
      name.textContent = part;
      whole.append(name);
    }
    text.replaceWith(whole);
  }
});
