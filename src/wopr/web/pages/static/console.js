"use strict";
// The SQL console: completion, saved questions, where an error is. Without it the form still works.
(() => {
  const $ = (what, from = document) => from.querySelector(what);
  const query = $("#query");
  if (!query) return;
  const list = $("#words");
  const sqlWords = ["select", "from", "where", "group by", "order by", "limit", "count(*)", "filter", "having", "join", "left join", "using", "with", "distinct", "between", "interval", "date_trunc", "now()::timestamp", "quantile_cont", "is null", "is not null", "desc", "case when"];
  const words = [...JSON.parse(query.dataset.words), ...sqlWords];
  const MOST = 8;

  // -- completion -------------------------------------------------------------------------
  let chosen = -1;
  const prefix = () => /[\w]+$/.exec(query.value.slice(0, query.selectionStart))?.[0] ?? "";
  const close = () => { list.hidden = true; chosen = -1; query.removeAttribute("aria-activedescendant"); };
  const mark = (at) => {
    chosen = at;
    [...list.children].forEach((item, number) => item.setAttribute("aria-selected", String(number === at)));
    if (at >= 0) query.setAttribute("aria-activedescendant", list.children[at].id);
  };
  const offer = () => {
    const begun = prefix().toLowerCase();
    const found = begun.length < 2 ? [] : words.filter((word) => word.toLowerCase().startsWith(begun) && word.toLowerCase() !== begun).slice(0, MOST);
    if (!found.length) { close(); return; }
    list.replaceChildren(...found.map((word, at) => {
      const item = document.createElement("li");
      item.textContent = word;
      item.id = `word-${at}`;
      item.setAttribute("role", "option");
      return item;
    }));
    list.hidden = false;
    mark(-1);
  };
  const take = (word) => {
    const begun = prefix();
    query.setRangeText(word, query.selectionStart - begun.length, query.selectionStart, "end");
    close();
    query.focus();
  };
  query.addEventListener("input", offer);
  query.addEventListener("blur", () => setTimeout(close, 150));
  list.addEventListener("mousedown", (event) => {
    const item = event.target.closest("li");
    if (item) { event.preventDefault(); take(item.textContent); }
  });
  query.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); close(); $("#ask").click(); return; }
    if (list.hidden) return;
    const count = list.children.length;
    if (event.key === "ArrowDown") { event.preventDefault(); mark((chosen + 1) % count); }
    else if (event.key === "ArrowUp") { event.preventDefault(); mark((chosen + count - 1) % count); }
    else if (event.key === "Escape") { event.stopPropagation(); close(); }
    else if ((event.key === "Tab" || event.key === "Enter") && (chosen >= 0 || event.key === "Tab") && !event.shiftKey) {
      event.preventDefault();
      take(list.children[Math.max(0, chosen)].textContent);
    }
  });

  // -- how long it takes, and where it is wrong -----------------------------------------------
  const took = $("#took");
  let ticking = null;
  document.addEventListener("htmx:before:request", (event) => {
    if (event.target.id !== "ask") return;
    delete query.dataset.marked;
    const began = Date.now();
    const tell = () => { took.textContent = `copying the database and asking, ${Math.round((Date.now() - began) / 1000)} s`; };
    tell();
    clearInterval(ticking);
    ticking = setInterval(tell, 1000);
  });
  const ended = (text) => { clearInterval(ticking); took.textContent = text; };
  document.addEventListener("htmx:after:swap", () => {
    if (!$("#answer")?.firstElementChild) return;
    if (ticking) ended("");
    const wrong = $("[data-wrong-line]");
    if (!wrong) return;
    const lines = query.value.split("\n");
    const at = lines.slice(0, wrong.dataset.wrongLine - 1).reduce((sum, line) => sum + line.length + 1, 0) + Number(wrong.dataset.wrongColumn) - 1;
    query.focus();
    query.setSelectionRange(at, at + (/^\w+/.exec(query.value.slice(at))?.[0].length ?? 1));
    query.dataset.marked = "yes";
  });
  document.addEventListener("htmx:error", (event) => { if (ticking && event.target.id === "ask") ended("No answer came. If it still runs: Stop."); });

  // -- saved questions: in this browser only ---------------------------------------------------
  const KEY = "wopr-sql";
  const read = () => { try { return JSON.parse(localStorage.getItem(KEY)) ?? []; } catch { return []; } };
  const write = (found) => { try { localStorage.setItem(KEY, JSON.stringify(found.slice(0, 100))); } catch { /* a browser that keeps nothing */ } };
  const place = $("#saved");
  const button = (text, title, work) => {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "btn";
    made.textContent = text;
    made.title = title;
    made.addEventListener("click", work);
    return made;
  };
  const show = () => {
    const found = read();
    place.hidden = !found.length;
    place.replaceChildren(...found.flatMap((one) => [
      button(one.name, one.text, () => { query.value = one.text; query.focus(); }),
      button("×", `Forget ${one.name}`, () => { write(read().filter((other) => other.name !== one.name)); show(); }),
    ]));
  };
  $("#save").hidden = false;
  $("#save").addEventListener("click", () => {
    const name = window.prompt("Save this question in this browser as:");
    if (!name || !query.value.trim()) return;
    write([{ name, text: query.value }, ...read().filter((one) => one.name !== name)]);
    show();
  });
  show();
  const link = $("#link");
  link.hidden = false;
  const lead = () => { link.href = `${location.pathname}?${new URLSearchParams({ q: query.value })}`; };
  query.addEventListener("input", lead);
  lead();
  for (const one of document.querySelectorAll("[data-query]")) {
    one.addEventListener("click", (event) => { event.preventDefault(); query.value = one.dataset.query; lead(); query.focus(); });
  }
})();
