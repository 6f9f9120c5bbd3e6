// The area of interest: drawn, uploaded, or typed.

import { Drawing, STYLE } from "./draw.js";
import { $, failed, notice } from "./dom.js";

const LARGEST = 5e6;
const RADIUS = 6371008.8;

// Area of a ring in m², on a sphere.
function extent(ring) {
  const rad = Math.PI / 180;
  let sum = 0;
  for (let n = 0; n + 1 < ring.length; n++) {
    const [[a, b], [c, d]] = [ring[n], ring[n + 1]];
    sum += (c - a) * rad * (2 + Math.sin(b * rad) + Math.sin(d * rad));
  }
  return Math.abs((sum * RADIUS ** 2) / 2);
}

export class Area {
  constructor(map) {
    this.map = map;
    this.value = null;
    this.drawing = new Drawing(map, {
      done: (geometry) => this.set(geometry),
      state: (mode) => ["rectangle", "polygon"].forEach((name) => $(name).classList.toggle("active", name === mode)),
    });
    $("rectangle").addEventListener("click", () => this.drawing.begin("rectangle"));
    $("polygon").addEventListener("click", () => {
      this.drawing.begin("polygon");
      notice("Click the corners; double-click or Enter ends.");
    });
    $("visible").addEventListener("click", () => this.box(map.getBounds()));
    $("clear").addEventListener("click", () => this.set(null));
    $("upload").addEventListener("change", () => this.upload().catch(failed));
    $("box").addEventListener("change", () => this.typed());
  }

  box(bounds) {
    const [w, s, e, n] = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()];
    this.set({ type: "Polygon", coordinates: [[[w, s], [e, s], [e, n], [w, n], [w, s]]] });
  }

  typed() {
    const numbers = $("box").value.split(/[\s,;]+/).filter(Boolean).map(Number);
    if (!numbers.length) return this.set(null);
    if (numbers.length !== 4 || numbers.some((one) => !Number.isFinite(one)) || numbers[0] >= numbers[2] || numbers[1] >= numbers[3])
      return notice("Expected four numbers: west, south, east, north.", true);
    this.box(L.latLngBounds([numbers[1], numbers[0]], [numbers[3], numbers[2]]));
    this.map.fitBounds(this.shown.getBounds());
  }

  async upload() {
    const [file] = $("upload").files;
    if (!file) return;
    if (file.size > LARGEST) throw new Error(`${file.name} has ${(file.size / 1e6).toFixed(1)} MB; expected at most 5 MB.`);
    let content;
    try {
      content = JSON.parse(await file.text());
    } catch {
      throw new Error(`${file.name} is no GeoJSON.`);
    }
    this.set(content);
    this.map.fitBounds(this.shown.getBounds());
  }

  set(value) {
    let shown = null;
    try {
      shown = value && L.geoJSON(value, { style: STYLE, interactive: false, pointToLayer: () => null });
      if (shown && !shown.getBounds().isValid()) throw new Error("it holds no area");
    } catch (error) {
      return notice(`The area cannot be read: ${error.message}. Expected GeoJSON in degrees.`, true);
    }
    this.shown?.remove();
    this.shown = shown?.addTo(this.map) ?? null;
    this.value = value;
    $("size").textContent = value ? this.describe() : "No area: all of the cube.";
    if (!value) $("box").value = $("upload").value = "";
  }

  describe() {
    const bounds = this.shown.getBounds(), [w, s, e, n] = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()];
    $("box").value = [w, s, e, n].map((one) => one.toFixed(5)).join(", ");
    const polygons = [];
    this.shown.eachLayer(({ feature }) => {
      const { type, coordinates } = feature.geometry;
      polygons.push(...(type === "MultiPolygon" ? coordinates : type === "Polygon" ? [coordinates] : []));
    });
    const size = polygons.reduce((sum, [outer, ...holes]) => sum + extent(outer) - holes.reduce((less, hole) => less + extent(hole), 0), 0);
    return `${(size / 1e6).toPrecision(3)} km², ${Math.round(size / 100).toLocaleString("en")} pixels of 10 m.`;
  }
}
