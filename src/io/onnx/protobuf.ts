/**
 * Protocol buffers, as far as writing known messages needs.
 *
 * @module
 */

const VARINT = 0;
const BYTES = 2;
const FIXED32 = 5;

const encoder = new TextEncoder();

/** Puts the fields of one message together, in the order of the calls. */
export class ProtoWriter {
  readonly #parts: Uint8Array[] = [];
  #length = 0;

  #add(bytes: Uint8Array): this {
    this.#parts.push(bytes);
    this.#length += bytes.length;
    return this;
  }

  #varint(value: bigint): this {
    const out: number[] = [];
    // Negative numbers are those of 64 bits, ten bytes long.
    let rest = BigInt.asUintN(64, value);
    for (; rest > 0x7fn; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80);
    out.push(Number(rest));
    return this.#add(Uint8Array.from(out));
  }

  #tag(field: number, wire: number): this {
    return this.#varint(BigInt(field * 8 + wire));
  }

  /** A whole number or an enumeration. */
  int(field: number, value: number | bigint): this {
    return this.#tag(field, VARINT).#varint(BigInt(value));
  }

  /** An f32. */
  float(field: number, value: number): this {
    return this.#tag(field, FIXED32).#add(
      new Uint8Array(Float32Array.of(value).buffer),
    );
  }

  /** Bytes; they are not copied before {@linkcode ProtoWriter.bytes}. */
  data(field: number, value: Uint8Array): this {
    return this.#tag(field, BYTES).#varint(BigInt(value.length)).#add(value);
  }

  /** A text. */
  string(field: number, value: string): this {
    return this.data(field, encoder.encode(value));
  }

  /** A message of its own. */
  message(field: number, value: ProtoWriter): this {
    return this.data(field, value.bytes());
  }

  /** The whole message. */
  bytes(): Uint8Array<ArrayBuffer> {
    const out = new Uint8Array(this.#length);
    let at = 0;
    for (const part of this.#parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
}
