// Networks of the playground: the layers that `export_layers` lists, with their weights, in plain loops.
// A tensor is {data, channels, size}: channels of size x size numbers, row by row.

// The numbers of base64 text, as float32.
function decoded(text) {
  return new Float32Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
}

function tensor(channels, size) {
  return {data: new Float32Array(channels * size * size), channels, size};
}

const LAYERS = {
  conv({data, channels, size}, [outputs, kernel, stride, padding], take) {
    const weight = take(outputs * channels * kernel * kernel), bias = take(outputs);
    const out = tensor(outputs, Math.floor((size + 2 * padding - kernel) / stride) + 1);
    for (let o = 0, i = 0; o < outputs; o++) {
      for (let y = 0; y < out.size; y++) {
        for (let x = 0; x < out.size; x++, i++) {
          let sum = bias[o];
          for (let c = 0; c < channels; c++) {
            for (let r = 0; r < kernel; r++) {
              const row = y * stride + r - padding;
              if (row < 0 || row >= size) continue;
              for (let k = 0; k < kernel; k++) {
                const column = x * stride + k - padding;
                if (column < 0 || column >= size) continue;
                sum += weight[((o * channels + c) * kernel + r) * kernel + k] * data[(c * size + row) * size + column];
              }
            }
          }
          out.data[i] = sum;
        }
      }
    }
    return out;
  },
  linear({data}, [outputs], take) {
    const weight = take(outputs * data.length), bias = take(outputs), out = tensor(outputs, 1);
    for (let o = 0; o < outputs; o++) {
      let sum = bias[o];
      for (let i = 0; i < data.length; i++) sum += weight[o * data.length + i] * data[i];
      out.data[o] = sum;
    }
    return out;
  },
  pool({data, channels, size}) { // the largest of 2 x 2
    const out = tensor(channels, size >> 1);
    for (let i = 0; i < out.data.length; i++) {
      const x = i % out.size, y = Math.floor(i / out.size) % out.size, c = Math.floor(i / out.size ** 2);
      const at = (c * size + 2 * y) * size + 2 * x;
      out.data[i] = Math.max(data[at], data[at + 1], data[at + size], data[at + size + 1]);
    }
    return out;
  },
  relu({data, channels, size}) {
    return {data: data.map((value) => Math.max(value, 0)), channels, size};
  },
};

// What the layers make of a tensor; each takes its share of the weights, in order.
function forward({layers, weights}, input) {
  let place = 0;
  const take = (count) => weights.subarray(place, place += count);
  return layers.reduce((x, [kind, ...sizes]) => LAYERS[kind](x, sizes, take), input);
}

// The middle of pixel `index` of `count`, normalized: the image's edges are -1 and 1.
function centre(index, count) {
  return (2 * index + 1) / count - 1;
}

// The input's point that an output's point (x, y) is read from; theta has six numbers, row by row.
function source(theta, x, y) {
  return [theta[0] * x + theta[1] * y + theta[2], theta[3] * x + theta[4] * y + theta[5]];
}

// A picture of size x size pixels that theta reads from `image`, one channel: bilinear, 0 outside.
function warp({data, size: side}, theta, size = side) {
  const out = tensor(1, size);
  for (let i = 0; i < out.data.length; i++) {
    const [x, y] = source(theta, centre(i % size, size), centre(Math.floor(i / size), size));
    const column = ((x + 1) * side - 1) / 2, row = ((y + 1) * side - 1) / 2;
    const left = Math.floor(column), top = Math.floor(row);
    for (const r of [top, top + 1]) {
      for (const c of [left, left + 1]) {
        if (r < 0 || r >= side || c < 0 || c >= side) continue;
        out.data[i] += (1 - Math.abs(row - r)) * (1 - Math.abs(column - c)) * data[r * side + c];
      }
    }
  }
  return out;
}

// A digit on the canvas as the networks see it: whole grey levels, then -1 (black) to 1 (white).
function placed(digit, theta, size) {
  const canvas = warp(digit, theta, size);
  canvas.data = canvas.data.map((level) => Math.round(level) / 127.5 - 1);
  return canvas;
}

const IDENTITY = [1, 0, 0, 0, 1, 0];

// Theta, the transformer's output and the classes' probabilities for an input; bypassed as in the release.
function answer(networks, name, input, bypassed) {
  const {transformer, classifier} = networks[bypassed ? "original" : name];
  const theta = transformer ? Array.from(forward(transformer, input).data) : IDENTITY;
  const output = warp(input, theta);
  const logits = Array.from(forward(classifier, transformer ? output : input).data);
  const top = Math.max(...logits), powers = logits.map((value) => Math.exp(value - top));
  const sum = powers.reduce((a, b) => a + b);
  return {theta, output, logits, probabilities: powers.map((value) => value / sum)};
}

// The networks of the exported files {name: {transformer, classifier}}, their weights decoded.
function opened(files) {
  const part = (p) => p && {layers: p.layers, weights: decoded(p.weights)};
  const networks = Object.entries(files).map(([name, file]) =>
    [name, {transformer: part(file.transformer), classifier: part(file.classifier)}]);
  return Object.fromEntries(networks);
}
