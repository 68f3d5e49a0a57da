"use strict";
// Draws the timeline and the memory map on one time axis, and sorts the tables.  Reads the JSON of the element "data";
// whatever is a name goes through textContent or a canvas, never through markup.
(() => {
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("data").textContent);
  const LANES = { npu: "NPU", load: "DMA load", store: "DMA store", pcie: "PCIe", host: "host", start: "host" };
  const KINDS = {
    resident: { colour: "static", words: "constant that stays in SRAM" },
    constants: { colour: "load", words: "constant loaded in this run" },
    activations: { colour: "npu", words: "activation" },
  };

  // -- what there is to draw, with its times in microseconds ----------------------------------------------------------
  const us = (cycle, step) => data.steps[step][1] + (cycle - data.steps[step][0]) / data.cycles_per_us;
  const [lane, start, end, step, layer, name, bytes, commands] = data.marks;
  const marks = lane.map((l, i) => ({
    lane: l, t0: us(start[i], step[i]), t1: us(end[i], step[i]), cycles: [start[i], end[i]], layer: layer[i],
    name: data.names[name[i]], bytes: bytes[i], commands: commands[i],
  }));
  for (const [l, n, t0, t1, size] of data.pieces) {
    marks.push({ lane: l, t0, t1, layer: -1, name: data.names[n], bytes: size, commands: 0 });
  }
  const bands = data.bands[0].map((n, i) => ({
    name: data.names[n], kind: data.kinds[data.bands[1][i]], address: data.bands[2][i], size: data.bands[3][i],
    cycles: [data.bands[4][i], data.bands[5][i]], t0: data.bands[6][i], t1: data.bands[7][i],
  }));
  const rowOf = (m) => (data.lanes[m.lane] === "start" ? "host" : data.lanes[m.lane]); // the host starts a run
  const used = ["host", "pcie", "load", "store", "npu"].filter((l) => marks.some((m) => rowOf(m) === l));
  const rows = used.map((l) => marks.filter((m) => rowOf(m) === l).sort((a, b) => a.t0 - b.t0));
  const total = data.total_us || 1;

  // -- text -------------------------------------------------------------------------------------------------------------
  const grouped = (n) => String(Math.round(n)).replace(/\B(?=(\d{3})+$)/g, ",");
  const digits = (x) => (x < 10 ? x.toFixed(2) : x < 1000 ? x.toFixed(1) : grouped(x));
  const time = (t) => (t >= 1e6 ? `${digits(t / 1e6)} s` : t >= 1e4 ? `${digits(t / 1e3)} ms` : `${digits(t)} µs`);
  const size = (n) => {
    for (const [unit, one] of [["GiB", 1 << 30], ["MiB", 1 << 20], ["KiB", 1 << 10]]) if (n >= one) return `${digits(n / one)} ${unit}`;
    return `${n} B`;
  };
  const range = ([a, b]) => `[${grouped(a)}, ${grouped(b)})`;

  const describeMark = (m) => {
    const of = m.layer >= 0 ? data.layers[m.layer] : null;
    const lines = [of ? `${of[0]} (${of[1]})` : m.name];
    const what = m.commands > 1 ? `${grouped(m.commands)} commands, the first ${m.name}` : of ? m.name : "";
    lines.push([LANES[data.lanes[m.lane]], what].filter(Boolean).join(": "));
    lines.push(`${time(m.t1 - m.t0)}, from ${time(m.t0)} to ${time(m.t1)}`);
    if (m.cycles) lines.push(`cycles ${range(m.cycles)}`);
    if (m.commands === 1 && data.lanes[m.lane] === "npu") lines.push(`of it ${time(Math.min(data.starting_us, m.t1 - m.t0))} to start the command`);
    if (m.bytes) lines.push(`${grouped(m.bytes)} bytes`);
    return lines;
  };
  const describeBand = (b) => [
    b.name,
    `${KINDS[b.kind].words}, ${grouped(b.size)} bytes`,
    `cycles ${range(b.cycles)}`,
    `addresses ${range([b.address, b.address + b.size])}`,
    `${time(b.t1 - b.t0)}, from ${time(b.t0)} to ${time(b.t1)}`,
  ];

  // -- the shared time axis -----------------------------------------------------------------------------------------------
  const view = { t0: 0, t1: total, layer: -1, cursor: null, drag: null };
  const plots = [];
  const redraw = () => plots.forEach((p) => p.draw());
  const show = (t0, t1) => {
    const width = Math.min(Math.max(t1 - t0, total / 1e5), total);
    view.t0 = Math.min(Math.max(t0, 0), total - width);
    view.t1 = view.t0 + width;
    redraw();
  };
  const zoom = (factor, at = (view.t0 + view.t1) / 2) => show(at - (at - view.t0) * factor, at + (view.t1 - at) * factor);
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

  class Plot {
    constructor(id, describe) {
      this.canvas = byId(id);
      this.describe = describe;
      this.selected = null;
      this.listen();
      new ResizeObserver(() => this.draw()).observe(this.canvas);
      plots.push(this);
    }
    x(t) { return this.left + ((t - view.t0) / (view.t1 - view.t0)) * (this.width - this.left); }
    t(x) { return view.t0 + ((x - this.left) / (this.width - this.left)) * (view.t1 - view.t0); }

    draw() {
      const ratio = window.devicePixelRatio || 1;
      this.width = this.canvas.clientWidth;
      this.height = this.canvas.clientHeight;
      if (!this.width) return;
      this.left = this.width < 560 ? 58 : 84;
      this.canvas.width = this.width * ratio;
      this.canvas.height = this.height * ratio;
      const c = (this.c = this.canvas.getContext("2d"));
      c.scale(ratio, ratio);
      c.font = "12px system-ui, 'DejaVu Sans', sans-serif";
      this.ink = colour("ink"); this.soft = colour("soft"); this.line = colour("line");
      this.axis();
      c.save();
      c.beginPath();
      c.rect(this.left, 0, this.width - this.left, this.height);
      c.clip();
      this.canvas.dataset.marks = this.content();
      if (this.selected) this.outline(this.selected);
      if (view.drag) {
        c.fillStyle = colour("accent"); c.globalAlpha = 0.18;
        c.fillRect(this.x(view.drag[0]), 0, this.x(view.drag[1]) - this.x(view.drag[0]), this.height);
        c.globalAlpha = 1;
      }
      if (view.cursor !== null) this.vertical(this.x(view.cursor), this.soft);
      c.restore();
    }
    vertical(x, style) {
      this.c.strokeStyle = style; this.c.lineWidth = 1;
      this.c.beginPath(); this.c.moveTo(Math.round(x) + 0.5, 0); this.c.lineTo(Math.round(x) + 0.5, this.height); this.c.stroke();
    }
    axis() {
      const least = ((view.t1 - view.t0) / (this.width - this.left)) * 90;
      const power = 10 ** Math.floor(Math.log10(least));
      const every = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= least);
      const unit = view.t1 >= 1e4 ? ["ms", 1e3] : ["µs", 1];
      const decimals = Math.max(0, -Math.floor(Math.log10(every / unit[1]) + 1e-9));
      this.c.textAlign = "center"; this.c.textBaseline = "alphabetic";
      for (let n = Math.ceil(view.t0 / every); n * every <= view.t1; n++) {
        const x = this.x(n * every);
        this.vertical(x, this.line);
        if (this.ticks && x < this.width - 22) {
          this.c.fillStyle = this.soft;
          this.c.fillText(`${(n * every / unit[1]).toFixed(decimals)} ${unit[0]}`, Math.max(x, this.left + 18), 12);
        }
      }
    }
    clipped(text, x, y, room) {
      const c = this.c;
      if (room < 30) return;
      let shown = text;
      if (text.length > 200 || c.measureText(text).width > room) {
        // names differ at both ends: the middle is left out
        let keep = Math.min(200, text.length, Math.floor(room / 5));
        do {
          if (--keep < 7) return;
          shown = `${text.slice(0, keep >> 1)}…${text.slice(-((keep + 1) >> 1))}`;
        } while (c.measureText(shown).width > room);
      }
      c.fillText(shown, x, y);
    }
    outline(item) {
      const [x, y, w, h] = this.box(item);
      this.c.strokeStyle = this.ink; this.c.lineWidth = 2;
      this.c.strokeRect(x, y, Math.max(w, 2), h);
    }

    // -- pointer and keys
    listen() {
      const at = (e) => { const r = this.canvas.getBoundingClientRect(); return [e.clientX - r.left, e.clientY - r.top]; };
      this.canvas.addEventListener("pointermove", (e) => {
        const [x, y] = at(e);
        view.cursor = this.t(Math.max(x, this.left));
        if (view.drag) view.drag[1] = view.cursor;
        this.select(this.hit(x, y), x, y);
      });
      this.canvas.addEventListener("pointerleave", (e) => {
        view.cursor = null;
        view.drag = null;
        if (e.pointerType === "mouse") this.select(null); else redraw();
      });
      this.canvas.addEventListener("pointerdown", (e) => {
        const [x, y] = at(e);
        if (e.pointerType !== "mouse") this.select(this.hit(x, y), x, y); // a finger does not hover
        if (e.pointerType === "mouse" && e.button === 0 && x >= this.left) view.drag = [this.t(x), this.t(x)];
      });
      this.canvas.addEventListener("pointerup", () => {
        const drag = view.drag;
        view.drag = null;
        if (!drag) return;
        const [a, b] = drag[0] < drag[1] ? drag : [drag[1], drag[0]];
        if (this.x(b) - this.x(a) > 5) show(a, b); else redraw();
      });
      this.canvas.addEventListener("dblclick", () => show(0, total));
      this.canvas.addEventListener("wheel", (e) => {
        if (!e.ctrlKey && !e.metaKey && Math.abs(e.deltaX) <= Math.abs(e.deltaY)) return; // the page scrolls
        e.preventDefault();
        if (e.ctrlKey || e.metaKey) zoom(Math.exp(e.deltaY / 300), this.t(at(e)[0]));
        else show(view.t0 + (e.deltaX / this.width) * (view.t1 - view.t0), view.t1 + (e.deltaX / this.width) * (view.t1 - view.t0));
      }, { passive: false });
      this.canvas.addEventListener("blur", () => this.select(null));
      this.canvas.addEventListener("keydown", (e) => {
        if (e.key === "+" || e.key === "=") zoom(0.5, this.middle());
        else if (e.key === "-") zoom(2, this.middle());
        else if (e.key === "0" || e.key === "Escape") show(0, total);
        else if (e.key.startsWith("Arrow")) this.go(e.key);
        else return;
        e.preventDefault();
      });
    }
    middle() { return this.selected ? (this.selected.t0 + this.selected.t1) / 2 : undefined; }
    go(key) {
      const item = this.selected ? this.next(this.selected, key) : this.first();
      if (!item) return;
      if (item.t1 < view.t0 || item.t0 > view.t1) show(item.t0 - (view.t1 - view.t0) / 2, item.t0 + (view.t1 - view.t0) / 2);
      const [x, y, w, h] = this.box(item);
      this.select(item, Math.max(x, this.left) + Math.min(w, 40), y + h);
    }
    select(item, x, y) {
      this.selected = item;
      redraw();
      const tip = byId("tip");
      tip.hidden = !item;
      if (!item) return;
      tip.replaceChildren(...this.describe(item).map((line, i) => {
        const part = document.createElement(i ? "div" : "b");
        part.textContent = line.length > 160 ? `…${line.slice(-159)}` : line;
        return part;
      }));
      const frame = byId("time").getBoundingClientRect();
      const mine = this.canvas.getBoundingClientRect();
      const left = mine.left - frame.left + x + 14;
      tip.style.left = `${Math.max(8, Math.min(left, frame.width - tip.offsetWidth - 8))}px`;
      tip.style.top = `${mine.top - frame.top + y + 16}px`;
    }
  }

  class Lanes extends Plot {
    constructor() {
      super("lanes", describeMark);
      this.ticks = true;
      this.canvas.style.height = `${20 + 42 * Math.max(used.length, 1)}px`;
    }
    row(m) { return used.indexOf(rowOf(m)); }
    box(m) {
      const h = (this.height - 20) / used.length;
      return [this.x(m.t0), 20 + this.row(m) * h + 3, this.x(m.t1) - this.x(m.t0), h - 6];
    }
    content() {
      const c = this.c;
      c.restore(); c.textAlign = "right"; c.textBaseline = "middle"; c.fillStyle = this.soft;
      const h = (this.height - 20) / used.length;
      used.forEach((l, i) => c.fillText(this.left < 80 ? LANES[l].replace("DMA ", "") : LANES[l], this.left - 10, 20 + (i + 0.5) * h));
      c.save(); c.beginPath(); c.rect(this.left, 0, this.width - this.left, this.height); c.clip();
      c.textAlign = "left";
      const label = colour("on-colour");
      let drawn = 0;
      used.forEach((l, i) => {
        const fill = colour(l), start = colour("start"), idle = colour("idle");
        for (const m of rows[i]) {
          if (m.t1 < view.t0 || m.t0 > view.t1) continue;
          const [x, y, w, height] = this.box(m);
          c.globalAlpha = view.layer >= 0 && m.layer !== view.layer ? 0.22 : 1;
          c.fillStyle = data.lanes[m.lane] === "start" ? start : fill;
          const left = Math.min(Math.round(x), this.width - 1); // what is short is seen too
          const right = Math.max(Math.round(x + w), left + 1);
          c.fillRect(left, y, right - left - (right - left > 4), height);
          if (l === "npu" && m.commands === 1 && right - left > 4) { // what starting the command takes of it
            const part = Math.min(data.starting_us / (m.t1 - m.t0), 1);
            c.fillStyle = idle;
            c.fillRect(left, y, Math.round((right - left - 1) * part), height);
          }
          if (w > 40) {
            c.fillStyle = label;
            const from = Math.max(x, this.left);
            this.clipped(m.layer >= 0 ? data.layers[m.layer][0].split(";").pop() : m.name, from + 5, y + height / 2, Math.min(x + w, this.width) - from - 9);
          }
          drawn++;
        }
      });
      c.globalAlpha = 1;
      return drawn;
    }
    hit(x, y) {
      const row = rows[Math.floor((y - 20) / ((this.height - 20) / used.length))];
      if (!row || x < this.left) return null;
      const t = this.t(x), near = (this.t(x + 2) - t);
      let best = null;
      for (const m of row) if (m.t0 - near <= t && t <= m.t1 + near && (!best || m.t0 <= t)) best = m;
      return best;
    }
    first() { return rows[rows.length - 1]?.[0]; }
    next(m, key) {
      const i = this.row(m), own = rows[i];
      if (key === "ArrowLeft" || key === "ArrowRight") return own[own.indexOf(m) + (key === "ArrowRight" ? 1 : -1)] || m;
      const other = rows[i + (key === "ArrowDown" ? 1 : -1)];
      return other ? other.reduce((a, b) => (Math.abs(b.t0 - m.t0) < Math.abs(a.t0 - m.t0) ? b : a)) : m;
    }
  }

  class Memory extends Plot {
    constructor() {
      super("memory", describeBand);
      this.top = Math.min(data.sram_bytes, Math.max(...bands.map((b) => b.address + b.size), 1) * 1.04);
    }
    y(address) { return this.height - 4 - (address / this.top) * (this.height - 8); }
    box(b) { return [this.x(b.t0), this.y(b.address + b.size), this.x(b.t1) - this.x(b.t0), this.y(b.address) - this.y(b.address + b.size)]; }
    content() {
      const c = this.c;
      c.restore(); c.textAlign = "right"; c.textBaseline = "middle"; c.fillStyle = this.soft;
      const power = 2 ** Math.ceil(Math.log2(this.top / 6));
      for (let a = 0; a <= this.top; a += power) {
        c.fillStyle = this.soft;
        c.fillText(size(a).replace(/\.?0+ (?=[KMG])/, " "), this.left - 10, Math.min(Math.max(this.y(a), 8), this.height - 8));
        c.strokeStyle = this.line; c.lineWidth = 1; c.beginPath();
        c.moveTo(this.left, Math.round(this.y(a)) + 0.5); c.lineTo(this.width, Math.round(this.y(a)) + 0.5); c.stroke();
      }
      c.save(); c.beginPath(); c.rect(this.left, 0, this.width - this.left, this.height); c.clip();
      c.textAlign = "left";
      const ground = colour("card"), label = colour("on-colour");
      let drawn = 0;
      for (const b of bands) {
        if (b.t1 < view.t0 || b.t0 > view.t1) continue;
        const [x, y, w, h] = this.box(b);
        c.fillStyle = colour(KINDS[b.kind].colour);
        c.globalAlpha = 0.82;
        c.fillRect(x, y, Math.max(w, 0.7), Math.max(h, 0.7));
        c.globalAlpha = 1;
        if (w > 3 && h > 3) { c.strokeStyle = ground; c.lineWidth = 1; c.strokeRect(x, y, w, h); }
        if (w > 40 && h > 15) {
          c.fillStyle = label;
          const from = Math.max(x, this.left);
          this.clipped(b.name.split(";").pop(), from + 5, y + h / 2, Math.min(x + w, this.width) - from - 9);
        }
        drawn++;
      }
      return drawn;
    }
    hit(x, y) {
      if (x < this.left) return null;
      return bands.find((b) => { const [bx, by, w, h] = this.box(b); return bx <= x && x <= bx + Math.max(w, 2) && by <= y && y <= by + Math.max(h, 2); }) || null;
    }
    first() { return bands[0]; }
    next(b, key) { return bands[bands.indexOf(b) + (key === "ArrowRight" || key === "ArrowDown" ? 1 : -1)] || b; }
  }

  new Lanes();
  if (byId("memory")) new Memory();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  byId("in").addEventListener("click", () => zoom(0.5));
  byId("out").addEventListener("click", () => zoom(2));
  byId("all").addEventListener("click", () => show(0, total));

  // -- tables -------------------------------------------------------------------------------------------------------------
  const value = (row, i) => {
    const cell = row.cells[i];
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  };
  for (const table of document.querySelectorAll("table")) {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, i) => head.addEventListener("click", () => {
      const numbers = head.classList.contains("num");
      const old = head.getAttribute("aria-sort");
      const down = old ? old === "ascending" : numbers; // numbers first from the largest on
      heads.forEach((h) => h.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const sorted = [...body.rows].map((row) => [value(row, i), row]);
      sorted.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0) * (down ? -1 : 1));
      body.append(...sorted.map(([, row]) => row));
    }));
  }
  const light = (number) => { view.layer = number; redraw(); };
  for (const button of document.querySelectorAll("button[data-layer]")) {
    const number = Number(button.dataset.layer);
    const row = button.closest("tr");
    row.addEventListener("pointerenter", () => light(number));
    row.addEventListener("pointerleave", () => light(-1));
    button.addEventListener("click", () => {
      const own = marks.filter((m) => m.layer === number);
      if (!own.length) return;
      const t0 = Math.min(...own.map((m) => m.t0)), t1 = Math.max(...own.map((m) => m.t1));
      show(t0 - (t1 - t0) * 0.15, t1 + (t1 - t0) * 0.15);
      byId("time").scrollIntoView({ behavior: "smooth", block: "start" });
    });
  }
  const filter = byId("filter");
  if (filter) {
    filter.addEventListener("input", () => {
      const wanted = filter.value.toLowerCase();
      for (const row of byId("layers").tBodies[0].rows) {
        row.hidden = !`${row.cells[0].title} ${row.cells[0].textContent}`.toLowerCase().includes(wanted);
      }
    });
  }
})();
