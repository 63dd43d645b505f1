// numpy.random.default_rng(entropy) for what the widgets draw, bit for bit: SeedSequence, PCG64
// (O'Neill, 2014), and normal numbers by ziggurat (Marsaglia and Tsang, 2000).

const MASK = (1n << 64n) - 1n, WIDE = (1n << 128n) - 1n;
const PCG = 0x2360ed051fc65da44385df649fccf645n;
const times = Math.imul;

// entropy: whole numbers below 2 ** 32 -> 8 mixed ones
function seedWords(entropy) {
  let constant = 0x43b0d7e5;
  const hash = (word, factor) => {
    word ^= constant;
    constant = times(constant, factor);
    word = times(word, constant);
    return word ^ (word >>> 16);
  };
  const mix = (x, y) => {
    const word = times(0xca01f9dd, x) - times(0x4973f715, y) | 0;
    return word ^ (word >>> 16);
  };
  const pool = [0, 1, 2, 3].map((i) => hash(entropy[i] ?? 0, 0x931e8875));
  for (let from = 0; from < 4; from++)
    for (let to = 0; to < 4; to++)
      if (from !== to) pool[to] = mix(pool[to], hash(pool[from], 0x931e8875));
  for (const word of entropy.slice(4))
    for (let to = 0; to < 4; to++) pool[to] = mix(pool[to], hash(word, 0x931e8875));
  constant = 0x8b51f9dd;
  return Array.from({ length: 8 }, (_, i) => BigInt(hash(pool[i % 4], 0x58f38ded) >>> 0));
}

// The 256 layers of the ziggurat, each of the same area, from the outermost inwards.
const EDGE = 3.6541528853610088, AREA = 0.004928673233974655, LEVELS = 2 ** 52;
const inside = new Float64Array(256), width = new Float64Array(256), height = new Float64Array(256);
{
  const density = (x) => Math.exp(-0.5 * x * x);
  let x = EDGE, outer = EDGE;
  const base = AREA / density(x);
  inside[0] = (x / base) * LEVELS;
  width[0] = base / LEVELS;
  width[255] = x / LEVELS;
  height[0] = 1;
  height[255] = density(x);
  for (let i = 254; i >= 1; i--) {
    x = Math.sqrt(-2 * Math.log(AREA / x + density(x)));
    inside[i + 1] = (x / outer) * LEVELS;
    outer = x;
    height[i] = density(x);
    width[i] = x / LEVELS;
  }
}

export class Random {
  constructor(...entropy) {
    const words = seedWords(entropy);
    const [high, low, seqHigh, seqLow] = [0, 2, 4, 6].map((i) => words[i] | (words[i + 1] << 32n));
    this.step = ((((seqHigh << 64n) | seqLow) << 1n) | 1n) & WIDE;
    this.state = (this.step + ((high << 64n) | low)) & WIDE;
    this.bits();
  }

  // 64 random bits
  bits() {
    this.state = (this.state * PCG + this.step) & WIDE;
    const word = ((this.state >> 64n) ^ this.state) & MASK, turn = this.state >> 122n;
    return ((word >> turn) | (word << (64n - turn))) & MASK;
  }

  // a number in [0, 1)
  random() {
    return Number(this.bits() >> 11n) / 2 ** 53;
  }

  normal() {
    for (;;) {
      const bits = this.bits(), layer = Number(bits & 255n), sign = bits & 256n ? -1 : 1;
      const place = Number((bits >> 9n) & ((1n << 52n) - 1n)), x = place * width[layer];
      if (place < inside[layer]) return sign * x;
      if (layer === 0) {
        for (;;) {
          const beyond = -Math.log1p(-this.random()) / EDGE, y = -Math.log1p(-this.random());
          if (2 * y > beyond * beyond) return (place / 256) & 1 ? -(EDGE + beyond) : EDGE + beyond;
        }
      }
      const [top, bottom] = [height[layer - 1], height[layer]];
      if ((top - bottom) * this.random() + bottom < Math.exp(-0.5 * x * x)) return sign * x;
    }
  }

  normals(count) {
    return Float64Array.from({ length: count }, () => this.normal());
  }

  // an index, drawn with these probabilities
  choice(probs) {
    let total = 0;
    const ends = probs.map((p) => total += p), point = this.random();
    const index = ends.findIndex((end) => point < end / total);
    return index < 0 ? probs.length - 1 : index;
  }
}
