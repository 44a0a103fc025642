/**
 * Memory that is given back before the garbage collector comes to it.
 *
 * @module
 */

/**
 * Gives the memory behind arrays back at once; nothing may use them, or others on the same memory, any more. What a file's
 * tensors take on their way to a device adds up to tens of megabytes before a collection finds it.
 */
export function release(...arrays: (ArrayBufferView | undefined)[]): void {
  for (const array of arrays) {
    const buffer = array?.buffer;
    if (buffer instanceof ArrayBuffer && !buffer.detached) buffer.transfer(0);
  }
}
