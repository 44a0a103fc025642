/**
 * Choice between the builds of the kernels: the one with relaxed SIMD, whose instructions may give one of several
 * results, or the plain one.
 *
 * The kernels use only operands for which all allowed results are equal (codes of up to 7 bits, no fraction of -1
 * twice, places below 16, numbers that fit). A platform that has another result there is wrong, and gets the plain build.
 *
 * @module
 */

const BYTES = [-128, -128, 127, 127, -128, 127, 127, -128]
  .concat([1, 2, 3, 4, -1, -2, -3, -4]);
const CODES = [127, 127, 127, 127, 127, 127, 127, 127, 1, 2, 3, 4, 5, 6, 7, 0];
const SUMS = [1, -1, 1, -1];
const FRACTIONS = [32767, -32768, 16384, -16384, 3, -3, 1, 0];
const OTHERS = [32767, 32767, 1, 1, 16384, 16384, 16383, -32768];
const PLACES = [15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0];
const NUMBERS = [-1.75, 1.75, 65535, -65536];

/** Bytes that {@linkcode relaxedIsExact} works on. */
export const TRIAL_BYTES = 192;

/** True if `relaxed` of a build, run on {@linkcode TRIAL_BYTES} at `at` of `memory`, has the results that kernels need. */
export function relaxedIsExact(
  relaxed: (at: number) => void,
  memory: ArrayBufferLike,
  at: number,
): boolean {
  const bytes = (from: number) => new Int8Array(memory, at + from, 16);
  const halves = (from: number) => new Int16Array(memory, at + from, 8);
  const words = (from: number) => new Int32Array(memory, at + from, 4);
  bytes(0).set(BYTES);
  bytes(16).set(CODES);
  words(32).set(SUMS);
  halves(48).set(FRACTIONS);
  halves(64).set(OTHERS);
  bytes(80).set(PLACES);
  new Float32Array(memory, at + 96, 4).set(NUMBERS);
  relaxed(at);
  const products = BYTES.map((x, i) => x * CODES[i]);
  const pairs = SUMS.flatMap((_, i) =>
    [0, 2].map((j) => products[4 * i + j] + products[4 * i + j + 1])
  );
  const agree = (found: ArrayLike<number>, wanted: readonly number[]) =>
    wanted.every((x, i) => found[i] === x);
  return agree(halves(112), pairs) &&
    agree(
      words(128),
      SUMS.map((x, i) => x + pairs[2 * i] + pairs[2 * i + 1]),
    ) &&
    agree(
      halves(144),
      FRACTIONS.map((x, i) => (x * OTHERS[i] + 0x4000) >> 15),
    ) &&
    agree(bytes(160), PLACES.map((i) => BYTES[i])) &&
    agree(words(176), NUMBERS.map(Math.trunc));
}
