/**
 * Fields of ggml's blocks: f16 scales, and the words that they lie in.
 *
 * @module
 */

/** Decodes whole blocks: as many as fill `out`. */
export type DecodeBlocks = (bytes: Uint8Array, out: Float32Array) => void;

/** f32 value of each f16 bit pattern: a table, as there is no fast conversion of single elements. */
let halves: Float32Array | undefined;

/** The f32 value of each f16 bit pattern. */
export function halfTable(): Float32Array {
  if (halves === undefined) {
    const bits = Uint16Array.from({ length: 0x10000 }, (_, i) => i);
    halves = new Float32Array(0x10000);
    halves.set(new Float16Array(bits.buffer));
  }
  return halves;
}

/** Blocks as bytes and as u16 words: all block formats decoded here have even sizes. */
export function words(
  bytes: Uint8Array,
): { bytes: Uint8Array; words: Uint16Array } {
  const aligned = bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
  return {
    bytes: aligned,
    words: new Uint16Array(
      aligned.buffer,
      aligned.byteOffset,
      aligned.byteLength >> 1,
    ),
  };
}
