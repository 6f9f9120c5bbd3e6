// Values at a click: a spectrum, a series and a table.

import { chart } from "./chart.js";
import { $, failed, make } from "./dom.js";
import { get } from "./server.js";

const COLOURS = { input: "var(--quiet)", liif: "var(--accent)", spread: "#c77d0a" };
const THREE = ["#d5473f", "#3f9c4a", "#3a74d8"];

export class Values {
  constructor(map) {
    this.map = map;
    this.marker = L.circleMarker([0, 0], { radius: 5, weight: 2, color: "#fff", fillColor: "#d5473f", fillOpacity: 1, interactive: false });
    this.place = null;
  }

  at(latlng, look) {
    this.place = latlng;
    this.marker.setLatLng(latlng).addTo(this.map);
    $("values").open = true;
    return this.refresh(look, true);
  }

  forget() {
    this.place = null;
    this.marker.remove();
    $("point").hidden = true;
    $("hint").hidden = false;
  }

  async refresh({ cube, about, t, now, bands }, moved = false) {
    if (!this.place) return;
    const { lat, lng: lon } = this.place, request = (this.request = Symbol("request"));
    try {
      const point = await get(`point/${encodeURIComponent(cube)}`, { lon, lat, t });
      if (request !== this.request) return;
      this.spectrum(point, about);
      if (about.dates.length > 1 && (moved || this.known !== cube))
        this.history = await get(`series/${encodeURIComponent(cube)}`, { lon, lat });
      if (request !== this.request) return;
      this.known = cube;
      this.series(about, now, bands);
    } catch (error) {
      failed(error);
    }
  }

  spectrum({ lon, lat, ...layers }, about) {
    $("hint").hidden = true;
    $("point").hidden = false;
    $("where").textContent = `${lat.toFixed(5)}° N, ${lon.toFixed(5)}° E`;
    const named = Object.entries(layers).filter(([, values]) => values && typeof values === "object");
    const waves = about.bands.every((band) => about.wavelengths[band]);
    const where = (band) => (waves ? about.wavelengths[band] : about.bands.indexOf(band));
    chart($("spectrum"), {
      title: waves ? "Spectrum (nm)" : "Bands",
      dots: true,
      format: (at) => (waves ? `${Math.round(at)}` : about.bands[Math.round(at)] ?? ""),
      curves: named.map(([name, values]) => ({
        name,
        colour: COLOURS[name] ?? "var(--text)",
        points: about.bands.map((band) => [where(band), values[band] ?? null]),
      })),
    });
    const heads = ["Band", ...named.map(([name]) => name)];
    $("table").tHead.replaceChildren(make("tr", {}, ...heads.map((text, n) => make("th", { textContent: text, className: n ? "number" : "" }))));
    $("table").tBodies[0].replaceChildren(
      ...about.bands.map((band) =>
        make("tr", {}, make("td", { textContent: band }), ...named.map(([, values]) => make("td", { className: "number", textContent: values[band]?.toFixed(4) ?? "no data" }))),
      ),
    );
  }

  series(about, now, bands) {
    const box = $("series");
    box.hidden = about.dates.length < 2 || !this.history;
    if (box.hidden) return;
    const times = this.history.dates.map((text) => Date.parse(`${text}Z`));
    chart(box, {
      title: "Acquisitions",
      now,
      dots: true,
      format: (at) => new Date(at).toISOString().slice(0, 10),
      curves: bands.map((band, number) => ({
        name: band,
        colour: bands.length === 3 ? THREE[number] : "var(--accent)",
        points: times.map((time, index) => [time, this.history.bands[band][index]]),
      })),
    });
  }
}
