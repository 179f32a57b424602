"use strict";
// Plain JavaScript, no library. Names and labels only ever become textContent.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const TRAIL = 4; // earlier boxes that are drawn
  const PERIOD = 500; // milliseconds a frame while playing
  const byId = (id) => document.getElementById(id);
  const data = JSON.parse(byId("player-data").textContent);
  const player = byId("player");
  let video = 0;
  let frame = 0;
  let timer = null;

  function add(parent, tag, text, kind) {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    if (kind) element.className = kind;
    parent.append(element);
    return element;
  }

  function draw(parent, tag, attributes, text) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text !== undefined) element.textContent = text;
    parent.append(element);
    return element;
  }

  // Small frames are enlarged by a whole factor, so that boxes are sharp.
  const scale = Math.max(1, Math.round(448 / data.frame_size));
  const panels = data.policies.map((name) => {
    const panel = add(byId("panels"), "div", undefined, "panel");
    add(panel, "h3", name);
    const canvas = add(panel, "canvas");
    canvas.width = canvas.height = data.frame_size * scale;
    const chart = draw(panel, "svg", { viewBox: "0 0 220 74", role: "img" });
    chart.setAttribute("aria-label", `confidence of ${name} in the true class, frame by frame`);
    const facts = add(panel, "p", "", "note");
    const bars = add(panel, "div");
    return { canvas, chart, facts, bars };
  });

  const pictures = new Map();
  function picture(v, t) {
    const key = `${v}/${t}`;
    if (!pictures.has(key)) {
      const image = new Image();
      image.onload = () => { if (v === video && t === frame) paint(); };
      image.src = data.videos[v].frames[t];
      pictures.set(key, image);
    }
    return pictures.get(key);
  }

  function paintFrame(canvas, looks) {
    const context = canvas.getContext("2d");
    const image = picture(video, frame);
    context.imageSmoothingEnabled = false;
    if (image.complete && image.naturalWidth) {
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
    }
    const middles = looks.boxes.slice(0, frame + 1).filter(([, , side]) => side > 0).map(
      ([top, left, side]) => [(left + side / 2) * scale, (top + side / 2) * scale]);
    context.lineWidth = 2;
    context.strokeStyle = "rgba(255, 255, 255, 0.55)";
    context.beginPath();
    middles.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.stroke();
    for (let t = Math.max(0, frame - TRAIL); t <= frame; t += 1) {
      const [top, left, side] = looks.boxes[t];
      if (side === 0) continue; // skipped
      const current = t === frame;
      context.lineWidth = current ? 5 : 2;
      context.strokeStyle = current ? "#3cff5a" : `rgba(255, 255, 255, ${0.7 - 0.14 * (frame - t)})`;
      context.strokeRect(left * scale, top * scale, side * scale, side * scale);
    }
  }

  function paintCurve(chart, values) {
    chart.replaceChildren();
    const x = (t) => 20 + (values.length > 1 ? (t * 192) / (values.length - 1) : 96);
    const y = (value) => 66 - 60 * value;
    for (const level of [0, 0.5, 1]) {
      draw(chart, "line", { x1: 20, x2: 212, y1: y(level), y2: y(level), class: "axis" });
      draw(chart, "text", { x: 2, y: y(level) + 3, class: "tick" }, String(level));
    }
    const points = values.map((value, t) => `${x(t)},${y(value)}`).join(" ");
    draw(chart, "polyline", { points, class: "curve" });
    draw(chart, "circle", { cx: x(frame), cy: y(values[frame]), r: 3.5, class: "now" });
  }

  // Without the sign of a zero: "-0.000" looks as if something were wrong.
  const digits = (value, count) => value.toFixed(count).replace(/^-(0\.0*)$/, "$1");

  function paintBars(bars, top, label) {
    bars.replaceChildren();
    for (const [index, probability] of top) {
      const right = index === label;
      const bar = add(bars, "div", undefined, right ? "bar true" : "bar");
      add(bar, "i").style.width = `${100 * probability}%`;
      const line = add(bar, "span");
      add(line, "b", `${right ? "✓ " : ""}${data.class_names[index]}`);
      add(line, "span", digits(probability, 2));
    }
  }

  function paint() {
    const shown = data.videos[video];
    panels.forEach(({ canvas, chart, facts, bars }, i) => {
      const looks = shown.looks[i];
      paintFrame(canvas, looks);
      paintCurve(chart, looks.confidences);
      facts.textContent =
        (looks.boxes[frame][2] === 0 ? "skipped, " : "") +
        `confidence ${digits(looks.confidences[frame], 2)}, reward ${digits(looks.rewards[frame], 3)}`;
      paintBars(bars, looks.top[frame], shown.label);
    });
    byId("video").selectedIndex = video;
    byId("frame").max = shown.frames.length - 1;
    byId("frame").value = frame;
    byId("where").textContent =
      `frame ${frame + 1} of ${shown.frames.length}, ${data.class_names[shown.label]}`;
    player.dataset.video = shown.index;
    player.dataset.frame = frame;
    picture(video, (frame + 1) % shown.frames.length); // ahead of time
  }

  function show(newVideo, newFrame) {
    video = (newVideo + data.videos.length) % data.videos.length;
    const count = data.videos[video].frames.length;
    frame = ((newFrame % count) + count) % count;
    paint();
  }

  function togglePlay() {
    if (timer === null) timer = setInterval(() => show(video, frame + 1), PERIOD);
    else { clearInterval(timer); timer = null; }
    byId("play").textContent = timer === null ? "play" : "pause";
  }

  for (const shown of data.videos) {
    add(byId("video"), "option", `${shown.index}: ${data.class_names[shown.label]}`);
  }
  byId("video").addEventListener("change", (event) => show(event.target.selectedIndex, 0));
  byId("frame").addEventListener("input", (event) => show(video, Number(event.target.value)));
  byId("back").addEventListener("click", () => show(video, frame - 1));
  byId("forward").addEventListener("click", () => show(video, frame + 1));
  byId("play").addEventListener("click", togglePlay);
  const keys = {
    ArrowLeft: () => show(video, frame - 1),
    ArrowRight: () => show(video, frame + 1),
  };
  // Elsewhere on the page these scroll.
  const playerKeys = {
    ArrowUp: () => show(video - 1, 0),
    ArrowDown: () => show(video + 1, 0),
    " ": togglePlay,
  };
  document.addEventListener("keydown", (event) => {
    // Lists, sliders, buttons and tables have uses of their own for these keys.
    if (event.target.closest("select, input, button, .wide")) return;
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const act = keys[event.key] || (player.contains(event.target) && playerKeys[event.key]);
    if (act) { event.preventDefault(); act(); }
  });
  player.hidden = false; // it is of no use to a reader without scripts
  show(0, 0);
})();
