"use strict";
// Keys of a review, and the loop of its player. Without this file the buttons still decide.

const form = document.querySelector("[data-decide]");
const player = document.querySelector("[data-listen] audio");
const note = form.elements.note;
const region = { begins: 0, ends: Infinity };

function isTyping(target) {
  return target.matches("input, textarea, select");
}

function playDemonstration(number) {
  const cell = document.querySelector(`[data-demonstration="${number}"] [data-play]`);
  if (cell) cell.click();
  return Boolean(cell);
}

function toggle() {
  if (!player) return;
  if (player.paused) player.play().catch(() => {});
  else player.pause();
}

function loop(begins, ends) {
  Object.assign(region, { begins, ends });
  const mark = document.querySelector("[data-region]");
  const whole = ends === Infinity && begins === 0;
  if (mark) {
    const { begins: first, codeSeconds, cell } = document.querySelector("[data-listen]").dataset;
    const pixels = (seconds) => (seconds - first) / codeSeconds * cell;
    const last = Math.min(ends, player.duration || ends);
    mark.hidden = whole;
    mark.style.left = `${pixels(begins)}px`;
    mark.style.width = `${Math.max(2, pixels(last) - pixels(begins))}px`;
  }
  say(whole ? "The whole clip loops" : `Loop from ${begins.toFixed(2)} s${ends === Infinity ? "" : ` to ${ends.toFixed(2)} s`}`);
}

if (player) {
  player.addEventListener("timeupdate", () => {
    if (!player.paused && player.currentTime >= region.ends) player.currentTime = region.begins;
  });
  player.addEventListener("ended", () => {
    player.currentTime = region.begins;
    player.play().catch(() => {});
  });
  // browsers that let nothing play by itself wait for Space
  player.play().catch(() => {});
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (isTyping(event.target)) {
    const leaves = event.key === "Escape" || (event.key === "Enter" && event.target.value);
    if (leaves) {
      event.preventDefault();
      event.target.blur();
    } else if (event.key === "Enter") event.preventDefault();
    return;
  }
  const digit = /^Digit([1-5])$/.exec(event.code);
  if (event.shiftKey && digit) {
    if (playDemonstration(digit[1])) event.preventDefault();
    return;
  }
  const acts = {
    " ": toggle,
    "[": () => loop(player.currentTime, region.ends > player.currentTime ? region.ends : Infinity),
    "]": () => loop(Math.min(region.begins, player.currentTime), Math.max(player.currentTime, 0.05)),
    l: () => loop(0, Infinity),
    e: () => note.focus(),
  };
  if (event.key === " " && event.target.closest("button, a, [data-words]")) return;
  const act = acts[event.key];
  if (act && (player || event.key === "e")) {
    event.preventDefault();
    act();
    return;
  }
  const found = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (!found || found.matches(":disabled") || event.repeat) return;
  event.preventDefault();
  found.click();
});

// one decision a page: a second press while the first is under way would decide the next clip
form.addEventListener("submit", (event) => {
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => { delete form.dataset.sent; });
