"use strict";
(() => {
  const find = (selector, within = document) => Array.from(within.querySelectorAll(selector));
  const filters = document.querySelector(".filters");
  const field = (name) => filters.querySelector(`[name="${name}"]`);
  const boxes = find('[name="status"]', filters);
  const [section, actor, text, unfold, clear] = ["section", "actor", "text", "unfold", "clear"].map(field);
  const told = filters.querySelector("output");
  const none = document.querySelector(".none");
  const sections = find(".section").map((element) => ({ element, name: element.dataset.section, controls: [] }));
  const controls = [];
  const button = (label, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = label;
    made.addEventListener("click", act);
    return made;
  };

  // Found by the browser's own search while folded: browsers that know "until-found" unfold it then.
  const fold = (control, open) => {
    control.body.classList.toggle("open", open);
    control.toggle.setAttribute("aria-expanded", String(open));
    if (open) control.more.removeAttribute("hidden");
    else control.more.setAttribute("hidden", "until-found");
  };
  const isOpen = (control) => control.body.classList.contains("open");

  for (const part of sections) {
    for (const body of find("tbody", part.element)) {
      const title = body.querySelector("th");
      const toggle = button("", () => fold(control, !isOpen(control)));
      const control = { body, toggle, part, words: body.textContent.toLowerCase(), more: body.querySelector(".more div") };
      toggle.replaceChildren(...title.childNodes);
      toggle.setAttribute("aria-controls", control.more.id);
      title.replaceChildren(toggle);
      control.more.addEventListener("beforematch", () => fold(control, true));
      fold(control, false);
      part.controls.push(control);
      controls.push(control);
    }
  }
  const commands = find(".to-do code, .remedy code").filter((code) => /\S[\s=]\S/.test(code.textContent));
  for (const block of [...find("pre.copy"), ...commands]) {
    const words = block.textContent;
    const copy = button("Copy", async () => {
      try {
        await navigator.clipboard.writeText(words);
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(block);
        copy.textContent = "Selected";
      }
      setTimeout(() => { copy.textContent = "Copy"; }, 2000);
    });
    if (block.matches("pre")) block.append(copy);
    else block.after(copy);
  }

  const show = () => {
    const statuses = boxes.filter((box) => box.checked).map((box) => box.value);
    const words = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const part of sections) {
      let inside = 0;
      for (const { body, words: own } of part.controls) {
        const fits = (!statuses.length || statuses.includes(body.dataset.status))
          && (!section.value || section.value === part.name)
          && (!actor.value || actor.value === body.dataset.actor)
          && words.every((word) => own.includes(word));
        body.hidden = !fits;
        inside += fits;
      }
      part.element.hidden = !inside;
      shown += inside;
    }
    none.hidden = shown > 0;
    told.textContent = `${shown} of ${controls.length} shown`;
  };
  const read = (state) => {
    const statuses = (state.get("status") || "").split(",");
    for (const box of boxes) box.checked = statuses.includes(box.value);
    for (const [name, choice] of [["section", section], ["actor", actor]]) {
      choice.value = state.get(name) || "";
      if (choice.selectedIndex < 0) choice.value = "";
    }
    text.value = state.get("text") || "";
    show();
  };
  const write = () => {
    const state = new URLSearchParams();
    const statuses = boxes.filter((box) => box.checked).map((box) => box.value).join(",");
    for (const [name, value] of [["status", statuses], ["section", section.value], ["actor", actor.value], ["text", text.value.trim()]]) {
      if (value) state.set(name, value);
    }
    const words = state.toString().replaceAll("%2C", ",");
    history.replaceState(null, "", words ? `#${words}` : "#controls");
    show();
  };
  // The hash is either a place in the page or the state of the filters; only the latter has a "=".
  const follow = () => {
    const hash = location.hash.slice(1);
    if (hash.includes("=")) {
      read(new URLSearchParams(hash));
      filters.parentElement.scrollIntoView();
      return;
    }
    const place = document.getElementById(hash);
    if (!place) return;
    const control = controls.find((one) => one.body === place);
    if (place.closest("[hidden]")) read(new URLSearchParams());
    if (control) fold(control, true);
    place.scrollIntoView();
  };

  document.documentElement.classList.add("js");
  filters.hidden = false;
  for (const element of [...boxes, section, actor, text]) element.addEventListener("input", write);
  clear.addEventListener("click", () => { read(new URLSearchParams()); write(); });
  unfold.addEventListener("click", () => {
    const open = !controls.some(isOpen);
    for (const control of controls) fold(control, open);
    unfold.textContent = open ? "Fold all" : "Unfold all";
  });
  addEventListener("hashchange", follow);
  addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.closest('[type="search"], select')) {
      event.preventDefault();
      text.focus();
    }
  });
  show();
  if (location.hash) follow();
})();
