"use strict";
// The slider of the last week: while it is dragged it says where it is, then the page is of then.
(() => {
  const there = (slider) => {
    const back = (Number(slider.max) - Number(slider.value)) * Number(slider.dataset.step) * 1000;
    return back === 0 ? null : new Date(new Date(slider.dataset.end).getTime() - back);
  };
  const said = (moment) => moment === null ? "now" : moment.toLocaleString([], { weekday: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
  const go = (moment) => {
    const url = new URL(location.href);
    for (const name of ["at", "before", "after", "cursor", "top"]) url.searchParams.delete(name);
    if (moment !== null) url.searchParams.set("at", `${moment.toISOString().slice(0, 16)}Z`);
    location.href = url;
  };
  document.addEventListener("input", (event) => {
    if (event.target.matches("[data-travel]")) document.querySelector("[data-travel-text]").textContent = said(there(event.target));
  });
  document.addEventListener("change", (event) => { if (event.target.matches("[data-travel]")) go(there(event.target)); });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-travel-now]")) { event.preventDefault(); go(null); }
  });
})();
