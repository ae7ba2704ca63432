// What the reader does with the playground: draw or take a digit, move it, and look.

const SQUARE = [[-1, -1], [1, -1], [1, 1], [-1, 1]]; // (x, y), clockwise from the top left
const SCALES = [0.4, 1.5], REACH = 1; // of the digit's place: its scale, and how far its centre goes

// The canvas-to-digit map of a digit that is scaled, turned clockwise by degrees and centred at (x, y).
function placement({scale, turn, x, y}, ratio) {
  const angle = turn * Math.PI / 180, half = scale * ratio;
  const cos = Math.cos(angle) / half, sin = Math.sin(angle) / half;
  return [cos, sin, -cos * x - sin * y, -sin, cos, sin * x - cos * y];
}

// Where a point of the digit, normalized, lies on the canvas: the other way round.
function shown({scale, turn, x, y}, ratio, [u, v]) {
  const angle = turn * Math.PI / 180, half = scale * ratio;
  const cos = half * Math.cos(angle), sin = half * Math.sin(angle);
  return [cos * u - sin * v + x, sin * u + cos * v + y];
}

const limited = (value, low, high) => Math.min(Math.max(value, low), high);

function play(root, files, names, colors, digits) {
  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  part("missing").hidden = Boolean(files);
  if (!files) return;
  const networks = opened(files), pad = part("draw"), place = part("place");
  const side = part("input").width, ratio = pad.width / side, columns = {};
  const START = {scale: 0.9, turn: -35, x: 0.1, y: -0.05};  // all handles are inside
  let digit = {data: new Float32Array(pad.width ** 2), size: pad.width}, pose = {...START}, waiting = false;

  // --- drawing ---

  function grey(canvas, {data, size}, low, high) {
    const pixels = new ImageData(size, size);
    data.forEach((value, i) => pixels.data.set([...Array(3).fill(255 * (value - low) / (high - low)), 255], 4 * i));
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  }

  const outlined = (points) => "M" + points.map((p) => p.map((n) => n.toFixed(4))).join("L") + "z";
  const twice = (d, kind = "") => `<path class="casing ${kind}" d="${d}"/><path class="line ${kind}" d="${d}"/>`;

  function gridded(theta) {
    let dots = "";
    for (let i = 0; i < 36; i++) dots += `M${source(theta, centre(i % 6, 6), centre(Math.floor(i / 6), 6))}h0`;
    return twice(outlined(SQUARE.map(([x, y]) => source(theta, x, y)))) + twice(dots, "dots");
  }

  function handles() {
    const corners = SQUARE.map((corner) => shown(pose, ratio, corner));
    const top = shown(pose, ratio, [0, -1.35]), d = outlined(corners);
    const stalk = outlined([shown(pose, ratio, [0, -1]), top]);
    const circle = ([x, y], kind, radius, look) =>
      `<circle class="${look}" data-drag="${kind}" cx="${x}" cy="${y}" r="${radius}"/>`;
    const spot = (point, kind) => circle(point, kind, 0.06, kind) + circle(point, kind, 0.17, "reach");
    return `<path class="box" data-drag="move" d="${d}"/>${twice(d)}${twice(stalk)}` +
      corners.map((corner) => spot(corner, "corner")).join("") + spot(top, "turn");
  }

  function draw() {
    waiting = false;
    const input = placed(digit, placement(pose, ratio), side), bypassed = part("bypassed").checked, said = [];
    grey(pad, digit, 0, 255);
    grey(part("input"), input, -1, 1);
    place.innerHTML = handles();
    for (const [name, column] of Object.entries(columns)) {
      const {theta, output, probabilities} = answer(networks, name, input, bypassed);
      const best = probabilities.indexOf(Math.max(...probabilities)), sure = Math.round(100 * probabilities[best]);
      if (name !== "original") {
        grey(column.input, input, -1, 1);
        grey(column.output, output, -1, 1);
        column.grid.innerHTML = gridded(theta);
        column.output.parentNode.classList.toggle("discarded", bypassed);
        column.reads.textContent = bypassed ? "the classifier reads the input" : "the classifier reads the output";
        column.theta.textContent = theta.map((n) => n.toFixed(2).replace("-", "\u2212")).join(" ");
      } else {
        grey(column.input, input, -1, 1);
      }
      column.best.innerHTML = `${best} <small>${sure}&nbsp;%</small>`;
      column.bars.forEach((bar, k) => { bar.style.width = `${100 * probabilities[k]}%`; });
      column.bars[0].parentNode.setAttribute("aria-label",
        `Probabilities: ${probabilities.map((p, k) => `${k} ${Math.round(100 * p)} %`).join(", ")}`);
      said.push(`${names[name]}: ${best}, ${sure} %`);
    }
    part("said").textContent = said.join("; ") + ".";
    Object.assign(root.dataset, {pose: JSON.stringify(pose), said: said.join("; ")});
  }

  function redraw() {
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  }

  // --- the reader's hand ---

  function at(event, element) { // normalized (x, y)
    const box = element.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width * 2 - 1, (event.clientY - box.top) / box.height * 2 - 1];
  }

  function dragged(element, begin) {
    element.addEventListener("pointerdown", (event) => {
      const move = begin(at(event, element), event.target.dataset.drag);
      if (!move) return;
      event.preventDefault();
      element.setPointerCapture(event.pointerId);
      const follow = (next) => { move(at(next, element)); redraw(); };
      const end = () => element.removeEventListener("pointermove", follow);
      element.addEventListener("pointermove", follow);
      for (const kind of ["pointerup", "pointercancel"]) element.addEventListener(kind, end, {once: true});
      redraw();
    });
  }

  function posed(change) {
    Object.assign(pose, change);
    pose.scale = limited(pose.scale, ...SCALES);
    pose.turn = (pose.turn + 540) % 360 - 180;
    for (const axis of "xy") pose[axis] = limited(pose[axis], -REACH, REACH);
    redraw();
  }

  dragged(place, ([x, y], kind) => {
    const first = {...pose}, polar = (u, v) => [Math.hypot(u - first.x, v - first.y), Math.atan2(v - first.y, u - first.x)];
    const [radius, angle] = polar(x, y);
    if (kind === "corner" || kind === "turn") {
      return ([u, v]) => {
        const [far, next] = polar(u, v), turn = first.turn + (next - angle) * 180 / Math.PI;
        posed(kind === "turn" ? {turn} : {turn, scale: first.scale * far / radius});
      };
    }
    return kind && (([u, v]) => posed({x: first.x + u - x, y: first.y + v - y}));
  });

  const STEP = 2 / side; // a pixel of the canvas
  const KEYS = {
    ArrowLeft: () => ({x: pose.x - STEP}), ArrowRight: () => ({x: pose.x + STEP}),
    ArrowUp: () => ({y: pose.y - STEP}), ArrowDown: () => ({y: pose.y + STEP}),
    PageUp: () => ({turn: pose.turn - 5}), PageDown: () => ({turn: pose.turn + 5}),
    "+": () => ({scale: pose.scale * 1.05}), "-": () => ({scale: pose.scale / 1.05}),
  };
  KEYS["="] = KEYS["+"];
  place.addEventListener("keydown", (event) => {
    if (!(event.key in KEYS) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    posed(KEYS[event.key]());
  });

  // A brush of about 2.5 pixels, as wide as MNIST's strokes, along a line.
  function stroke([x0, y0], [x1, y1]) {
    const pixel = (n) => (n + 1) * pad.width / 2 - 0.5;
    const [ax, ay, bx, by] = [x0, y0, x1, y1].map(pixel), length = (bx - ax) ** 2 + (by - ay) ** 2;
    digit.data.forEach((value, i) => {
      const x = i % pad.width, y = Math.floor(i / pad.width);
      const t = length ? limited(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0, 1) : 0;
      const away = Math.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay));
      digit.data[i] = Math.max(value, 255 * limited(1.75 - away, 0, 1));
    });
  }

  dragged(pad, (point) => {
    if (chosen !== undefined) clear();
    stroke(point, point);
    let last = point;
    return (next) => { stroke(last, next); last = next; };
  });

  let chosen;
  function choose(k) {
    chosen = k;
    [...part("digits").children].forEach((button, i) => button.setAttribute("aria-pressed", i === k));
    digit.data = Float32Array.from(k === undefined ? Array(pad.width ** 2).fill(0)
      : Array.from(atob(digits[k]), (c) => c.charCodeAt(0)));
    redraw();
  }
  const clear = () => choose(undefined);

  // --- the page's parts ---

  digits.forEach((_, k) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = k;
    button.addEventListener("click", () => choose(k));
    part("digits").append(button);
  });

  for (const [name, title] of Object.entries(names)) {
    const column = document.createElement("div");
    column.style.setProperty("--own", colors[name]);
    column.dataset.network = name;
    const picture = (kind, text) => `<div class="picture"><canvas data-part="${kind}" width="${side}" height="${side}"
      role="img" aria-label="${title}: ${text}"></canvas><svg viewBox="-1 -1 2 2" aria-hidden="true"></svg></div>`;
    column.innerHTML = `<p class="name"><b>${title}</b></p><p class="class" data-part="best"></p>
      <small>input${networks[name].transformer ? " and grid" : ""}</small>
      ${picture("input", "the input and where it is read")}<small>output</small>` +
      (networks[name].transformer ? picture("output", "the transformer's output") : `<div class="none">none</div>`) +
      `<small data-part="reads">the classifier reads the input</small><div class="bars" role="img">` +
      digits.map((_, k) => `<span>${k}</span><i></i>`).join("") + `</div>` +
      (networks[name].transformer ? `<small>theta: <span data-part="theta"></span></small>` : "");
    part("answers").append(column);
    const own = (kind) => column.querySelector(`[data-part="${kind}"]`);
    columns[name] = {input: own("input"), output: own("output"), grid: column.querySelector("svg"), reads: own("reads"),
      theta: own("theta"), best: own("best"), bars: [...column.querySelectorAll(".bars i")]};
  }

  part("clear").addEventListener("click", clear);
  part("bypassed").addEventListener("change", redraw);
  part("reset").addEventListener("click", () => posed({scale: 1, turn: 0, x: 0, y: 0}));
  part("random").addEventListener("click", () => {
    const between = (low, high) => low + Math.random() * (high - low), scale = between(0.7, 1.2);
    const room = 1 - scale * ratio; // as in the training
    posed({scale, turn: between(-45, 45), x: between(-room, room), y: between(-room, room)});
  });
  choose(4);
}
