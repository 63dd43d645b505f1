// A trained MiniGPT in the page: `forward` and `_look` of minigpt_helpers/nn.py on flat arrays of
// float64. tests/browser/test_site.py holds it beside Python.

const EPS = 1e-5;   // of LayerNorm
const CUBIC = 0.044715, SCALE = Math.sqrt(2 / Math.PI);   // of GELU

// What save_checkpoint wrote (checkpoints.py): eight bytes of length, a JSON header, the numbers.
export function readCheckpoint(buffer) {
  const size = Number(new DataView(buffer).getBigUint64(0, true));
  const { __metadata__: about, ...entries } =
    JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, size)));
  const tensors = {};
  for (const [name, { dtype, data_offsets: [from, to] }] of Object.entries(entries)) {
    const [Numbers, value] =
      { F16: [Uint16Array, half], F32: [Float32Array], F64: [Float64Array] }[dtype];
    tensors[name] = Float64Array.from(new Numbers(buffer.slice(8 + size + from, 8 + size + to)), value);
  }
  return new GPT(JSON.parse(about.config), JSON.parse(about.vocabulary), tensors);
}

// The number whose float16 has these bits. (Float16Array is too new to rely on.)
function half(bits) {
  const exponent = (bits >> 10) & 31, fraction = (bits & 1023) / 1024;
  return (bits >> 15 ? -1 : 1) * (exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14);
}

export class GPT {
  constructor(config, chars, tensors) {
    Object.assign(this, { config, chars, tensors });
  }

  encode(text) {
    return Array.from(text, (char) => this.chars.indexOf(char));
  }

  // ids (T) -> { logits (T, V), scores and weights (L, H, T, T) }, each a flat array. Scores are raw
  // dot products, also of the future; weights are causal.
  look(ids) {
    const { embed_dim: D, num_heads: H, num_layers: L } = this.config;
    const T = ids.length, d = D / H;
    const { "token_embedding.weight": tokens, "position_embedding.weight": positions } = this.tensors;
    const x = new Float64Array(T * D);
    for (let t = 0; t < T; t++)
      for (let i = 0; i < D; i++) x[t * D + i] = tokens[ids[t] * D + i] + positions[t * D + i];
    const scores = new Float64Array(L * H * T * T), weights = new Float64Array(L * H * T * T);
    for (let layer = 0; layer < L; layer++) {
      const block = `blocks.${layer}.`;
      const qkv = this.linear(this.norm(x, `${block}norm1`), D, `${block}attention.qkv`);
      const joined = new Float64Array(T * D);
      for (let head = 0; head < H; head++) {
        const map = (layer * H + head) * T * T;
        for (let t = 0; t < T; t++) {
          const row = map + t * T, query = t * 3 * D + head * d;
          for (let s = 0; s < T; s++) {
            const key = s * 3 * D + D + head * d;
            for (let i = 0; i < d; i++) scores[row + s] += qkv[query + i] * qkv[key + i];
          }
          causalSoftmax(weights, scores, row, t, Math.sqrt(d));
          for (let s = 0; s <= t; s++) {
            const value = s * 3 * D + 2 * D + head * d;
            for (let i = 0; i < d; i++)
              joined[t * D + head * d + i] += weights[row + s] * qkv[value + i];
          }
        }
      }
      add(x, this.linear(joined, D, `${block}attention.proj`));
      const hidden = this.linear(this.norm(x, `${block}norm2`), D, `${block}feed_forward.expand`);
      add(x, this.linear(gelu(hidden), hidden.length / T, `${block}feed_forward.contract`));
    }
    return { logits: this.linear(this.norm(x, "final_norm"), D, "head"), scores, weights };
  }

  // x (T, width) @ weight (width, out) + bias (out)
  linear(x, width, name) {
    const weight = this.tensors[`${name}.weight`], bias = this.tensors[`${name}.bias`];
    const rows = x.length / width, out = weight.length / width;
    const y = new Float64Array(rows * out);
    for (let t = 0; t < rows; t++) {
      const row = y.subarray(t * out, (t + 1) * out);
      if (bias) row.set(bias);
      for (let i = 0; i < width; i++) {
        const value = x[t * width + i], from = i * out;
        for (let j = 0; j < out; j++) row[j] += value * weight[from + j];
      }
    }
    return y;
  }

  norm(x, name) {
    const weight = this.tensors[`${name}.weight`], bias = this.tensors[`${name}.bias`];
    const D = weight.length, y = new Float64Array(x.length);
    for (let from = 0; from < x.length; from += D) {
      let mean = 0, square = 0;
      for (let i = 0; i < D; i++) mean += x[from + i] / D;
      for (let i = 0; i < D; i++) square += (x[from + i] - mean) ** 2 / D;
      const scale = 1 / Math.sqrt(square + EPS);
      for (let i = 0; i < D; i++) y[from + i] = (x[from + i] - mean) * scale * weight[i] + bias[i];
    }
    return y;
  }
}

function causalSoftmax(out, scores, row, last, root) {
  let largest = -Infinity, total = 0;
  for (let s = 0; s <= last; s++) largest = Math.max(largest, scores[row + s]);
  for (let s = 0; s <= last; s++) total += out[row + s] = Math.exp((scores[row + s] - largest) / root);
  for (let s = 0; s <= last; s++) out[row + s] /= total;
}

const gelu = (x) => x.map((a) => a / (1 + Math.exp(-2 * SCALE * (a + CUBIC * a * a * a))));

function add(x, y) {
  for (let i = 0; i < x.length; i++) x[i] += y[i];
}
