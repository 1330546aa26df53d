"use strict";
// The form of a plan: reads its fields, sizes every option, says which to choose and how sure that is.
(() => {
  const { element, general, pretty } = lmbench;

  const numberOf = (form, name) => {
    const field = form.elements[name];
    return field && field.value !== "" && field.validity.valid ? Number(field.value) : null;
  };

  // The fields whose names begin with `kind`, by the rest of their name.
  const numbers = (form, kind) => Object.fromEntries([...form.elements]
    .filter((field) => field.name.startsWith(kind) && field.value !== "").map((field) => [field.name.slice(kind.length), Number(field.value)]));

  const read = (form, plan) => ({
    requests_per_s: numberOf(form, "requests_per_s"),
    growth: numberOf(form, "growth"),
    burst: numberOf(form, "burst"),
    shape: form.elements.shape.value,
    limits: numbers(form, "limit "),
    steady: numbers(form, "steady "),
    perplexity_ratio: numberOf(form, "perplexity_ratio"),
    spare: numberOf(form, "spare"),
    zones: numberOf(form, "zones"),
    follow: form.elements.follow ? form.elements.follow.checked : false,
    prices: Object.fromEntries(plan.options.map((option) => [option.name, numberOf(form, `price ${option.name}`)])),
  });

  const faults = (form, input) => {
    const wrong = [...form.elements].filter((field) => field.willValidate && !field.validity.valid).map((field) => `${field.labels[0].textContent}: ${field.validationMessage}`);
    for (const name of ["requests_per_s", "growth", "burst", "spare", "zones"]) {
      if (input[name] === null && form.elements[name].validity.valid) wrong.push(`${form.elements[name].labels[0].textContent}: a number is expected`);
    }
    for (const name of ["requests_per_s", "growth"]) {
      if (input[name] === 0) wrong.push(`${form.elements[name].labels[0].textContent}: more than 0 is expected`);
    }
    return wrong;
  };

  const cost = (value) => (value === null ? "-" : general(value, 4));
  const interval = ([low, , high], said) => `[${said(low)}, ${said(high)}]`;
  const percent = (value) => `${general(value * 100, 4)} %`;
  const time = (value) => (value === Infinity ? "endless" : pretty(value, "s"));

  const words = (name) => name.replace("_", " ");
  const amount = (name) => (value) => (name === "error_rate" ? percent(value) : time(value));

  const beyond = ({ option, found }) => !found.refused && (found.extrapolates || option.lengths_beyond);

  const row = (plan, { option, found }, { limits, steady, asked }) => {
    const mark = beyond({ option, found }) ? plan.mark : "";
    if (found.refused) return [option.name, [found.refused, null], ...Array(7 + limits.length + steady.length).fill("-")];
    const [first] = found.broken;
    const why = found.attainment[1] < 1 ? "not in every minute"
      : first ? `${words(first)} ${found.steady[first] === null ? "not known" : "too high"}` : found.quality_met === false ? "perplexity too high"
      : asked && found.quality_met === null ? "perplexity not known" : option.memory_fits === false ? "memory too small" : "";
    return [
      option.name, [why ? `no: ${why}` : `yes${found.quality_met === null ? "" : ", quality too"}`, null],
      [`${found.least === found.replicas ? found.replicas : `${found.least} to ${found.replicas}`}${mark}`, found.replicas],
      [found.needed + (found.needed_range[0] === found.needed_range[1] ? "" : ` [${found.needed_range.join(", ")}]`) + mark, found.needed],
      [`${general(found.top.rate, 4)} requests/s${mark}`, found.top.rate],
      [cost(found.cost_per_hour) + (found.cost_per_hour === null ? "" : mark), found.cost_per_hour],
      [cost(found.cost_per_million_tokens) + (found.cost_per_million_tokens === null ? "" : mark), found.cost_per_million_tokens],
      [`${percent(found.attainment[1])} ${interval(found.attainment, percent)}${mark}`, found.attainment[1]],
      [`${percent(found.utilization_mean)} / ${percent(found.utilization_peak)}${mark}`, found.utilization_mean],
      ...steady.map((name) => {
        const known = found.steady[name], said = amount(name);
        return known === null ? "-" : [`${said(known[1])} ${interval(known, said)}${mark}`, known[1]];
      }),
      ...limits.map((name) => [`${time(found.latency_s[name][1])} ${interval(found.latency_s[name], time)}${mark}`, found.latency_s[name][1]]),
    ];
  };

  // The order of lmbench/capacity/plan.py: promises kept, predictions to be relied on, cost, replica-hours.
  const ranks = ({ option, found }) => [found.refused ? 2 : found.meets ? 0 : 1, option.reliable ? 0 : 1, found.cost_per_hour ?? Infinity, found.hours ?? Infinity];
  const byRank = (a, b) => {
    const [mine, other] = [ranks(a), ranks(b)];
    const place = mine.findIndex((value, index) => value !== other[index]);
    return place < 0 ? (a.option.name < b.option.name ? -1 : 1) : mine[place] < other[place] ? -1 : 1;
  };

  const answered = (sized) => {
    const { option, found } = sized[0];
    if (found.refused || !found.meets) return "No option keeps every promise.";
    const [least, most] = found.needed_range;
    const error = option.backtest_error === null ? "no back-test" : `predicted p95 was off by ${percent(option.backtest_error)} at rates left out`;
    return [
      `${!option.reliable ? "Do not buy by this yet: " : ""}${found.replicas} x ${option.name}${found.cost_per_hour === null ? "" : `, ${cost(found.cost_per_hour)} per hour`}`,
      `${least === most ? least : `${least} to ${most}`} of them carry the peak of ${general(found.peak, 4)} requests/s, the rest is redundancy`,
      `${beyond({ option, found }) ? "beyond what was measured, " : ""}${error}`,
    ].join("; ") + ".";
  };

  const notes = (plan, sized) => [
    sized.some(beyond) ? `${plan.mark} goes beyond what was measured` : "",
    ...sized.filter(({ found }) => found.extrapolates).map(({ option, found }) =>
      `${option.name}: up to ${general(found.top.rate, 4)} requests/s per replica, measured up to ${option.last_rate === null ? "none" : general(option.last_rate, 4)}`),
    ...sized.filter(({ found }) => found.below_shard).map(({ option, found }) =>
      `${option.name}: latencies were simulated for ${option.surface.shard} replicas together; with ${found.replicas} the router gains less than shown`),
    "Costs are in the currency of the prices. Intervals: 95 %, over simulated lanes that each drew a run and their own sample of its measured times.",
  ].filter(Boolean);

  const show = (form, plan) => {
    const answer = document.getElementById("answer"), results = document.getElementById("results");
    const input = read(form, plan), wrong = faults(form, input);
    answer.classList.toggle("none", wrong.length > 0);
    if (wrong.length) { answer.textContent = wrong.join("; "); results.replaceChildren(); return; }
    if (!plan.options.length) { answer.textContent = "No option could be simulated."; return; }
    const sized = plan.options.map((option) => ({ option, found: lmbench.calculate(plan, option, input) }));
    sized.sort(byRank);
    answer.textContent = answered(sized);
    answer.classList.toggle("none", Boolean(sized[0].found.refused) || !sized[0].found.meets || !sized[0].option.reliable);
    const columns = { limits: Object.keys(input.limits), steady: Object.keys(input.steady), asked: input.perplexity_ratio !== null };
    const head = ["option", "keeps every promise", "replicas", "needed at peak, without redundancy", "most per replica", "cost per hour", "cost per million tokens",
      "requests within limits", "busy: mean / peak", ...columns.steady.map(words), ...columns.limits.map((name) => `${name} at peak`)];
    results.replaceChildren(lmbench.makeTable("Options as calculated", head, sized.map((one) => row(plan, one, columns))),
      ...notes(plan, sized).map((text) => element("p", { class: "soft" }, text)));
  };

  document.addEventListener("DOMContentLoaded", () => {
    const form = document.getElementById("form");
    const plan = JSON.parse(document.getElementById("data").textContent).calculator;
    lmbench.plan = plan;
    form.addEventListener("input", () => show(form, plan));
    form.addEventListener("reset", () => setTimeout(() => show(form, plan)));
    form.addEventListener("submit", (event) => event.preventDefault());
    show(form, plan);
  });
})();
