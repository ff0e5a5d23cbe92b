"use strict";
// What pages do by themselves: live state, dialogs, keys, theme. Without it they are plain pages.
(() => {
  const $ = (what, from = document) => from.querySelector(what);
  const $$ = (what, from = document) => [...from.querySelectorAll(what)];
  const root = document.body.dataset.root;
  const pageNonce = $("script[nonce]")?.nonce ?? "";
  const stamp = $('meta[name="wopr-stamp"]').content;
  const csrf = $('meta[name="wopr-csrf"]').content;
  const say = (text) => { $("#said").textContent = text; };

  // -- theme: as the system, or as somebody said ------------------------------------------
  const themes = ["system", "light", "dark"];
  const words = { system: "as the system", light: "light", dark: "dark" };
  const stored = (key, value) => {
    try { return value === undefined ? localStorage.getItem(key) : localStorage.setItem(key, value); }
    catch { return null; }  // a browser that keeps nothing
  };
  const paint = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    for (const one of $$("[data-theme-switch]")) one.textContent = `Theme: ${words[theme]}`;
    document.dispatchEvent(new CustomEvent("wopr:theme"));
  };
  let theme = themes.includes(stored("wopr-theme")) ? stored("wopr-theme") : "system";
  paint(theme);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint(theme));

  // -- live: what is shown says of when it is ----------------------------------------------
  const live = $("[data-live]");
  let newest = null;
  let silent = null;
  const time = () => (newest ? newest.slice(11, 19) : "");
  const show = (state, text) => {
    if (!live) return;
    live.dataset.state = state;
    $("[data-live-text]", live).textContent = text;
  };
  const old = (why) => show("old", newest ? `old: as of ${time()}. ${why}` : why);
  const expect = () => {
    clearTimeout(silent);
    silent = setTimeout(() => old("The server does not answer."), 45000);
  };
  const stream = $("#stream");
  if (stream) {
    expect();
    stream.addEventListener("beat", (event) => {
      newest = event.detail.data;
      show("live", `live · ${time()}`);
      expect();
    });
    stream.addEventListener("trouble", (event) => { old(event.detail.data); expect(); });
    stream.addEventListener("htmx:sse:error", () => old("No connection; trying again."));
    stream.addEventListener("htmx:sse:before:message", (event) => {
      const { message } = event.detail;
      if (message.event) return;
      // The nonce of this page stands where the server put its stamp, and nowhere else.
      message.data = message.data.replaceAll(`hx-nonce="${stamp}"`, `hx-nonce="${pageNonce}"`)
        .replaceAll('name="csrf" value=""', `name="csrf" value="${csrf}"`);
      if (held()) event.preventDefault();
    });
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) show("asleep", newest ? `asleep since ${time()}` : "asleep");
      else show("opening", newest ? `as of ${time()}, waking up` : "opening");
      expect();
    });
  }
  // What somebody types into, or has opened, is not taken from under their hands.
  const held = () => {
    const at = document.activeElement;
    return Boolean(at && at.closest("#live") && at.matches("input:not([type=checkbox]), textarea, select"));
  };

  // -- acts: requests carry the token; answers open as a dialog ------------------------------
  const dialog = $("#dialog");
  document.addEventListener("htmx:config:request", (event) => {
    const { request } = event.detail.ctx;
    if (csrf && request.method !== "GET") request.headers["X-CSRF-Token"] = csrf;
  });
  document.addEventListener("htmx:after:swap", (event) => {
    const target = event.detail?.ctx?.target ?? event.target;
    if (target?.id === "asked" && !dialog.open) dialog.showModal();
  });
  document.addEventListener("htmx:response:error", () => say("The server refused that."));
  document.addEventListener("htmx:error", () => say("That could not be asked: no connection."));

  // -- clicks ----------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const at = event.target.closest("[data-copy],[data-theme-switch],[data-keys],[data-close],[data-all]");
    if (!at) return;
    if (at.dataset.copy !== undefined) {
      navigator.clipboard?.writeText(at.dataset.copy).then(() => say(`Copied ${at.dataset.copy}`), () => {});
    } else if (at.dataset.themeSwitch !== undefined) {
      theme = themes[(themes.indexOf(theme) + 1) % themes.length];
      stored("wopr-theme", theme);
      paint(theme);
    } else if (at.dataset.keys !== undefined) {
      $("#keys").showModal();
    } else if (at.dataset.close !== undefined) {
      event.preventDefault();
      at.closest("dialog")?.close();
    } else if (at.dataset.all !== undefined) {
      for (const box of $$('input[type="checkbox"][name="id"]')) box.checked = at.checked;
      counted();
    }
  });
  const counted = () => {
    const boxes = $$('input[type="checkbox"][name="id"]:checked');
    for (const one of $$("[data-selected]")) {
      one.hidden = !boxes.length;
      const text = $("[data-selected-count]", one);
      if (text) text.textContent = `${boxes.length} selected`;
    }
  };
  document.addEventListener("change", (event) => {
    if (event.target.matches('input[type="checkbox"][name="id"]')) counted();
  });

  // -- completion: the server says what a line can become; arrows choose, Tab or Enter take ------
  const box = $('[role="combobox"]');
  const list = $("#completions");
  if (box && list) {
    const options = () => $$('[role="option"]', list);
    const chosen = () => $('[aria-selected="true"]', list);
    const open = (wanted) => {
      list.hidden = !wanted || !options().length;
      box.setAttribute("aria-expanded", String(!list.hidden));
      if (list.hidden) box.removeAttribute("aria-activedescendant");
    };
    const choose = (step) => {
      const all = options();
      const next = all[(all.indexOf(chosen()) + step + all.length) % all.length];
      for (const one of all) one.setAttribute("aria-selected", String(one === next));
      box.setAttribute("aria-activedescendant", next.id);
      next.scrollIntoView({ block: "nearest" });
    };
    const take = (option) => {
      box.value = option.dataset.line;
      open(false);
      box.dispatchEvent(new Event("input", { bubbles: true }));
      box.focus();
    };
    document.addEventListener("htmx:after:swap", () => { if (document.activeElement === box) open(true); });
    box.addEventListener("blur", () => setTimeout(() => open(false), 150));
    list.addEventListener("mousedown", (event) => {
      const option = event.target.closest('[role="option"]');
      if (option) { event.preventDefault(); take(option); }
    });
    box.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        if (!list.hidden) event.preventDefault();  // or the browser empties the box, too
        open(false);
        return;
      }
      if (list.hidden || !options().length) return;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        choose(event.key === "ArrowDown" ? 1 : -1);
      } else if ((event.key === "Tab" || event.key === "Enter") && chosen()) {
        event.preventDefault();
        take(chosen());
      }
    });
  }

  // -- keys ------------------------------------------------------------------------------------
  const places = { o: "/", t: "/tasks", f: "/flows", x: "/failures", s: "/schedules", c: "/categories", w: "/workers", q: "/sql", a: "/acts", l: "/alerts" };
  let going = 0;
  const rows = () => $$("tr[data-row]");
  const current = () => $('tr[data-row][aria-current="true"]');
  const move = (step) => {
    const all = rows();
    if (!all.length) return;
    const next = all[Math.min(all.length - 1, Math.max(0, all.indexOf(current()) + step))] ?? all[0];
    for (const one of all) one.removeAttribute("aria-current");
    next.setAttribute("aria-current", "true");
    $("a", next)?.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest?.("tr[data-row]");
    if (!row) return;
    for (const one of rows()) one.removeAttribute("aria-current");
    row.setAttribute("aria-current", "true");
  });
  const keys = {
    "/": () => {
      const box = $("[data-search]");
      if (!box) { location.href = `${root}/tasks`; return; }
      if (box.value && !box.value.endsWith(" ")) box.value += " ";
      box.focus();
      box.setSelectionRange(box.value.length, box.value.length);
    },
    "?": () => $("#keys").showModal(),
    g: () => { going = Date.now(); },
    j: () => move(1),
    k: () => move(-1),
    x: () => { $('input[type="checkbox"]', current() ?? document.createElement("i"))?.click(); },
    r: () => ($('[data-key="r"]:not([hidden])', current() ?? undefined) ?? $('[data-key="r"]'))?.click(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.matches("input:not([type=checkbox]), textarea, select") || $("dialog[open]")) return;
    if (going && Date.now() - going < 1500 && places[event.key]) {
      going = 0;
      event.preventDefault();
      location.href = root + places[event.key];
      return;
    }
    going = 0;
    if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
  });
})();
