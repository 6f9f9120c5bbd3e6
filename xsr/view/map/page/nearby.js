// Tiles around the map, requested one at a time once its own are there: they are computed before it is moved to them.

const SIZE = 256;

export class Nearby {
  constructor(map) {
    this.map = map;
    this.wanted = new AbortController();
    map.on("movestart zoomstart", () => this.stop());
  }

  stop() {
    this.wanted.abort();
  }

  async request(tiles) {
    this.stop();
    const { signal } = (this.wanted = new AbortController());
    for (const place of this.around(tiles)) {
      if (document.hidden) return;
      try {
        await fetch(tiles.getTileUrl(place), { signal, priority: "low" });
      } catch {
        return; // the map moved, or the server is gone
      }
    }
  }

  // The ring of tiles around those on view, as far as the layer reaches.
  around({ options: { bounds, maxNativeZoom } }) {
    const z = this.map.getZoom();
    if (z > maxNativeZoom) return [];
    const [[south, west], [north, east]] = bounds;
    const [first, last] = [[north, west], [south, east]].map((corner) => tile(this.map.project(corner, z)));
    const view = this.map.getPixelBounds(), [from, to] = [tile(view.min), tile(view.max)];
    const found = [];
    for (let y = Math.max(first.y, from.y - 1); y <= Math.min(last.y, to.y + 1); y++)
      for (let x = Math.max(first.x, from.x - 1); x <= Math.min(last.x, to.x + 1); x++)
        if (x < from.x || x > to.x || y < from.y || y > to.y) found.push({ x, y, z });
    return found;
  }
}

const tile = ({ x, y }) => ({ x: Math.floor(x / SIZE), y: Math.floor(y / SIZE) });
