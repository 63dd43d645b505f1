// Is a guess right? The page holds no answer, only fingerprints of the right one and of the wrong ones
// that people make. The same as `fingerprint` in tools/teaching/site/predictions.py.

// FNV-1a, 32 bits
function hash(text) {
  let word = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) word = Math.imul(word ^ byte, 0x01000193);
  return word >>> 0;
}

// "[1/8, 0.5]" -> [0.125, 0.5]; undefined where something is no number.
function numbers(text) {
  const words = text.split(/[\s,;[\]()]+/).filter(Boolean);
  const found = words.map((word) => word.split("/").map(Number).reduce((a, b) => a / b));
  return words.length && found.every(Number.isFinite) ? found : undefined;
}

// Numbers fall into boxes twice the tolerance wide, one of them around the answer.
function isIt(name, { shift, width, print }, values) {
  if (values.length !== shift.length) return false;
  return [1e-9, -1e-9].some((nudge) => print === hash(`${name}:${values.map((value, i) =>
    Math.floor((value - shift[i]) / width + 0.5 + nudge)).join()}`));
}

// check: { name, expects, words, right, near: [print and hint], hint } -> a sentence
export function checkGuess({ name, expects, words, right, near, hint }, text) {
  const shown = text.trim(), word = shown.toLowerCase().replace(/^["']|["']$/g, "");
  if (!shown) return `not done yet: this exercise expects ${expects}.`;
  const values = words ? word : numbers(shown);
  if (!values) return `not yet: this exercise expects ${expects}.`;
  const fits = (one) => (words ? one.print === hash(`${name}:${word}`) : isIt(name, one, values));
  if (fits(right)) return "passed: your prediction.";
  const hints = near.filter(fits).map((one) => one.hint);
  return `not yet: ${shown} is not it.${[...hints, hint][0] ? ` Hint: ${[...hints, hint][0]}` : ""}`;
}
