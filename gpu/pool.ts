/**
 * Buffers that are used again, by size: making and destroying one costs more than a small kernel.
 *
 * @module
 */

/** Buffers smaller than this share a size. */
const SMALLEST = 256;

/** Free bytes that are kept; what goes beyond is destroyed. */
const KEPT_BYTES = 256 * 2 ** 20;

/** Gives GPU buffers and takes them back. */
export class BufferPool {
  readonly #make: (bytes: number) => GPUBuffer;
  readonly #most: number;
  readonly #condemned = new WeakSet<GPUBuffer>();
  readonly #free = new Map<number, GPUBuffer[]>();
  #freeBytes = 0;
  #liveBytes = 0;

  /**
   * @param make Creates a buffer of whole words.
   * @param most The most bytes that `make` can.
   */
  constructor(
    make: (bytes: number) => GPUBuffer,
    most = Number.MAX_SAFE_INTEGER,
  ) {
    this.#make = make;
    this.#most = most - (most % 4);
  }

  /** Bytes of all buffers that exist: given out, or free. */
  get bytes(): number {
    return this.#liveBytes + this.#freeBytes;
  }

  /** A buffer of at least `bytes`, whatever it holds. */
  take(bytes: number): GPUBuffer {
    const size = Math.max(bytes, Math.min(sizeClass(bytes), this.#most));
    const found = this.#free.get(size)?.pop();
    if (found) this.#freeBytes -= size;
    const buffer = found ?? this.#make(size);
    this.#liveBytes += size;
    return buffer;
  }

  /** Takes a buffer back. Work that uses it and is not submitted yet must be submitted before {@linkcode trim}. */
  give(buffer: GPUBuffer): void {
    const { size } = buffer;
    this.#liveBytes -= size;
    if (this.#condemned.has(buffer)) {
      buffer.destroy();
      return;
    }
    this.#freeBytes += size;
    const list = this.#free.get(size);
    if (list) list.push(buffer);
    else this.#free.set(size, [buffer]);
  }

  /**
   * Never gives `buffer` out again: there was no memory for it, which WebGPU tells only afterwards. What is free may be
   * what it lacked.
   */
  condemn(buffer: GPUBuffer): void {
    this.#condemned.add(buffer);
    this.trim(0);
  }

  /** True if more is free than is worth keeping. */
  get full(): boolean {
    return this.#freeBytes > KEPT_BYTES;
  }

  /** Destroys free buffers, the largest first, until at most `kept` bytes are free. */
  trim(kept: number = KEPT_BYTES): void {
    const sizes = [...this.#free.keys()].sort((a, b) => b - a);
    for (const size of sizes) {
      const list = this.#free.get(size)!;
      while (list.length > 0 && this.#freeBytes > kept) {
        list.pop()!.destroy();
        this.#freeBytes -= size;
      }
      if (list.length === 0) this.#free.delete(size);
    }
  }
}

/** Sizes grow by a quarter of a power of two, so that a buffer fits what asks for about as much. */
function sizeClass(bytes: number): number {
  if (bytes <= SMALLEST) return SMALLEST;
  const step = Math.max(SMALLEST, 2 ** (Math.ceil(Math.log2(bytes)) - 3));
  return Math.ceil(bytes / step) * step;
}
