((picture, border, width, letter) => {
  const bars = [...picture.querySelectorAll('.bars > g')].map((group) => {
    const [, box, name] = group.children;
    return { group, box, name, row: +group.dataset.row, x: +box.getAttribute('x'), width: +box.getAttribute('width') };
  });
  const widen = (chosen) => {
    const scale = width / chosen.width;
    for (const bar of bars) {
      const above = bar.row < chosen.row && bar.x <= chosen.x + .01 && bar.x + bar.width >= chosen.x + chosen.width - .01;
      const within = bar.row >= chosen.row && bar.x >= chosen.x - .01 && bar.x + bar.width <= chosen.x + chosen.width + .01;
      bar.group.style.display = above || within ? '' : 'none';
      bar.group.classList.toggle('above', above);
      const x = above ? border : border + (bar.x - chosen.x) * scale;
      const wide = above ? width : bar.width * scale;
      bar.box.setAttribute('x', x);
      bar.box.setAttribute('width', wide);
      bar.name.setAttribute('x', x + 6);
      const [text, room] = [bar.name.dataset.name, Math.floor((wide - 10) / letter)];
      bar.name.textContent = text.length <= room ? text : room > 2 ? text.slice(0, room - 1) + '…' : '';
    }
  };
  for (const bar of bars) bar.group.addEventListener('click', () => widen(bar));
})
