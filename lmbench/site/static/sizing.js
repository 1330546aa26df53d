"use strict";
// The arithmetic of lmbench/capacity/sizing.py, function by function, on surfaces that Python simulated. Seconds, requests/s.
(() => {
  const SLACK = 1 + 1e-12;
  const QUEUE = "queue", RANGE = "measured range";
  const table = (surface, name, side) => {
    const [kind, quantile] = name.split(" ");
    return surface[kind][side][quantile];
  };

  const crossing = (rates, values, limit) => {
    if (values[0] > limit) return null;
    for (let place = 1; place < rates.length; place++) {
      if (values[place] > limit) {
        const share = (limit - values[place - 1]) / (values[place] - values[place - 1]);
        return rates[place - 1] + share * (rates[place] - rates[place - 1]);
      }
    }
    return rates[rates.length - 1];
  };

  const kept = (surface, limits, side) => {
    let best = surface.rates[surface.rates.length - 1], binds = QUEUE;
    for (const [name, limit] of Object.entries(limits)) {
      const rate = crossing(surface.rates, table(surface, name, side), limit);
      if (rate === null) return [null, name];
      if (rate < best) [best, binds] = [rate, name];
    }
    return [best, binds];
  };

  const ceiling = (option, limits, extrapolate) => {
    const [low, binds] = kept(option.surface, limits, "high");
    const [high] = kept(option.surface, limits, "low");
    if (low === null) return { rate: null, low: null, high, binds, extrapolates: false };
    const last = option.last_rate;
    if (last !== null && low > extrapolate * last) {
      return { rate: extrapolate * last, low: extrapolate * last, high, binds: RANGE, extrapolates: true };
    }
    return { rate: low, low, high, binds, extrapolates: last === null || low > last };
  };

  const replicasFor = (rate, each) => Math.max(1, Math.ceil(rate / each - 1e-9));

  // Without the fullest zone total - ceil(total / zones) are left: enough from needed * zones / (zones - 1) on.
  const withRedundancy = (needed, { spare, zones }) =>
    Math.max(needed + spare, zones > 1 ? Math.ceil(needed * zones / (zones - 1)) : 0);

  const quantileAt = (surface, name, rate, side) => {
    const { rates } = surface, values = table(surface, name, side);
    const last = rates.length - 1;
    if (rate > rates[last] * SLACK) return Infinity;
    if (rate <= rates[0]) return values[0];
    if (rate >= rates[last]) return values[last];
    const place = rates.findIndex((one) => one > rate);
    const share = (rate - rates[place - 1]) / (rates[place] - rates[place - 1]);
    return values[place - 1] + share * (values[place] - values[place - 1]);
  };

  const scaled = (option, minutes, burst, each, redundancy, rule) => {
    const most = Math.min(each, rule.utilization * option.slots / option.service_mean_s);
    const count = minutes.length;
    const wanted = minutes.map((_, m) => Math.max(rule.least, replicasFor(minutes[m - m % rule.every_minutes] * burst, most)));
    const delay = Math.ceil((option.cold_start_s || 0) / 60);
    return wanted.map((_, m) => {
      let ready = Infinity;
      for (let back = 0; back <= delay; back++) ready = Math.min(ready, wanted[(((m - back) % count) + count) % count]);
      return withRedundancy(ready, redundancy);
    });
  };

  const share = (surface, each, weights, limits, side) => {
    const [rate] = kept(surface, limits, side);
    if (rate === null) return 0;
    let good = 0, all = 0;
    weights.forEach((weight, m) => { all += weight; if (each[m] <= rate * SLACK) good += weight; });
    return good / all;
  };

  // Everything of one option for one set of inputs; `refused` says why there is nothing.
  lmbench.calculate = (plan, option, input) => {
    const { surface } = option;
    const absent = Object.keys(input.limits).find((name) => !surface[name.split(" ")[0]]);
    if (!Object.keys(input.limits).length) return { refused: "no latency is promised; set at least one" };
    if (absent) return { refused: "its records have no time to first token" };
    const top = ceiling(option, input.limits, plan.extrapolate);
    if (top.rate === null) return { refused: `${top.binds}: even an idle replica is slower than promised`, top };
    const minutes = plan.shapes[input.shape].map((one) => one * input.requests_per_s * input.growth);
    const peak = Math.max(...minutes) * input.burst;
    const mean = minutes.reduce((sum, one) => sum + one, 0) / minutes.length;
    const needed = replicasFor(peak, top.rate);
    const total = withRedundancy(needed, input);
    const ready = input.follow && plan.autoscale
      ? scaled(option, minutes, input.burst, top.rate, input, plan.autoscale) : minutes.map(() => total);
    const most = Math.max(...ready);
    const hours = ready.reduce((sum, one) => sum + one, 0) / 60;
    const bursts = minutes.map((rate, m) => rate * input.burst / ready[m]);
    const busiest = Math.max(...bursts);
    const attainment = ["high", "mid", "low"].map((side) => share(surface, bursts, minutes, input.limits, side));
    const busy = minutes.map((rate, m) => Math.min(1, rate / ready[m] * option.service_mean_s / option.slots));
    const price = input.prices[option.name] ?? null;
    const cost = price === null ? null : price * hours / 24;
    const tokens = mean * 86400 * (option.output_tokens || 0);
    const energy = option.power_w === null ? null
      : ready.reduce((sum, one, m) => sum + one * (option.power_w[0] + (option.power_w[1] - option.power_w[0]) * busy[m]), 0) * 60;
    const quality = input.perplexity_ratio === null || option.perplexity_ratio === null
      ? null : option.perplexity_ratio <= input.perplexity_ratio;
    // What more replicas cannot change: kept only where it is known to be, by the high end of its interval.
    const steady = Object.fromEntries(Object.keys(input.steady).map((name) => [name, option.steady[name] ?? null]));
    const broken = Object.keys(steady).filter((name) => steady[name] === null || steady[name][2] > input.steady[name]);
    return {
      refused: "", top, peak, needed,
      needed_range: [replicasFor(peak, top.high || top.rate), replicasFor(peak, top.low)],
      replicas: most, least: Math.min(...ready), hours, cost_per_hour: cost,
      cost_per_million_tokens: cost === null || !tokens ? null : cost * 24 / (tokens / 1e6),
      joules_per_million_tokens: energy === null || !tokens ? null : energy / (tokens / 1e6),
      latency_s: Object.fromEntries(Object.keys(input.limits).map((name) =>
        [name, ["low", "mid", "high"].map((side) => quantileAt(surface, name, busiest, side))])),
      attainment,
      utilization_peak: Math.max(...busy),
      utilization_mean: busy.reduce((sum, one, m) => sum + one * ready[m], 0) / ready.reduce((sum, one) => sum + one, 0),
      quality_met: quality, steady, broken,
      meets: attainment[1] === 1 && !broken.length && (input.perplexity_ratio === null || quality === true) && option.memory_fits !== false,
      extrapolates: top.extrapolates || option.last_rate === null || busiest > option.last_rate,
      below_shard: most < surface.shard,
    };
  };
})();
