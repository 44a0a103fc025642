/**
 * Seeded random numbers, the same on every machine.
 *
 * @module
 */

/** A stream of random numbers (xoshiro128**, seeded through splitmix32 from a number and a label). */
export class Random {
  #state: Uint32Array;
  #spare: number | undefined;

  /**
   * Starts a stream.
   *
   * @param seed Any finite number.
   * @param label Names an independent stream of the same seed, a layer's name for example.
   */
  constructor(seed: number, label = "") {
    // FNV-1a over the label and the seed's eight bytes.
    let h = 0x811c9dc5;
    const mix = (byte: number) => {
      h = Math.imul(h ^ byte, 0x01000193) >>> 0;
    };
    for (const byte of new TextEncoder().encode(label)) mix(byte);
    for (const byte of new Uint8Array(Float64Array.of(seed).buffer)) mix(byte);
    this.#state = new Uint32Array(4);
    for (let i = 0; i < 4; i++) {
      h = (h + 0x9e3779b9) >>> 0;
      let z = h;
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      this.#state[i] = (z ^ (z >>> 15)) >>> 0;
    }
    if (this.#state.every((s) => s === 0)) this.#state[0] = 1;
  }

  /** A uniform 32-bit unsigned integer. */
  uint32(): number {
    const s = this.#state;
    const x = Math.imul(s[1], 5);
    const result = Math.imul((x << 7) | (x >>> 25), 9) >>> 0;
    const t = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result;
  }

  /** A uniform number in [0, 1) with 32 random bits. */
  uniform(): number {
    return this.uint32() / 0x1_0000_0000;
  }

  /** A standard normal number (polar Box-Muller). */
  normal(): number {
    if (this.#spare !== undefined) {
      const spare = this.#spare;
      this.#spare = undefined;
      return spare;
    }
    for (;;) {
      const u = 2 * this.uniform() - 1;
      const v = 2 * this.uniform() - 1;
      const q = u * u + v * v;
      if (q === 0 || q >= 1) continue;
      const f = Math.sqrt((-2 * Math.log(q)) / q);
      this.#spare = v * f;
      return u * f;
    }
  }

  /** `n` standard normal numbers as f32. */
  normals(n: number): Float32Array {
    const out = new Float32Array(n);
    for (let i = 0; i < n; i++) out[i] = this.normal();
    return out;
  }
}
