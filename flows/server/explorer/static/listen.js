"use strict";
// Players of the pages. Without this file the links still lead to the sounds, and the player still plays.

const spoken = document.getElementById("spoken");
const say = (text) => { spoken.textContent = text; };

async function reasonOf(address) {
  try {
    const answer = await fetch(address, { headers: { Range: "bytes=0-0" } });
    return answer.ok ? "The browser cannot play it." : await answer.text();
  } catch {
    return "The server does not answer.";
  }
}

// one sound at a time in lists
const single = new Audio();
let playing = null;

function stopList() {
  single.pause();
  if (playing) playing.classList.remove("on");
  playing = null;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-play]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  if (playing === link) return stopList();
  stopList();
  document.querySelectorAll("audio").forEach((audio) => audio.pause());
  playing = link;
  link.classList.add("on");
  single.src = link.href;
  single.play().catch(async (error) => {
    if (error.name === "AbortError" || playing !== link) return;
    stopList();
    link.classList.add("broken");
    const reason = await reasonOf(link.href);
    link.title = reason;
    say(reason);
    const cell = link.closest("td");
    if (cell && !cell.querySelector(".sr")) cell.insertAdjacentElement("beforeend", hidden(reason));
  });
});
single.addEventListener("ended", stopList);

function hidden(text) {
  const span = document.createElement("span");
  span.className = "sr";
  span.textContent = text;
  return span;
}

// the strip of a clip: spectrogram and words on one axis
const listen = document.querySelector("[data-listen]");
if (listen) {
  const audio = listen.querySelector("audio");
  const trouble = listen.querySelector("[data-trouble]");
  const tell = async (address) => {
    trouble.textContent = await reasonOf(address);
    trouble.hidden = false;
  };
  audio.addEventListener("error", () => tell(audio.currentSrc || audio.src));
  if (audio.error) tell(audio.src);
  audio.addEventListener("play", stopList);
  if ("begins" in listen.dataset) strip(listen, audio);
}

function strip(listen, audio) {
  const { begins, ends, codeSeconds, cell, at } = Object.fromEntries(
    Object.entries(listen.dataset).map(([name, value]) => [name, Number(value)]));
  const scroll = listen.querySelector("[data-scroll]");
  const head = listen.querySelector("[data-playhead]");
  const detail = listen.querySelector("[data-detail]");
  const words = [...listen.querySelectorAll("[data-words] button")];
  const pixels = (seconds) => (seconds - begins) / codeSeconds * cell;
  let now = null;

  const seek = (seconds, play = true) => {
    audio.currentTime = seconds;
    follow();
    if (play) audio.play().catch(() => {});
  };

  function follow() {
    const time = audio.currentTime;
    head.hidden = time < begins || time > ends;
    head.style.transform = `translateX(${pixels(time)}px)`;
    const word = words[Math.floor((time - begins) / codeSeconds + 1e-6)] || null;
    if (word !== now) {
      if (now) now.classList.remove("now");
      if (word && !audio.paused) word.classList.add("now");
      now = word;
    }
    const left = pixels(time) - scroll.scrollLeft;
    if (!audio.paused && (left < 0 || left > scroll.clientWidth - 40)) scroll.scrollLeft = pixels(time) - 40;
    if (!audio.paused) requestAnimationFrame(follow);
  }

  const describe = (button) => {
    const word = button.textContent.trim();
    const start = Number(button.dataset.start);
    detail.replaceChildren(
      bold(word), ` from ${start.toFixed(2)} s to ${(start + codeSeconds).toFixed(2)} s, code ${button.dataset.code}`);
  };
  const bold = (text) => {
    const b = document.createElement("b");
    const bdi = document.createElement("bdi");
    bdi.textContent = text;
    b.append(bdi);
    return b;
  };

  audio.addEventListener("play", follow);
  audio.addEventListener("seeked", follow);
  audio.addEventListener("pause", () => { if (now) now.classList.remove("now"); now = null; });
  listen.querySelector("[data-picture]").addEventListener("click", (event) => {
    seek(begins + event.offsetX / cell * codeSeconds);
  });
  words.forEach((button, number) => {
    button.addEventListener("click", () => seek(Number(button.dataset.start)));
    button.addEventListener("mouseenter", () => describe(button));
    button.addEventListener("focus", () => describe(button));
    button.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: number + 1, ArrowLeft: number - 1, Home: 0, End: words.length - 1 };
      const next = words[steps[event.key]];
      if (!next) return;
      event.preventDefault();
      button.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  });
  if (at > 0) audio.addEventListener("loadedmetadata", () => {
    seek(at, false);
    scroll.scrollLeft = pixels(at) - scroll.clientWidth / 3;
  }, { once: true });
}

// a label of the legend picks its clips on the map
const map = document.querySelector(".map");
if (map) {
  const pick = (sign) => {
    map.classList.toggle("picking", sign !== null);
    map.querySelectorAll(".dot").forEach((dot) => dot.classList.toggle("picked", dot.dataset.sign === sign));
  };
  document.querySelectorAll(".legend [data-sign]").forEach((link) => {
    ["mouseenter", "focus"].forEach((event) => link.addEventListener(event, () => pick(link.dataset.sign)));
    ["mouseleave", "blur"].forEach((event) => link.addEventListener(event, () => pick(null)));
  });
}
