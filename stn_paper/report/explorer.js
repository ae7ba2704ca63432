// A spatial transformer's sampler in the browser, with the convention of `transforms`.

// Marks of the corners, named as matplotlib names them, in a square from -1 to 1.
const MARKS = {
  o: "M-1 0a1 1 0 1 0 2 0a1 1 0 1 0-2 0z",
  s: "M-.9-.9h1.8v1.8h-1.8z",
  v: "M-1.1-.9h2.2L0 1.1z",
  "^": "M-1.1.9h2.2L0-1.1z",
};
const CORNERS = [[-1, -1], [1, -1], [1, 1], [-1, 1]]; // (x, y), clockwise from the top left

// [scale * R(rotation) * (1 shear; 0 1) | shift], rotation in degrees, shift normalized.
function thetaOf({rotation, scale, x, y, shear}) {
  const angle = rotation * Math.PI / 180;
  const cos = scale * Math.cos(angle), sin = scale * Math.sin(angle);
  return [[cos, shear * cos - sin, x], [sin, shear * sin + cos, y]];
}

// The input's point that an output's point (x, y) is read from, both normalized.
function source(theta, [x, y]) {
  return theta.map((row) => row[0] * x + row[1] * y + row[2]);
}

// The middle of pixel `index` of `count`, normalized: the image's edges are -1 and 1.
function centre(index, count) {
  return (2 * index + 1) / count - 1;
}

// RGBA pixels of the output, as large as the input {data, width, height}: bilinear, mid-grey outside.
function sampled({data, width, height}, theta) {
  const output = new Uint8ClampedArray(data.length).fill(255);
  for (let i = 0; i < width * height; i++) {
    const point = [centre(i % width, width), centre(Math.floor(i / width), height)];
    const [x, y] = source(theta, point);
    const column = ((x + 1) * width - 1) / 2, row = ((y + 1) * height - 1) / 2;
    const left = Math.floor(column), top = Math.floor(row);
    const sum = [127.5, 127.5, 127.5];
    for (const r of [top, top + 1]) {
      for (const c of [left, left + 1]) {
        if (r < 0 || r >= height || c < 0 || c >= width) continue;
        const weight = (1 - Math.abs(row - r)) * (1 - Math.abs(column - c));
        for (let k = 0; k < 3; k++) sum[k] += weight * (data[4 * (r * width + c) + k] - 127.5);
      }
    }
    output.set(sum, 4 * i);
  }
  return output;
}

// Let the sliders inside `root` move the pictures. `styles`: a mark and a colour for each corner;
// `every`: pixels between the drawn points of the grid.
function explore(root, styles, every) {
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const sliders = [...root.querySelectorAll("input")];
  const output = part("output").getContext("2d");
  let photo;

  function outlined(theta) {
    const path = "M" + CORNERS.map((corner) => source(theta, corner)).join("L") + "z";
    return `<path class="casing" d="${path}"/><path class="line" d="${path}"/>`;
  }

  function dotted(theta) {
    let path = "";
    for (let row = every >> 1; row < photo.height; row += every) {
      for (let column = every >> 1; column < photo.width; column += every) {
        path += "M" + source(theta, [centre(column, photo.width), centre(row, photo.height)]) + "h0";
      }
    }
    return `<path class="dots casing" d="${path}"/><path class="dots line" d="${path}"/>`;
  }

  function marked(theta, size) {
    return CORNERS.map((corner, i) => {
      const place = `translate(${source(theta, corner)}) scale(${size})`;
      return `<path class="mark" fill="${styles[i][1]}" transform="${place}" d="${MARKS[styles[i][0]]}"/>`;
    }).join("");
  }

  function draw() {
    const theta = thetaOf(Object.fromEntries(sliders.map((s) => [s.name, s.valueAsNumber])));
    for (const slider of sliders) {
      const text = digits(slider.valueAsNumber, slider.name === "rotation" ? 0 : 2);
      slider.setAttribute("aria-valuetext", `${text} ${slider.dataset.unit}`);
      part(slider.name).textContent = text;
    }
    const numbers = theta.flat().map((number) => digits(number, 2));
    part("theta").querySelectorAll("span").forEach((span, i) => { span.textContent = numbers[i]; });
    part("theta").setAttribute("aria-label", `theta, first row ${numbers.slice(0, 3).join(", ")}; ` +
      `second row ${numbers.slice(3).join(", ")}`);
    part("region").innerHTML = outlined(theta) + dotted(theta) + marked(theta, 0.07);
    output.putImageData(new ImageData(sampled(photo, theta), photo.width, photo.height), 0, 0);
  }

  function digits(number, places) {
    return number.toFixed(places).replace(/^-(0\.?0*)$/, "$1").replace("-", "\u2212");
  }

  part("edges").innerHTML = marked([[1, 0, 0], [0, 1, 0]], 0.047);
  const image = new Image();
  image.onload = () => {
    const input = part("input").getContext("2d");
    for (const canvas of [input.canvas, output.canvas]) {
      [canvas.width, canvas.height] = [image.width, image.height];
    }
    input.drawImage(image, 0, 0);
    photo = input.getImageData(0, 0, image.width, image.height);
    draw();
    root.addEventListener("input", draw);
    part("reset").addEventListener("click", () => {
      for (const slider of sliders) slider.value = slider.name === "scale" ? 1 : 0;
      draw();
    });
  };
  image.src = root.dataset.photo;
}
