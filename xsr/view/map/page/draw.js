// Drawing an area: a rectangle by dragging, a polygon by clicks; Escape gives up.

export class Drawing {
  constructor(map, { done, state }) {
    Object.assign(this, { map, done, state, mode: null, corners: [], shape: null });
    map.on("mousedown", (event) => this.mode === "rectangle" && this.press(event));
    map.on("mousemove", (event) => this.mode && this.move(event));
    map.on("mouseup", () => this.mode === "rectangle" && this.corners.length && this.finish());
    map.on("click", (event) => this.mode === "polygon" && this.add(event));
    map.on("dblclick", () => this.mode === "polygon" && this.finish());
    document.addEventListener("keydown", (event) => {
      if (!this.mode) return;
      if (event.key === "Escape") this.stop();
      if (event.key === "Enter" && this.mode === "polygon") this.finish();
    });
  }

  begin(mode) {
    this.stop();
    this.mode = mode;
    this.map.getContainer().classList.add("drawing");
    this.map.doubleClickZoom.disable();
    if (mode === "rectangle") this.map.dragging.disable();
    this.state(mode);
  }

  press({ latlng }) {
    this.corners = [latlng];
    this.show(L.rectangle([latlng, latlng], STYLE));
  }

  add({ latlng }) {
    const last = this.corners.at(-1);
    if (last && this.map.latLngToContainerPoint(last).distanceTo(this.map.latLngToContainerPoint(latlng)) < 3) return;
    this.corners.push(latlng);
    this.show(L.polygon(this.corners, STYLE));
  }

  move({ latlng }) {
    if (!this.corners.length) return;
    if (this.mode === "rectangle") this.shape.setBounds(L.latLngBounds(this.corners[0], (this.end = latlng)));
    else this.shape.setLatLngs([...this.corners, latlng]);
  }

  show(shape) {
    this.shape?.remove();
    this.shape = shape.addTo(this.map);
  }

  finish() {
    let ring = this.corners;
    if (this.mode === "rectangle" && this.end) {
      const bounds = L.latLngBounds(ring[0], this.end);
      ring = [bounds.getSouthWest(), bounds.getSouthEast(), bounds.getNorthEast(), bounds.getNorthWest()];
    }
    const whole = ring.length >= 3;
    this.stop();
    if (whole) this.done({ type: "Polygon", coordinates: [[...ring, ring[0]].map(({ lng, lat }) => [lng, lat])] });
  }

  // Whether a click belongs to the drawing; the one that ends it comes after the mouse button is up.
  get active() {
    return Boolean(this.mode || this.ending);
  }

  stop() {
    this.shape?.remove();
    this.ending = this.mode !== null;
    setTimeout(() => (this.ending = false), 50);
    Object.assign(this, { mode: null, corners: [], shape: null, end: null });
    this.map.getContainer().classList.remove("drawing");
    this.map.dragging.enable();
    setTimeout(() => this.map.doubleClickZoom.enable(), 0);
    this.state(null);
  }
}

export const STYLE = { color: "#ffb000", weight: 2, fillOpacity: 0.06, interactive: false };
