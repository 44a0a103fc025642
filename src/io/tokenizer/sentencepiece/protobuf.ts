/**
 * Protocol buffers, as far as reading known messages needs: fields by number, bounds checked, nothing copied.
 *
 * @module
 */

/** Wire types: the encoding of a field's value. */
const VARINT = 0;
const FIXED64 = 1;
const BYTES = 2;
const FIXED32 = 5;

/**
 * Walks over the fields of one message.
 *
 * For each number that {@linkcode ProtoReader.fields} yields, call exactly one of the other methods.
 */
export class ProtoReader {
  readonly #bytes: Uint8Array;
  readonly #bad: (reason: string) => SyntaxError;
  #at = 0;
  #wire = VARINT;

  /**
   * Begins at the first field.
   *
   * @param bytes The whole message.
   * @param bad Makes the error for a malformed message.
   */
  constructor(bytes: Uint8Array, bad: (reason: string) => SyntaxError) {
    this.#bytes = bytes;
    this.#bad = bad;
  }

  /** Numbers of the fields in file order. @throws {SyntaxError} If one has no place in a message. */
  *fields(): Generator<number, void> {
    while (this.#at < this.#bytes.length) {
      const tag = this.#varint("a field");
      const number = Number(tag >> 3n);
      this.#wire = Number(tag & 7n);
      if (number === 0 || number >= 2 ** 29) {
        throw this.#bad(`field ${number} at byte ${this.#at}`);
      }
      yield number;
    }
  }

  #varint(what: string): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      if (this.#at >= this.#bytes.length) throw this.#bad(`it ends in ${what}`);
      const byte = this.#bytes[this.#at++];
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw this.#bad(`${what} is a number of more than ten bytes`);
  }

  #take(length: number, what: string): Uint8Array {
    if (length > this.#bytes.length - this.#at) {
      throw this.#bad(
        `${what} claims ${length} bytes, ${
          this.#bytes.length - this.#at
        } are left`,
      );
    }
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  #expect(wire: number, what: string): void {
    if (this.#wire !== wire) {
      throw this.#bad(`${what} has wire type ${this.#wire}, wanted ${wire}`);
    }
  }

  /** The field as a signed whole number of 32 bits. */
  int32(what: string): number {
    this.#expect(VARINT, what);
    return Number(BigInt.asIntN(32, this.#varint(what)));
  }

  /** The field as a boolean. */
  flag(what: string): boolean {
    this.#expect(VARINT, what);
    return this.#varint(what) !== 0n;
  }

  /** The field as an f32. */
  float(what: string): number {
    this.#expect(FIXED32, what);
    const bytes = this.#take(4, what);
    return new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true);
  }

  /** The field as bytes, a view into the message. */
  bytes(what: string): Uint8Array {
    this.#expect(BYTES, what);
    return this.#take(Number(this.#varint(what)), what);
  }

  /** The field as a message of its own. */
  message(what: string): ProtoReader {
    return new ProtoReader(this.bytes(what), this.#bad);
  }

  /** Steps over the field. */
  skip(): void {
    const what = "an unknown field";
    if (this.#wire === VARINT) this.#varint(what);
    else if (this.#wire === FIXED64) this.#take(8, what);
    else if (this.#wire === FIXED32) this.#take(4, what);
    else if (this.#wire === BYTES) this.bytes(what);
    else throw this.#bad(`${what} has wire type ${this.#wire}`);
  }
}
