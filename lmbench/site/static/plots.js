"use strict";
// Plots of a page's data, drawn when they come into view: a canvas, its words, a table of the same numbers, a CSV.
(() => {
  const { element, pretty } = lmbench;
  const HEIGHT = 280;
  const COLOURS = 6;
  const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3], [1, 2], [10, 4]];
  const SVG = "http://www.w3.org/2000/svg";
  const MANY = 60;
  // Units short enough to stand at every tick; others stand in the title of their axis, as in the reports.
  const AT_TICKS = ["s", "bytes", "1", "count", "percent"];
  const DAY = 86400;

  // A custom property may be any expression; what a canvas needs is the colour it comes to.
  const colour = (name) => {
    const probe = element("span");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };

  const COLOUR_OF = { regressed: "bad", improved: "good", inconclusive: "unsure" };
  const finite = (value) => value !== null && Number.isFinite(value);
  const column = (data, values) => (typeof values === "string" ? data.columns[values] : values);

  // Marks of six shapes, so that no curve is told by colour alone.
  const shapes = [
    (p, x, y, r) => p.arc(x, y, r, 0, 2 * Math.PI),
    (p, x, y, r) => p.rect(x - r, y - r, 2 * r, 2 * r),
    (p, x, y, r) => { p.moveTo(x, y - r * 1.2); p.lineTo(x + r * 1.1, y + r); p.lineTo(x - r * 1.1, y + r); p.closePath(); },
    (p, x, y, r) => { p.moveTo(x, y - r * 1.3); p.lineTo(x + r * 1.3, y); p.lineTo(x, y + r * 1.3); p.lineTo(x - r * 1.3, y); p.closePath(); },
    (p, x, y, r) => { p.moveTo(x, y + r * 1.2); p.lineTo(x + r * 1.1, y - r); p.lineTo(x - r * 1.1, y - r); p.closePath(); },
    (p, x, y, r) => { p.moveTo(x - r, y - r); p.lineTo(x + r, y + r); p.moveTo(x + r, y - r); p.lineTo(x - r, y + r); },
  ];

  const pointsOf = (shape) => (u, series, first, last) => {
    const path = new Path2D();
    const radius = 3 * devicePixelRatio;
    const scale = u.series[series].scale;
    for (let place = first; place <= last; place++) {
      const value = u.data[series][place];
      if (value === null || value === undefined) continue;
      const x = u.valToPos(u.data[0][place], "x", true);
      const y = u.valToPos(value, scale, true);
      path.moveTo(x + radius, y);
      shapes[shape](path, x, y, radius);
    }
    return { fill: path, stroke: path };
  };

  // Horizontal rules and marked places, above the curves.
  const annotations = (plot) => (u) => {
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.lineWidth = devicePixelRatio;
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textAlign = "left";
    ctx.textBaseline = "alphabetic";
    for (const [name, height] of plot.rules) {
      const y = u.valToPos(height, "y", true);
      ctx.strokeStyle = ctx.fillStyle = colour("bad");
      ctx.setLineDash([5 * devicePixelRatio, 4 * devicePixelRatio]);
      ctx.beginPath(); ctx.moveTo(bbox.left, y); ctx.lineTo(bbox.left + bbox.width, y); ctx.stroke();
      ctx.fillText(name, bbox.left + 6 * devicePixelRatio, y - 4 * devicePixelRatio);
    }
    plot.marks.forEach((mark, place) => {
      const x = u.valToPos(mark.x, "x", true);
      ctx.strokeStyle = ctx.fillStyle = colour(COLOUR_OF[mark.kind] || "odd");
      ctx.setLineDash([3 * devicePixelRatio, 3 * devicePixelRatio]);
      ctx.beginPath(); ctx.moveTo(x, bbox.top); ctx.lineTo(x, bbox.top + bbox.height); ctx.stroke();
      ctx.fillText(String(place + 1), x + 3 * devicePixelRatio, bbox.top + 11 * devicePixelRatio);
    });
    ctx.restore();
  };

  const scaleOf = (axis, heights, pad) => {
    if (axis.log) {
      return { distr: 3, range: (u, low, high) => (low > 0 ? [Math.min(low, ...heights) / 1.3, Math.max(high, ...heights) * 1.3] : [0.1, 1]) };
    }
    return {
      range: (u, low, high) => {
        if (!finite(low) || !finite(high)) return [0, 1];
        // Around a single moment uPlot would show years.
        if (axis.unit === "date" && u.data[0].length === 1) return [u.data[0][0] - DAY, u.data[0][0] + DAY];
        const least = Math.min(low, axis.zero ? 0 : low, ...heights);
        const most = Math.max(high, ...heights);
        const alone = Math.abs(most) * 0.1 || 1;
        const room = (most - least) * pad || alone;
        return [axis.zero && least >= 0 ? 0 : least - room, most + room];
      },
    };
  };

  // 1, 2 and 5 times powers of ten; only powers where that would be many.
  const logTicks = (low, high) => {
    const powers = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) powers.push(power);
    const ticks = (factors) => powers.flatMap((power) => factors.map((factor) => factor * 10 ** power)).filter((tick) => tick >= low && tick <= high);
    const fine = ticks([1, 2, 5]), coarse = ticks([1]);
    return fine.length > 7 && coarse.length > 1 ? coarse : fine;
  };

  const tick = (axis) => (value) => {
    if (value === null) return "";
    if (value === 0) return "0";
    const text = pretty(value, axis.unit);
    return AT_TICKS.includes(axis.unit) ? text : text.replace(new RegExp(`\\s*${axis.unit.replace(/[/.*+?^$()[\]{}|\\]/g, "\\$&")}$`), "");
  };

  // Dates as ISO 8601, the year below the first tick and where it changes.
  const dates = (u, ticks, index, space, step) => ticks.map((moment, place) => {
    const text = new Date(moment * 1000).toISOString();
    const line = step < DAY ? text.slice(11, 16) : text.slice(5, 10);
    const head = step < DAY ? text.slice(0, 10) : text.slice(0, 4);
    const before = place ? new Date(ticks[place - 1] * 1000).toISOString().slice(0, head.length) : "";
    return before === head ? line : `${line}\n${head}`;
  });

  const axisOf = (axis, side) => {
    const label = [axis.title, AT_TICKS.includes(axis.unit) || axis.unit === "date" ? "" : `(${axis.unit})`].filter(Boolean).join(" ");
    const width = (u, texts) => 14 + 7 * Math.max(3, ...(texts || []).map((text) => text.length));
    return {
      stroke: () => colour("soft"),
      grid: { stroke: () => colour("line"), width: 1 },
      ticks: { stroke: () => colour("line"), width: 1, size: 4 },
      font: "12px system-ui, sans-serif",
      label: label || undefined, labelFont: "12px system-ui, sans-serif", labelSize: label ? 18 : 0,
      values: axis.unit === "date" ? dates : (u, ticks) => ticks.map(tick(axis)),
      ...(side === "y" ? { size: width } : { space: axis.unit === "date" ? 64 : 56, size: axis.unit === "date" ? 44 : 28 }),
      ...(axis.log ? { splits: (u, index, low, high) => logTicks(low, high), filter: (u, ticks) => ticks } : {}),
    };
  };

  const seriesOf = (plot) => plot.curves.flatMap((curve, place) => {
    const name = `c${place % COLOURS}`;
    const few = curve.values.filter(finite).length <= MANY;
    const line = {
      label: curve.name, stroke: () => colour(name), width: 2, dash: DASHES[place % DASHES.length], spanGaps: plot.curves.length > 1,
      points: { show: few, fill: () => colour(name), stroke: () => colour(name), width: 1.5, paths: pointsOf(place % shapes.length) },
    };
    const end = { stroke: "transparent", points: { show: false } };
    return curve.low ? [line, end, end] : [line];
  });

  // Rows in the order of the axis, as uPlot needs them; places that are not known or cannot be on a logarithmic axis left out.
  const rowsOf = (data, plot) => {
    const at = column(data, plot.at);
    const places = [...at.keys()].filter((place) => finite(at[place]) && !(plot.x.log && at[place] <= 0));
    places.sort((a, b) => at[a] - at[b]);
    const pick = (values) => places.map((place) => {
      const value = values[place];
      return finite(value) && !(plot.y.log && value <= 0) ? value : null;
    });
    return [places.map((place) => at[place]), ...plot.curves.flatMap((one) => (one.low ? [one.values, one.low, one.high] : [one.values]).map(pick))];
  };

  const titled = (axis) => [axis.title || (axis.unit === "date" ? "when (UTC)" : "x"), ["1", "date"].includes(axis.unit) ? "" : `(${axis.unit})`].join(" ").trim();

  const listed = (data, plot) => {
    const at = column(data, plot.at);
    const extra = Object.entries(plot.columns).map(([name, values]) => [name, column(data, values)]);
    const curves = plot.curves.flatMap((one) => (one.low
      ? [[one.name, one.values], [`${one.name}, low`, one.low], [`${one.name}, high`, one.high]] : [[one.name, one.values]]));
    const unit = plot.y.unit === "1" ? "" : ` (${plot.y.unit})`;
    return {
      head: [titled(plot.x), ...curves.map(([name]) => name + unit), ...extra.map(([name]) => name)],
      places: [...at.keys()], at, curves, extra,
    };
  };

  const csvOf = (data, plot) => {
    const { head, places, at, curves, extra } = listed(data, plot);
    const moment = (value) => (plot.x.unit === "date" && finite(value) ? new Date(value * 1000).toISOString() : value);
    return [head, ...places.map((place) => [moment(at[place]), ...[...curves, ...extra].map(([, values]) => values[place])])];
  };

  const tableOf = (data, plot) => {
    const { head, places, at, curves, extra } = listed(data, plot);
    return lmbench.makeTable(plot.title, head, places.map((place) => [
      [pretty(at[place], plot.x.unit), at[place]],
      ...curves.map(([, values]) => [pretty(values[place], plot.y.unit), values[place]]),
      ...extra.map(([, values]) => (typeof values[place] === "number" ? [String(values[place]), values[place]] : values[place])),
    ]));
  };

  const keyOf = (curve, place) => {
    const svg = document.createElementNS(SVG, "svg");
    for (const [name, value] of Object.entries({ width: 30, height: 10, viewBox: "0 0 30 10", "aria-hidden": "true" })) svg.setAttribute(name, value);
    const line = document.createElementNS(SVG, "line");
    for (const [name, value] of Object.entries({ x1: 0, y1: 5, x2: 30, y2: 5, class: `c${place % COLOURS}`, "stroke-dasharray": DASHES[place % DASHES.length].join(" ") })) line.setAttribute(name, value);
    svg.append(line);
    return element("span", { class: "key" }, svg, curve.name);
  };

  const words = (data, plot) => {
    const known = plot.curves.flatMap((curve) => curve.values.filter(finite));
    const range = known.length ? `${pretty(Math.min(...known), plot.y.unit)} to ${pretty(Math.max(...known), plot.y.unit)}` : "no value";
    return `${plot.title}: ${plot.curves.length} ${plot.curves.length === 1 ? "curve" : "curves"}, ${column(data, plot.at).length} places, ${range}`
      + `. Arrow keys move a cursor; the table below has the numbers.`;
  };

  // What is below the cursor, in words.
  const teller = (told, data, plot) => {
    const at = column(data, plot.at);
    const extra = Object.entries(plot.columns).map(([name, values]) => [name, column(data, values)]);
    return (u) => {
      const place = u.cursor.idx;
      if (place === null || place === undefined) { told.textContent = ""; return; }
      const x = u.data[0][place];
      const source = at.indexOf(x);
      const values = u.series.map((one, index) => (index && one.label && finite(u.data[index][place]) ? `${one.label} ${pretty(u.data[index][place], plot.y.unit)}` : ""));
      const more = extra.map(([name, all]) => (all[source] === null || all[source] === "" ? "" : `${name} ${all[source]}`));
      told.textContent = [pretty(x, plot.x.unit), ...values, ...more].filter(Boolean).join(" · ");
    };
  };

  // The cursor by arrow keys, Home and End.
  const steered = (canvas, chart, rows) => canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const last = rows[0].length - 1;
    const place = Math.max(0, Math.min(last, (chart.cursor.idx ?? (step > 0 ? -1 : last + 1)) + step));
    const value = rows.slice(1).map((one) => one[place]).find(finite);
    chart.setCursor({ left: chart.valToPos(rows[0][place], "x"), top: value === undefined ? 0 : chart.valToPos(value, "y") });
  });

  const bandsOf = (plot) => {
    let series = 0;
    return plot.curves.flatMap((curve, place) => {
      series += curve.low ? 3 : 1;
      const fill = () => colour(`c${place % COLOURS}`).replace("rgb(", "rgba(").replace(")", ", 0.18)");
      return curve.low ? [{ series: [series, series - 1], fill }] : [];
    });
  };

  const draw = (figure, data, plot) => {
    const canvas = element("div", { class: "canvas", role: "application", tabindex: "0", "aria-label": words(data, plot) });
    const told = element("output", { "aria-live": "polite" });
    figure.append(canvas, told);
    if (plot.curves.length > 1) figure.append(element("div", { class: "keys" }, ...plot.curves.map(keyOf)));
    if (plot.marks.length) {
      figure.append(element("ol", { class: "marks" }, ...plot.marks.map((mark) =>
        element("li", { class: mark.kind }, plot.x.unit === "date" ? `${pretty(mark.x, "date")}: ${mark.words}` : mark.words))));
    }
    const rows = rowsOf(data, plot);
    const chart = new uPlot({
      width: canvas.clientWidth || 320, height: HEIGHT, series: [{}, ...seriesOf(plot)], bands: bandsOf(plot), legend: { show: false },
      scales: { x: { time: plot.x.unit === "date", ...scaleOf(plot.x, [], 0.01) }, y: scaleOf(plot.y, plot.rules.map(([, height]) => height), 0.06) },
      axes: [axisOf(plot.x, "x"), axisOf(plot.y, "y")],
      cursor: { drag: { x: true, y: false } },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      hooks: { draw: [annotations(plot)], setCursor: [teller(told, data, plot)] },
    }, rows, canvas);
    steered(canvas, chart, rows);
    new ResizeObserver(() => { if (canvas.clientWidth && canvas.clientWidth !== chart.width) chart.setSize({ width: canvas.clientWidth, height: HEIGHT }); }).observe(canvas);
    document.addEventListener("themechange", () => chart.redraw(false, true));
  };

  const tools = (figure, data, plot) => {
    const save = element("button", { type: "button", "aria-label": `CSV: ${plot.title}` }, "CSV");
    save.addEventListener("click", () => lmbench.download(plot.title, csvOf(data, plot)));
    const body = element("div", { class: "body" });
    const table = element("details", {}, element("summary", { "aria-label": `Table: ${plot.title}` }, "Table"), body);
    table.addEventListener("toggle", () => { if (table.open && !body.childElementCount) body.append(tableOf(data, plot)); });
    figure.append(element("div", { class: "below" }, table, save));
  };

  document.addEventListener("DOMContentLoaded", () => {
    const data = JSON.parse(document.getElementById("data").textContent);
    lmbench.plots = data.plots;
    const watcher = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        watcher.unobserve(target);
        const plot = data.plots[Number(target.dataset.plot)];
        draw(target, data, plot);
        tools(target, data, plot);
        target.dataset.drawn = "";
      }
    }, { rootMargin: "300px" });
    for (const figure of document.querySelectorAll("[data-plot]")) watcher.observe(figure);
  });
})();
