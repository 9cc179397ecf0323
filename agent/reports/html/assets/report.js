"use strict";
(() => {
  const find = (selector, within = document) => Array.from(within.querySelectorAll(selector));
  const filters = document.querySelector(".filters");
  const field = (name) => filters.querySelector(`[name="${name}"]`);
  const boxes = find('[name="status"]', filters);
  const [section, owner, severity, text, expand, clear] = ["section", "owner", "severity", "text", "expand", "clear"].map(field);
  const choices = { section, owner, severity };
  const output = filters.querySelector("output");
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

  // "until-found": the search of the browser also finds collapsed text, and expands it.
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
      const control = { body, toggle, part, content: body.textContent.toLowerCase(), more: body.querySelector(".more div") };
      toggle.replaceChildren(...title.childNodes);
      toggle.setAttribute("aria-controls", control.more.id);
      title.replaceChildren(toggle);
      control.more.addEventListener("beforematch", () => fold(control, true));
      fold(control, false);
      part.controls.push(control);
      controls.push(control);
    }
  }
  const commands = find(".fixes code, .remediation code").filter((code) => /\S[\s=]\S/.test(code.textContent));
  for (const block of [...find("pre.copy"), ...commands]) {
    const command = block.textContent;
    const copy = button("Copy", async () => {
      try {
        await navigator.clipboard.writeText(command);
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
      for (const { body, content } of part.controls) {
        const fits = (!statuses.length || statuses.includes(body.dataset.status))
          && (!section.value || section.value === part.name)
          && (!owner.value || owner.value === body.dataset.owner)
          && (!severity.value || severity.value === body.dataset.severity)
          && words.every((word) => content.includes(word));
        body.hidden = !fits;
        inside += fits;
      }
      part.element.hidden = !inside;
      shown += inside;
    }
    none.hidden = shown > 0;
    output.textContent = `${shown} of ${controls.length} shown`;
  };
  const read = (state) => {
    const statuses = (state.get("status") || "").split(",");
    for (const box of boxes) box.checked = statuses.includes(box.value);
    for (const [name, choice] of Object.entries(choices)) {
      choice.value = state.get(name) || "";
      if (choice.selectedIndex < 0) choice.value = "";
    }
    text.value = state.get("text") || "";
    show();
  };
  const write = () => {
    const state = new URLSearchParams();
    const statuses = boxes.filter((box) => box.checked).map((box) => box.value).join(",");
    const chosen = Object.entries(choices).map(([name, choice]) => [name, choice.value]);
    for (const [name, value] of [["status", statuses], ...chosen, ["text", text.value.trim()]]) {
      if (value) state.set(name, value);
    }
    const hash = state.toString().replaceAll("%2C", ",");
    history.replaceState(null, "", hash ? `#${hash}` : "#controls");
    show();
  };
  // The hash is either an anchor or the state of the filters; only the latter contains "=".
  const follow = () => {
    const hash = location.hash.slice(1);
    if (hash.includes("=")) {
      read(new URLSearchParams(hash));
      filters.parentElement.scrollIntoView();
      return;
    }
    const target = document.getElementById(hash);
    if (!target) return;
    const control = controls.find((one) => one.body === target);
    if (target.closest("[hidden]")) read(new URLSearchParams());
    if (control) fold(control, true);
    target.scrollIntoView();
  };

  document.documentElement.classList.add("js");
  filters.hidden = false;
  for (const element of [...boxes, ...Object.values(choices), text]) element.addEventListener("input", write);
  clear.addEventListener("click", () => { read(new URLSearchParams()); write(); });
  expand.addEventListener("click", () => {
    const open = !controls.some(isOpen);
    for (const control of controls) fold(control, open);
    expand.textContent = open ? "Collapse all" : "Expand all";
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
