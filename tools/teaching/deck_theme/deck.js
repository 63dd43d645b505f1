// Starts reveal.js, after the pictures of each slide were made to fit beside its text.

const WIDTH = 1280;
const HEIGHT = 720;
const TEXT = 1.04; // measure with larger text: another browser or font renderer may need more space

/** The slides themselves, in order: sections that hold no further section. */
const slides = [...document.querySelectorAll(".slides section")].filter(
  (section) => !section.querySelector("section"),
);

/** Make the pictures of a slide as large as they can be, all by the same factor. */
function fitPictures(slide) {
  const pictures = [...slide.querySelectorAll("img")];
  if (!pictures.length) return;
  const resize = (factor) => {
    for (const picture of pictures) picture.style.width = `${factor * picture.naturalWidth}px`;
  };
  let [low, high] = [0.3, 2];
  for (let step = 0; step < 10; step++) {
    const middle = (low + high) / 2;
    resize(middle);
    if (slide.offsetHeight > HEIGHT) high = middle; // its padding counts
    else low = middle;
  }
  resize(low);
}

/** Fit the pictures of all slides, each laid out whether or not reveal.js shows it now. */
function fitDeck() {
  const page = document.documentElement;
  const stage = document.querySelector(".reveal .slides");
  const [text, style] = [page.style.getPropertyValue("--text"), stage.style.cssText];
  page.classList.add("laying-out");
  page.style.setProperty("--text", TEXT);
  stage.style.cssText = `width: ${WIDTH}px; height: ${HEIGHT}px`;
  slides.forEach(fitPictures);
  stage.style.cssText = style;
  page.style.setProperty("--text", text);
  page.classList.remove("laying-out");
}

async function start() {
  const first = slides[0];
  if (first?.querySelector("h1")) first.classList.add("title-slide");
  await Promise.allSettled([
    ...[...document.fonts].map((face) => face.load()), // also those that no visible text asks for
    ...[...document.images].map((image) => image.decode()),
  ]);
  fitDeck();
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
