/**
 * Reads golden files: JSON with arrays in base64.
 *
 * @module
 */

/** The JSON file `name` beside the calling module, which passes its `import.meta`. */
export function golden<T>(meta: ImportMeta, name: string): T {
  return JSON.parse(Deno.readTextFileSync(new URL(name, meta.url)));
}

/** Bytes in base64. */
export function u8(base64: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromBase64(base64);
}

/** Little-endian f32 values in base64. */
export function floats(base64: string): Float32Array<ArrayBuffer> {
  return new Float32Array(u8(base64).buffer);
}

/** SHA-256 of an array's bytes in hexadecimal. */
export async function sha256(
  data: Uint8Array<ArrayBuffer> | Float32Array<ArrayBuffer>,
): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data)).toHex();
}
