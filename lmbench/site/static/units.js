"use strict";
// Numbers as the reports print them (lmbench/base/units.py), and CSV.
const lmbench = {};
(() => {
  const DECIMAL = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""]];
  const SMALL = [[1, ""], [1e-3, "m"], [1e-6, "u"], [1e-9, "n"]];
  const BINARY = [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]];

  // Python's %.<digits>g
  const general = (value, digits) => {
    if (value === 0) return "0";
    const [mantissa, power] = value.toExponential(digits - 1).split("e");
    const exponent = Number(power);
    if (exponent >= -4 && exponent < digits) {
      const text = value.toFixed(Math.max(0, digits - 1 - exponent));
      return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
    }
    const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
    return `${short}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
  };

  const scaled = (value, scales, unit) => {
    const [factor, prefix] = scales.find(([least]) => Math.abs(value) >= least) || scales[scales.length - 1];
    const share = value / factor;
    return `${Math.abs(share) < 1000 ? general(share, 3) : share.toFixed(0)} ${prefix}${unit}`;
  };

  const binary = (value) => {
    const found = BINARY.find(([least]) => Math.abs(value) >= least);
    return found ? `${general(value / found[0], 4)} ${found[1]}` : `${value.toFixed(0)} B`;
  };

  lmbench.general = general;
  lmbench.pretty = (value, unit) => {
    if (value === null || value === undefined || !Number.isFinite(value)) return "-";
    if (unit === "date") return new Date(value * 1000).toISOString().slice(0, 16).replace("T", " ");
    if (unit === "percent") return `${general(value, 4)} %`;
    if (unit === "s") return scaled(value, SMALL, "s");
    if (unit === "bytes") return binary(value);
    if (unit === "bytes/token") return `${binary(value)}/token`;
    if (unit === "count") return value.toLocaleString("en-US", { maximumFractionDigits: 0 });
    if (unit === "1") return general(value, 4);
    return scaled(value, DECIMAL, unit === "bytes/s" ? "B/s" : unit);
  };

  // A cell that a spreadsheet would take for a formula is made a text, as names come from records.
  const quoted = (cell) => {
    let text = cell === null || cell === undefined ? "" : String(cell);
    if (typeof cell === "string" && /^[=+\-@\t\r]/.test(text) && !Number.isFinite(Number(text))) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  lmbench.csv = (rows) => rows.map((row) => row.map(quoted).join(",")).join("\r\n") + "\r\n";

  lmbench.download = (name, rows) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lmbench.csv(rows)], { type: "text/csv" }));
    link.download = `${name.replace(/[^\w.-]+/g, "-").slice(0, 80)}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };

  // An element with attributes and children; texts become text nodes, never markup.
  lmbench.element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
})();
