// The date: any day between the first and the last acquisition; on the day of one, that acquisition.

import { $ } from "./dom.js";

const DAY = 86400000;
const day = (milliseconds) => new Date(milliseconds).toISOString().slice(0, 10);

export class Dates {
  constructor(changed) {
    this.changed = changed;
    $("slider").addEventListener("input", () => this.pick(Number($("slider").value)));
    $("day").addEventListener("change", () => $("day").value && this.pick(Date.parse($("day").value) / DAY - this.first));
    $("previous").addEventListener("click", () => this.step(-1));
    $("next").addEventListener("click", () => this.step(1));
  }

  // A result says of its dates that it has them, whether they were acquired or not.
  use({ dates, milliseconds, made }) {
    this.there = made ? "in the result" : "acquired";
    this.exact = dates;
    this.times = milliseconds;
    const several = dates.length > 0;
    $("time").hidden = !several;
    document.body.classList.toggle("has-time", several);
    if (!several) {
      this.t = null;
      return;
    }
    this.first = Math.floor(milliseconds[0] / DAY);
    this.count = Math.floor(milliseconds.at(-1) / DAY) - this.first;
    Object.assign($("slider"), { min: 0, max: Math.max(1, this.count), disabled: this.count === 0 });
    Object.assign($("day"), { min: day(milliseconds[0]), max: day(milliseconds.at(-1)) });
    const places = [...new Set(milliseconds.map((time) => Math.floor(time / DAY) - this.first))];
    const mark = document.createElementNS("http://www.w3.org/2000/svg", "path");
    mark.setAttribute("d", places.map((at) => `M${((at / Math.max(1, this.count)) * 1000).toFixed(2)} 0V10`).join(""));
    $("marks").replaceChildren(mark);
    this.set(this.count);
  }

  // Index of the acquisition of a day since the first, -1 where there is none.
  acquired(at) {
    return this.times.findIndex((time) => Math.floor(time / DAY) - this.first === at);
  }

  set(at) {
    this.at = Math.min(this.count, Math.max(0, Math.round(at)));
    const index = this.acquired(this.at), noon = (this.first + this.at + 0.5) * DAY;
    this.now = index < 0 ? noon : this.times[index];
    this.t = index < 0 ? new Date(noon).toISOString().slice(0, 19) : this.exact[index];
    this.label = day(this.now);
    $("slider").value = this.at;
    $("slider").setAttribute("aria-valuetext", this.label);
    $("day").value = this.label;
    $("kind").textContent = index < 0 ? "computed" : this.there;
    $("kind").title = index < 0 ? "No image was acquired on this day: it is computed from those around it." : "";
  }

  pick(at) {
    this.set(at);
    this.changed();
  }

  step(sign) {
    const days = this.times.map((time) => Math.floor(time / DAY) - this.first);
    const found = sign < 0 ? days.filter((one) => one < this.at).at(-1) : days.find((one) => one > this.at);
    if (found !== undefined) this.pick(found);
  }
}
