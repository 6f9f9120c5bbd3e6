// The page: what is chosen, and what follows from it.

import { Area } from "./area.js";
import { Dates } from "./dates.js";
import { $, failed, notice, options } from "./dom.js";
import { Pictures, why } from "./pictures.js";
import { begin, get } from "./server.js";
import { Values } from "./values.js";
import { Work } from "./work.js";

const NAMES = { liif: "super-resolved", bicubic: "bicubic", input: "original pixels", spread: "spread" };
const TAGS = { liif: "super-resolved", bicubic: "bicubic", input: "original pixels", spread: "spread" };
const MIXES = [["Near infrared, red, green", ["B08", "B04", "B03"]], ["Short-wave infrared", ["B12", "B8A", "B04"]], ["Red edge", ["B07", "B05", "B04"]]];
const SETTLE = 120;

let cubes = {};
let timer = 0;
const dates = new Dates(() => later());
const pictures = new Pictures($("map"), { failed: tileFailed });
const values = new Values(pictures.map);
const area = new Area(pictures.map);
const work = new Work({ area, look, made });

function look() {
  const cube = $("cube").value, grey = $("preset").value.startsWith("1:");
  const bands = grey ? [$("preset").value.slice(2)] : ["red", "green", "blue"].map((id) => $(id).value);
  return { cube, about: cubes[cube], t: dates.t, now: dates.now ?? null, bands };
}

function draw() {
  const { cube, about, t, bands } = look();
  const [low, high] = [$("low").value, $("high").value];
  const query = { t, bands: bands.join(","), stretch: low !== "" && high !== "" ? `${low},${high}` : "" };
  const main = $("layer").value, under = main !== "input" && about.layers.includes("input");
  pictures.show("under", { cube, about, layer: under ? "input" : "", query });  // until the others are there
  const when = dates.label ? `, ${dates.label}` : "";
  for (const [side, id] of [["main", "layer"], ["before", "before"]]) {
    const layer = $(id).value;
    pictures.show(side, { cube, about, layer, query, label: layer && TAGS[layer] + when });
  }
  values.refresh(look());
}

// Dragging a slider requests the tiles of where it rests.
function later() {
  clearTimeout(timer);
  timer = setTimeout(draw, SETTLE);
}

const known = new Set();

async function tileFailed(layer, source) {
  const key = `${$("cube").value} ${layer}`;
  if (known.has(key)) return;
  known.add(key);
  const text = await why(source).catch((error) => error.message);
  if (text) notice(text, true);
  else known.delete(key);
}

function choose(name) {
  const about = cubes[name];
  if (about.error) return notice(`${about.title}: ${about.error}`, true);
  const { bands, rgb, stretch, layers } = about;
  document.title = `${about.title} · xsr`;
  const usual = about.made ? "input" : layers.includes("liif") ? "liif" : "bicubic";
  if (about.unavailable.liif) notice(`${about.unavailable.liif} Shown: ${NAMES[usual]}.`);
  options($("layer"), layers.map((one) => [one, NAMES[one] ?? one]), usual);
  options($("before"), [["", "nothing"], ...layers.map((one) => [one, NAMES[one] ?? one])], about.made ? "" : "input");
  const mixes = MIXES.filter(([, wanted]) => wanted.every((band) => bands.includes(band)));
  options($("preset"), [
    ...(rgb.length === 3 ? [["3:" + rgb, "Natural colours"]] : []),
    ...mixes.map(([text, wanted]) => ["3:" + wanted, text]),
    ...(bands.length >= 3 ? [["3:", "Any three"]] : []),
    ...bands.map((band) => ["1:" + band, `${band} alone`]),
  ], rgb.length === 3 ? "3:" + rgb : "1:" + rgb[0]);
  ["red", "green", "blue"].forEach((id, n) => options($(id), bands.map((band) => [band, band]), rgb[n] ?? bands[Math.min(n, bands.length - 1)]));
  mix();
  [$("low").value, $("high").value] = stretch.map((one) => Number(one.toPrecision(3)));
  pictures.credit(about.attribution);
  dates.use(about);
  values.forget();
  pictures.fit(about.bounds);
  draw();
}

function mix() {
  const three = $("preset").value;
  $("channels").hidden = !three.startsWith("3:");
  if (three.length > 2 && three.startsWith("3:"))
    three.slice(2).split(",").forEach((band, n) => ($(["red", "green", "blue"][n]).value = band));
}

async function load() {
  const state = await get("");
  cubes = state.cubes;
  options($("cube"), Object.entries(cubes).map(([name, { title }]) => [name, title]), $("cube").value);
  state.files.forEach((file) => work.offer(file));
  return state;
}

async function made(name) {
  await load();
  $("cube").value = name;
  choose(name);
}

for (const id of ["layer", "before", "low", "high"]) $(id).addEventListener("change", draw);
for (const id of ["red", "green", "blue"])
  $(id).addEventListener("change", () => {
    $("preset").value = "3:";
    draw();
  });
$("preset").addEventListener("change", () => {
  mix();
  [$("low").value, $("high").value] = ["", ""];
  draw();
});
$("auto").addEventListener("click", () => {
  [$("low").value, $("high").value] = ["", ""];
  draw();
});
$("cube").addEventListener("change", () => choose($("cube").value));
$("fold").addEventListener("click", () => {
  document.body.classList.toggle("folded");
  pictures.map.invalidateSize();
});
pictures.map.on("click", ({ latlng }) => !area.drawing.active && values.at(latlng, look()));

begin()
  .then(load)
  .then((state) => {
    choose($("cube").value);
    if (state.job?.state === "running") return work.follow();
  })
  .catch(failed);
