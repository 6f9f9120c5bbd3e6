// The map: tiles of the cube, those that they are compared with, and the bar between them.

import { address } from "./server.js";
import { make } from "./dom.js";
import { Nearby } from "./nearby.js";

export class Pictures {
  constructor(box, { failed }) {
    this.failed = failed;
    this.map = L.map(box, { zoomSnap: 1, maxZoom: 22, worldCopyJump: false, attributionControl: false });
    this.credits = L.control.attribution({ position: "bottomright", prefix: "Leaflet · xsr" }).addTo(this.map);
    L.control.scale({ imperial: false, position: "bottomleft" }).addTo(this.map);
    this.sides = { under: this.pane("under", 240), main: this.pane("main", 250), before: this.pane("before", 260) };
    this.nearby = new Nearby(this.map);
    this.share = 0.5;
    this.bar = make("div", { className: "swipe", tabIndex: 0, hidden: true });
    this.tags = { before: make("div", { className: "tag", hidden: true }), main: make("div", { className: "tag", hidden: true }) };
    for (const [name, value] of Object.entries({ role: "slider", "aria-label": "Where the two pictures meet", "aria-valuemin": 0, "aria-valuemax": 100 }))
      this.bar.setAttribute(name, value);
    this.busy = make("div", { id: "busy" });
    box.parentElement.append(this.busy, this.bar, this.tags.before, this.tags.main);
    this.listen();
  }

  pane(name, zIndex) {
    const pane = this.map.createPane(name);
    pane.style.zIndex = zIndex;
    return { name, pane, layer: null, next: null };
  }

  listen() {
    this.map.on("move zoom resize", () => this.place());
    this.bar.addEventListener("pointerdown", (event) => {
      this.bar.setPointerCapture(event.pointerId);
      this.bar.onpointermove = (moved) => {
        const box = this.map.getContainer().getBoundingClientRect();
        this.swipe((moved.clientX - box.left) / box.width);
      };
    });
    this.bar.addEventListener("pointerup", () => (this.bar.onpointermove = null));
    this.bar.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -0.02, ArrowRight: 0.02 }[event.key];
      if (step) this.swipe(this.share + step);
    });
  }

  swipe(share) {
    this.share = Math.min(1, Math.max(0, share));
    this.bar.setAttribute("aria-valuenow", Math.round(this.share * 100));
    this.place();
  }

  // The side that is compared lies above the other, and is cut off right of the bar.
  place() {
    const { pane, layer, next } = this.sides.before, { x, y } = this.map.getSize();
    const shown = Boolean(layer || next);
    this.bar.hidden = this.tags.before.hidden = this.tags.main.hidden = !shown;
    if (!shown) return;
    const at = this.share * x, [a, b] = [[0, 0], [at, y]].map((corner) => this.map.containerPointToLayerPoint(corner));
    pane.style.clipPath = `polygon(${a.x}px ${a.y}px, ${b.x}px ${a.y}px, ${b.x}px ${b.y}px, ${a.x}px ${b.y}px)`;
    this.bar.style.left = `${at}px`;
    this.tags.before.style.right = `${x - at + 18}px`;
    this.tags.main.style.left = `${at + 18}px`;
  }

  // Tiles of one side; what was shown stays until the new ones are there.
  show(side, { cube, about, layer, query, label }) {
    const one = this.sides[side];
    this.nearby.stop();
    one.next?.remove();
    one.next = null;
    if (this.tags[side]) this.tags[side].textContent = label ?? "";
    if (!layer) {
      one.layer?.remove();
      one.layer = null;
      this.place();
      return;
    }
    const [west, south, east, north] = about.bounds;
    const tiles = L.tileLayer(address(`tiles/${encodeURIComponent(cube)}/${layer}/`) + "{z}/{x}/{y}" + address("", query).replace(/^[^?]*/, ""), {
      pane: one.name,
      bounds: [[south, west], [north, east]],
      maxNativeZoom: about.max_zoom,
      maxZoom: 22,
      noWrap: true,
      className: layer === "input" ? "pixels" : "",
    });
    tiles.on("tileerror", ({ tile }) => one.next !== tiles && one.layer !== tiles ? null : this.failed(layer, tile.src));
    tiles.on("loading load", () => this.working());
    tiles.once("load", () => {
      one.layer?.remove();
      [one.layer, one.next] = [tiles, null];
    });
    if (side === "main") tiles.on("load", () => this.nearby.request(tiles));
    one.next = tiles.addTo(this.map);
    this.place();
  }

  working() {
    this.busy.hidden = !Object.values(this.sides).some((one) => [one.layer, one.next].some((tiles) => tiles?.isLoading()));
  }

  credit(text) {
    if (this.text) this.credits.removeAttribution(this.text);
    const escaped = make("i", { textContent: text });
    this.text = text ? escaped.innerHTML : "";
    if (this.text) this.credits.addAttribution(this.text);
  }

  fit([west, south, east, north]) {
    this.map.fitBounds([[south, west], [north, east]], { paddingTopLeft: [8, 8], paddingBottomRight: [8, 58] });
  }
}

export async function why(source) {
  const response = await fetch(source);
  if (response.ok || response.status === 499) return null;
  const body = await response.json().catch(() => ({}));
  return body.error || `tile: ${response.statusText}`;
}
