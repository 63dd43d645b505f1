// Starts reveal.js, and gives pictures the room that the text of their slide leaves.

const WIDTH = 1280;
const HEIGHT = 720;

/** The slides themselves, in order: sections that hold no further section. */
const slides = [...document.querySelectorAll(".slides section")].filter(
  (section) => !section.querySelector("section"),
);

/** Make the pictures of a slide as large as they can be, all by the same factor. */
function fitPictures(slide) {
  const pictures = [...slide.querySelectorAll("img")];
  if (!pictures.length) return;
  const overflows = () => slide.scrollHeight > slide.clientHeight + 1;
  const resize = (factor) => {
    for (const picture of pictures) picture.style.width = `${factor * picture.naturalWidth}px`;
  };
  let [low, high] = [0.3, 2];
  for (let step = 0; step < 8; step++) {
    const middle = (low + high) / 2;
    resize(middle);
    if (overflows()) high = middle;
    else low = middle;
  }
  resize(low);
}

/** Call `work` while every slide has its place on the page, whatever reveal.js does later. */
function whileLaidOut(work) {
  const stage = document.querySelector(".reveal .slides");
  document.documentElement.classList.add("laying-out");
  stage.style.cssText = `width: ${WIDTH}px; height: ${HEIGHT}px`;
  work();
  stage.style.cssText = "";
  document.documentElement.classList.remove("laying-out");
}

async function start() {
  const first = slides[0];
  if (first?.querySelector("h1")) first.classList.add("title-slide");
  await Promise.all([
    document.fonts.ready,
    ...[...document.images].map((image) => image.decode().catch(() => {})),
  ]);
  whileLaidOut(() => slides.forEach(fitPictures));
  const laidOut = location.search.includes("print-pdf") ? "pdf-ready" : "ready";
  Reveal.on(laidOut, () => { window.deckIsReady = true; });
  Reveal.initialize({
    width: WIDTH,
    height: HEIGHT,
    margin: 0,
    center: false,
    controls: false,
    hash: true,
    navigationMode: "linear", // the arrow keys reach every slide
    pdfMaxPagesPerSlide: 1,
    pdfSeparateFragments: false,
    plugins: [RevealNotes],
    slideNumber: "c/t",
    transition: "none",
  });
}

start();
