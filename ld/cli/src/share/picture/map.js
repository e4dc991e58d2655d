// Says what lies under the pointer: finds block, segment and page by their places, and words for them in `data`.
(function (data, svg) {
  const NS = "http://www.w3.org/2000/svg", PAGE = 4096n, pitch = data.pitch;
  const make = (name, attributes, parent) => {
    const element = document.createElementNS(NS, name);
    for (const key in attributes) element.setAttribute(key, attributes[key]);
    return parent.appendChild(element);
  };
  // `3a12u` is aaa and twelve times u; a letter without a number stands once.
  const unfold = (text) => text.replace(/(\d+)(\D)/g, (_, count, letter) => letter.repeat(+count));
  for (const block of data.blocks)
    for (const segment of block.segments) segment.states = segment.states.map((text) => text && unfold(text));
  const marks = make("g", {}, svg), tip = make("g", { class: "tip" }, svg);

  function find(x, y) {
    const block = data.blocks.find((b) => x >= b.x && x < b.x + b.width && y >= b.y && y < b.y + b.height);
    if (!block) return null;
    x -= block.x; y -= block.y;
    const column = block.columns.findIndex((left) => x >= left && x < left + block.across * pitch);
    for (const segment of block.segments)
      for (const [top, first, count, folded] of segment.bands) {
        const rows = folded ? 0 : Math.ceil(count / block.across), height = folded ? data.fold : rows * pitch;
        if (y < top || y >= top + height) continue;
        if (folded) return { block, segment, folded: count, first };
        const row = Math.floor((y - top) / pitch), across = Math.floor((x - block.columns[column]) / pitch);
        const cell = row * block.across + across;
        if (column < 0 || cell >= count) return null;
        return { block, segment, column, cell: first + cell, left: across * pitch, top: top + row * pitch };
      }
    return null;
  }

  // The last entry of [[cell, value], …] at or before a cell.
  const at = (list, cell) => {
    let found = null;
    for (const entry of list || []) { if (entry[0] > cell) break; found = entry; }
    return found;
  };
  const hex = (number) => "0x" + number.toString(16);

  function words(hit) {
    const { block, segment } = hit, lines = [];
    lines.push(["head", block.name + " · " + segment.kind]);
    if (hit.folded) {
      lines.push(["", hit.folded.toLocaleString("en") + " pages that no process has touched"]);
      return lines;
    }
    const start = segment.addresses[hit.column] && at(segment.addresses[hit.column], hit.cell);
    if (start) lines.push(["", "address " + hex(BigInt(start[1]) + BigInt(hit.cell - start[0]) * PAGE)]);
    if (segment.offset !== null)
      lines.push(["", "offset " + hex(BigInt(segment.offset) + BigInt(hit.cell) * PAGE) + " in " + block.path]);
    const sections = at(segment.sections, hit.cell);
    if (sections && sections[1]) lines.push(["", "section " + sections[1]]);
    const symbols = segment.symbols[hit.cell];
    if (symbols) lines.push(["dim", symbols]);
    const relocations = segment.relocations[hit.cell];
    if (relocations) lines.push(["", "relocations: " + relocations]);
    // Columns of which the same is to be said stand in one line.
    const groups = new Map();
    segment.states.forEach((states, column) => {
      const letter = states ? states[hit.cell] || "-" : "-";
      const said = (segment.mix || {})[hit.cell] || data.meanings[letter] || "not mapped";
      const written = (segment.written[column] || {})[hit.cell] || "";
      const group = groups.get(said + written) || { said, letter, written, columns: [] };
      group.columns.push(data.columns[column]);
      groups.set(said + written, group);
    });
    for (const { said, letter, written, columns } of groups.values()) {
      lines.push(["", columns.join(", ") + ": " + said, letter]);
      if (written) lines.push(["dim", "changed: " + written, "-"]);
    }
    return lines;
  }

  function show(hit, x, y) {
    marks.replaceChildren(); tip.replaceChildren();
    if (!hit) return;
    if (!hit.folded)
      for (const left of hit.block.columns)
        make("rect", { class: "mark", x: hit.block.x + left + hit.left - 1.5, y: hit.block.y + hit.top - 1.5,
          width: pitch + 2, height: pitch + 2, rx: 1.5 }, marks);
    const lines = words(hit), back = make("rect", { class: "back", rx: 7 }, tip);
    let wide = 0, down = 20;
    for (const [kind, text, letter] of lines) {
      const line = make("text", { x: letter ? 28 : 12, y: down, class: kind }, tip);
      line.textContent = text.length > 110 ? text.slice(0, 109) + "…" : text;
      if (letter && letter !== "-") make("rect", { x: 12, y: down - 9, width: 10, height: 10, rx: 2, class: "f" + letter }, tip);
      wide = Math.max(wide, line.getComputedTextLength() + (letter ? 28 : 12));
      down += 17;
    }
    back.setAttribute("width", wide + 14);
    back.setAttribute("height", down - 4);
    const box = svg.viewBox.baseVal;
    const left = x + 18 + wide + 14 > box.width ? Math.max(4, x - wide - 32) : x + 18;
    const top = y + 18 + down > box.height ? Math.max(4, y - down - 12) : y + 18;
    tip.setAttribute("transform", "translate(" + left + "," + top + ")");
  }

  const place = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    return [point.x, point.y];
  };
  svg.addEventListener("pointermove", (event) => { const [x, y] = place(event); show(find(x, y), x, y); });
  svg.addEventListener("pointerleave", () => show(null));

  // Elements that name a letter show the pages of that colour alone, until they are used again.
  let only = null;
  const keys = document.querySelectorAll("[data-key]");
  keys.forEach((key) => key.addEventListener("click", () => {
    only = only === key.dataset.key ? null : key.dataset.key;
    svg.querySelectorAll("path[data-tone]").forEach((path) =>
      path.classList.toggle("off", only !== null && path.dataset.tone !== only));
    keys.forEach((other) => other.setAttribute("aria-pressed", String(other.dataset.key === only)));
  }));
  const search = document.querySelector("input[type=search]");
  if (search) search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    svg.querySelectorAll("[data-path]").forEach((block) =>
      block.classList.toggle("off", !block.dataset.path.toLowerCase().includes(wanted)));
  });
})
