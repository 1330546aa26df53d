"use strict";
// Colours as chosen on this site, before anything is drawn; without a choice they follow the system.
(() => {
  const KEY = "lmbench-theme";
  const stored = () => { try { return localStorage.getItem(KEY) || "auto"; } catch { return "auto"; } };
  const apply = (theme) => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    document.dispatchEvent(new Event("themechange"));
  };
  apply(stored());
  document.addEventListener("DOMContentLoaded", () => {
    const choice = document.getElementById("theme");
    choice.value = stored();
    choice.addEventListener("change", () => {
      try { localStorage.setItem(KEY, choice.value); } catch { /* a browser may forbid it: the choice holds for this page */ }
      apply(choice.value);
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => apply(choice.value));
  });
})();
