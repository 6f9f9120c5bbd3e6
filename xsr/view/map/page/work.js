// Jobs: searching, fetching, sharpening and packing, one at a time; their progress and their results.

import { $, failed, make, notice } from "./dom.js";
import { address, cancel, get, post } from "./server.js";

const PAUSE = 400;
const DOES = { search: "Searching", fetch: "Fetching", sharpen: "Computing", pack: "Packing" };

export class Work {
  constructor({ area, look, made }) {
    Object.assign(this, { area, look, made });
    $("search").addEventListener("click", () => this.begin("search", this.wish()));
    $("fetch").addEventListener("click", () => this.begin("fetch", { ...this.wish(), dates: this.ticked() }));
    $("sharpen").addEventListener("click", () => this.begin("sharpen", this.recipe()));
    $("pack").addEventListener("click", () => this.begin("pack", { cube: this.look().cube, format: $("format").value }));
    $("cancel").addEventListener("click", () => cancel().then((job) => this.show(job)).catch(failed));
    $("every").addEventListener("change", () => this.boxes().forEach((box) => (box.checked = $("every").checked)));
    $("method").addEventListener("change", () => this.method());
    this.method();
  }

  method() {
    $("scale").disabled = !["liif", "bicubic"].includes($("method").value);
  }

  wish() {
    return {
      url: $("url").value,
      collection: $("collection").value,
      first: $("first").value,
      last: $("last").value,
      max_cloud: $("cloud").value,
      bands: $("wanted").value,
      area: this.area.value,
    };
  }

  recipe() {
    const { cube, t } = this.look();
    return {
      cube,
      method: $("method").value,
      scale: Number($("scale").value),
      t: $("which").value === "shown" ? t : null,
      area: this.area.value,
    };
  }

  boxes() {
    return [...$("dates").querySelectorAll("input")];
  }

  ticked() {
    return this.boxes().filter((box) => box.checked).map((box) => box.value);
  }

  async begin(kind, content) {
    try {
      if (kind === "search") $("found").hidden = true;
      this.show(await post(`jobs/${kind}`, content));
      await this.follow();
    } catch (error) {
      failed(error);
    }
  }

  async follow() {
    let job = await get("job");
    while (job && job.state === "running") {
      this.show(job);
      await new Promise((next) => setTimeout(next, PAUSE));
      job = await get("job");
    }
    this.show(job);
    if (job?.state === "done") await this.finish(job);
    if (job?.state === "failed") notice(job.message, true);
  }

  show(job) {
    const running = job?.state === "running";
    $("work").hidden = !job || job.state === "done";
    $("work").classList.toggle("failed", job?.state === "failed");
    if (!job) return;
    const steps = job.total > 1 ? ` (${job.done} of ${job.total})` : "";
    $("message").textContent = running ? `${job.message || DOES[job.kind]}${steps}` : job.message;
    $("cancel").hidden = $("progress").hidden = !running;
    if (job.total) Object.assign($("progress"), { max: job.total, value: job.done });
    else $("progress").removeAttribute("value");
    for (const id of ["search", "fetch", "sharpen", "pack"]) $(id).disabled = running;
  }

  async finish({ kind, result }) {
    if (kind === "search") this.list(result.dates);
    if (kind === "pack") this.offer(result.file, true);
    if (result.cube) await this.made(result.cube);
  }

  list(dates) {
    $("found").hidden = false;
    $("every").checked = true;
    $("dates").replaceChildren(
      ...dates.map(({ key, time, cloud, platform, items }) =>
        make(
          "tr",
          { title: items.join("\n") },
          make("td", {}, make("input", { type: "checkbox", value: key, checked: true, ariaLabel: time })),
          make("td", { textContent: time.slice(0, 10) }),
          make("td", { textContent: cloud === null ? "–" : `${Math.round(cloud)} %` }),
          make("td", { textContent: platform }),
        ),
      ),
    );
  }

  offer(file, now = false) {
    const link = make("a", { href: address(`files/${encodeURIComponent(file)}`), textContent: file, download: file });
    [...$("files").children].filter((one) => one.textContent === file).forEach((one) => one.remove());
    $("files").append(make("li", {}, link));
    if (now) link.click();
  }
}
