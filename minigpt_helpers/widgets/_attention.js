// What the two attention widgets share: the sentence about a pair and the look of weights.
import { inWords, shade } from "./_base.js";

// The same as `pair_in_words` in attention_mask.py. weights: T * T numbers.
export function pairInWords(tokens, weights, row, column, causal) {
  const query = `${inWords(tokens[row])} (position ${row})`;
  const key = inWords(tokens[column]);
  if (causal && column > row)
    return `${query} cannot look at ${key} (position ${column}): it lies in the future, weight 0`;
  const weight = weights[row * tokens.length + column].toFixed(3);
  return `${query} looks at ${key} (position ${column}) with weight ${weight}`;
}

// How a map draws weights from 0 to 1. The root makes small weights visible.
export const weightLook = {
  colour: (weight) => shade(Math.sqrt(weight)),
  ticks: [0, 0.1, 0.3, 0.6, 1].map((weight) => [Math.sqrt(weight), String(weight)]),
  text: (weight, room) =>
    (room >= 40 ? weight.toFixed(2) : weight.toFixed(2).replace(/^0/, "")),
};

// Layers or heads as options of a choice.
export const numbered = (how) => Array.from({ length: how }, (_, i) => [i, String(i)]);
