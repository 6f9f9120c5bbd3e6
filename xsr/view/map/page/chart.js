// Line charts as SVG: values over wavelengths, and over dates.

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 272, HEIGHT = 118, LEFT = 34, RIGHT = 6, TOP = 16, BOTTOM = 16;

function draw(tag, attributes, text) {
  const found = document.createElementNS(NS, tag);
  for (const [name, value] of Object.entries(attributes)) found.setAttribute(name, value);
  if (text !== undefined) found.textContent = text;
  return found;
}

function ticks(low, high, count = 3) {
  const raw = (high - low) / count, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((one) => one * power).find((one) => one >= raw);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-6; at += step) found.push(at);
  return found;
}

const short = (value) => String(Number(value.toPrecision(3)));

// curves: [{name, colour, points: [[x, y or null], ...]}]; format: text of a place along x.
export function chart(box, { title, curves, format, now = null, dots = false }) {
  const known = curves.flatMap((one) => one.points).filter(([, y]) => y !== null);
  box.replaceChildren();
  if (!known.length) return;
  const xs = curves.flatMap((one) => one.points.map(([x]) => x)), ys = known.map(([, y]) => y);
  let [low, high] = [Math.min(...ys), Math.max(...ys)], [first, last] = [Math.min(...xs), Math.max(...xs)];
  const pad = (high - low) * 0.08 || Math.abs(high) * 0.1 || 1;
  [low, high] = [low - pad, high + pad];
  if (first === last) [first, last] = [first - 1, last + 1];
  const x = (value) => LEFT + ((value - first) / (last - first)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => HEIGHT - BOTTOM - ((value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title });
  svg.append(draw("text", { x: 0, y: 9, class: "title" }, title));
  for (const at of ticks(low, high)) {
    svg.append(draw("path", { class: "axis", d: `M${LEFT} ${y(at)}H${WIDTH - RIGHT}` }));
    svg.append(draw("text", { x: LEFT - 4, y: y(at) + 3, "text-anchor": "end" }, short(at)));
  }
  svg.append(draw("text", { x: LEFT, y: HEIGHT - 3 }, format(first)));
  svg.append(draw("text", { x: WIDTH - RIGHT, y: HEIGHT - 3, "text-anchor": "end" }, format(last)));
  if (now !== null) svg.append(draw("path", { class: "now", d: `M${x(now)} ${TOP}V${HEIGHT - BOTTOM}` }));
  curves.forEach((one, number) => {
    const points = one.points.filter(([, value]) => value !== null).sort(([a], [b]) => a - b);
    const line = points.map(([a, b]) => `${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("L");
    svg.append(draw("path", { class: "curve", stroke: one.colour, d: `M${line}` }));
    if (dots || points.length === 1)
      for (const [a, b] of points.length < 80 ? points : [])
        svg.append(draw("circle", { cx: x(a), cy: y(b), r: 2, fill: one.colour }));
    svg.append(draw("text", { x: WIDTH - RIGHT - 44 * (curves.length - 1 - number), y: 9, "text-anchor": "end"}, one.name));
    svg.lastChild.style.fill = one.colour;
  });
  box.append(svg);
}
