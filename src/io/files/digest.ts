/**
 * SHA-256 of texts and bytes.
 *
 * @module
 */

import { release } from "../../tensor/release.ts";

/** SHA-256 of `parts` one after the other, in hexadecimal. */
export async function digest(
  ...parts: readonly (string | ArrayBufferView | undefined)[]
): Promise<string> {
  const bytes = parts.filter((p) => p !== undefined).map((part) =>
    typeof part === "string"
      ? new TextEncoder().encode(part)
      : new Uint8Array(part.buffer, part.byteOffset, part.byteLength)
  );
  const whole = new Uint8Array(
    bytes.reduce((sum, b) => sum + b.byteLength, 0),
  );
  let at = 0;
  for (const b of bytes) {
    whole.set(b, at);
    at += b.byteLength;
  }
  const hash = await crypto.subtle.digest("SHA-256", whole);
  release(whole);
  return new Uint8Array(hash).toHex();
}
