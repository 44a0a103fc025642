/**
 * A reader for the pickles of torch checkpoints that runs no code.
 *
 * A pickle is a program for a stack machine, and may name any Python function to be called. This machine builds only
 * dictionaries, lists, texts, numbers and descriptions of tensors; every other name ends it with an error.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import type { DType } from "../../tensor/dtype.ts";
import { quoted } from "../files/errors.ts";
import { TorchTensor } from "./pickle_values.ts";
import type { PickleValue, TorchStorage } from "./pickle_values.ts";

/** Names that a pickle may call on or mention. */
const STORAGES: Readonly<Record<string, DType>> = {
  "torch.DoubleStorage": "f64",
  "torch.FloatStorage": "f32",
  "torch.HalfStorage": "f16",
  "torch.BFloat16Storage": "bf16",
  "torch.LongStorage": "i64",
  "torch.IntStorage": "i32",
  "torch.ShortStorage": "i16",
  "torch.CharStorage": "i8",
  "torch.ByteStorage": "u8",
  "torch.BoolStorage": "bool",
};
const DICT = "collections.OrderedDict";
const TENSOR = "torch._utils._rebuild_tensor_v2";
const PARAMETER = "torch._utils._rebuild_parameter";
const KNOWN = new Set([DICT, TENSOR, PARAMETER, ...Object.keys(STORAGES)]);

/** Values on the stack at most: Python's own pickler puts a thousand items there before it stores them. */
const MAX_STACK = 1 << 20;

/** Limit of a pickle's objects, each counted as its memory is, a list as one. A tensor takes about forty. */
const BUDGET = 1 << 22;
const DICT_COST = 8;
const MEMO_COST = 3;

class Global {
  constructor(readonly name: string) {}
}
class Mark {}
class StorageRef {
  constructor(readonly storage: TorchStorage) {}
}

type Item = PickleValue | Global | Mark | StorageRef | readonly Item[];

/**
 * The value of a pickle.
 *
 * @param name Name of the file in errors.
 * @throws {SyntaxError} If it is malformed, or uses an operation or name that a checkpoint of tensors has no need for;
 *   the name is in the message.
 */
export function readPickle(
  bytes: Uint8Array<ArrayBuffer>,
  name: string,
): PickleValue {
  return new Machine(bytes, name).run();
}

class Machine {
  readonly #bytes: Uint8Array<ArrayBuffer>;
  readonly #view: DataView<ArrayBuffer>;
  readonly #name: string;
  readonly #stack: Item[] = [];
  readonly #memo = new Map<number, Item>();
  #at = 0;
  #left = BUDGET;

  constructor(bytes: Uint8Array<ArrayBuffer>, name: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#name = name;
  }

  #bad(reason: string): SyntaxError {
    return new FormatError(
      `Cannot read ${quoted(this.#name)} as a torch checkpoint: ${reason}`,
    );
  }

  #take(length: number): number {
    const at = this.#at;
    if (length > this.#bytes.length - at) {
      throw this.#bad("its pickle ends early");
    }
    this.#at += length;
    return at;
  }

  #u8(): number {
    return this.#bytes[this.#take(1)];
  }

  #u32(): number {
    return this.#view.getUint32(this.#take(4), true);
  }

  #text(length: number): string {
    const at = this.#take(length);
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(
        this.#bytes.subarray(at, at + length),
      );
    } catch {
      throw this.#bad("a text in its pickle is not UTF-8");
    }
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw this.#bad("its pickle ends early");
    const text = this.#text(end - this.#at);
    this.#at++;
    return text;
  }

  /** A little-endian two's complement number of `length` bytes. */
  #long(length: number): number | bigint {
    if (length > 8) throw this.#bad(`a number of ${length} bytes`);
    const at = this.#take(length);
    let value = 0n;
    for (let i = length - 1; i >= 0; i--) {
      value = value << 8n | BigInt(this.#bytes[at + i]);
    }
    value = BigInt.asIntN(8 * length, value);
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value;
  }

  #push(item: Item): void {
    if (this.#stack.length >= MAX_STACK) {
      throw this.#bad(`its pickle stacks more than ${MAX_STACK} values`);
    }
    this.#stack.push(item);
  }

  #spend(cost: number): void {
    this.#left -= cost;
    if (this.#left < 0) {
      throw this.#bad("its pickle builds more than a model's tensors need");
    }
  }

  #dict(): Item {
    this.#spend(DICT_COST);
    return new Map();
  }

  #list(items: Item[]): void {
    this.#spend(1);
    this.#push(items);
  }

  #remember(index: number): void {
    this.#spend(MEMO_COST);
    this.#memo.set(index, this.#top());
  }

  #pop(): Item {
    const item = this.#stack.pop();
    if (item === undefined) throw this.#bad("its pickle's stack is empty");
    return item;
  }

  #popMark(): Item[] {
    const at = this.#stack.findLastIndex((item) => item instanceof Mark);
    if (at < 0) throw this.#bad("its pickle lacks a mark");
    const items = this.#stack.splice(at);
    items.shift();
    return items;
  }

  #top(): Item {
    const item = this.#stack.at(-1);
    if (item === undefined) throw this.#bad("its pickle's stack is empty");
    return item;
  }

  #global(module: string, name: string): void {
    const full = `${module}.${name}`;
    if (!KNOWN.has(full)) {
      throw this.#bad(
        `it names ${quoted(full)}, which is refused: only tensors are read`,
      );
    }
    this.#push(new Global(full));
  }

  #memoGet(index: number): void {
    const item = this.#memo.get(index);
    if (item === undefined) throw this.#bad("its pickle lacks a memo");
    this.#push(item);
  }

  #setItems(items: readonly Item[]): void {
    const target = this.#top();
    if (!(target instanceof Map) || items.length % 2 !== 0) {
      throw this.#bad("its pickle sets items of no dictionary");
    }
    for (let i = 0; i < items.length; i += 2) {
      target.set(items[i] as PickleValue, items[i + 1] as PickleValue);
    }
  }

  #append(items: readonly Item[]): void {
    const target = this.#top();
    if (!Array.isArray(target)) {
      throw this.#bad("its pickle appends to no list");
    }
    for (const item of items) target.push(item);
  }

  run(): PickleValue {
    const stack = this.#stack;
    for (;;) {
      const op = this.#u8();
      switch (op) {
        case 0x80: // PROTO
          if (this.#u8() > 5) throw this.#bad("an unknown pickle protocol");
          break;
        case 0x95: // FRAME
          this.#take(8);
          break;
        case 0x2e: { // STOP
          const value = this.#pop();
          if (!isValue(value)) throw this.#bad("its pickle holds no value");
          return value;
        }
        case 0x28: // MARK
          this.#push(new Mark());
          break;
        case 0x30: // POP
          this.#pop();
          break;
        case 0x31: // POP_MARK
          this.#popMark();
          break;
        case 0x7d: // EMPTY_DICT
          this.#push(this.#dict());
          break;
        case 0x5d: // EMPTY_LIST
        case 0x29: // EMPTY_TUPLE
          this.#list([]);
          break;
        case 0x74: // TUPLE
        case 0x6c: // LIST
          this.#list(this.#popMark());
          break;
        case 0x85: // TUPLE1
        case 0x86: // TUPLE2
        case 0x87: { // TUPLE3
          const n = op - 0x84;
          if (stack.length < n) throw this.#bad("its pickle's stack is empty");
          this.#list(stack.splice(stack.length - n));
          break;
        }
        case 0x4e: // NONE
          this.#push(null);
          break;
        case 0x88: // NEWTRUE
          this.#push(true);
          break;
        case 0x89: // NEWFALSE
          this.#push(false);
          break;
        case 0x4b: // BININT1
          this.#push(this.#u8());
          break;
        case 0x4d: // BININT2
          this.#push(this.#view.getUint16(this.#take(2), true));
          break;
        case 0x4a: // BININT
          this.#push(this.#view.getInt32(this.#take(4), true));
          break;
        case 0x8a: // LONG1
          this.#push(this.#long(this.#u8()));
          break;
        case 0x8b: // LONG4
          this.#push(this.#long(this.#u32()));
          break;
        case 0x47: // BINFLOAT
          this.#push(this.#view.getFloat64(this.#take(8), false));
          break;
        case 0x58: // BINUNICODE
          this.#push(this.#text(this.#u32()));
          break;
        case 0x8c: // SHORT_BINUNICODE
        case 0x55: // SHORT_BINSTRING
          this.#push(this.#text(this.#u8()));
          break;
        case 0x71: // BINPUT
          this.#remember(this.#u8());
          break;
        case 0x72: // LONG_BINPUT
          this.#remember(this.#u32());
          break;
        case 0x94: // MEMOIZE
          this.#remember(this.#memo.size);
          break;
        case 0x68: // BINGET
          this.#memoGet(this.#u8());
          break;
        case 0x6a: // LONG_BINGET
          this.#memoGet(this.#u32());
          break;
        case 0x73: { // SETITEM
          const value = this.#pop();
          const key = this.#pop();
          this.#setItems([key, value]);
          break;
        }
        case 0x75: // SETITEMS
          this.#setItems(this.#popMark());
          break;
        case 0x61: // APPEND
          this.#append([this.#pop()]);
          break;
        case 0x65: // APPENDS
          this.#append(this.#popMark());
          break;
        case 0x63: { // GLOBAL
          const module = this.#line();
          this.#global(module, this.#line());
          break;
        }
        case 0x93: { // STACK_GLOBAL
          const name = this.#pop();
          const module = this.#pop();
          if (typeof name !== "string" || typeof module !== "string") {
            throw this.#bad("its pickle names something that is no text");
          }
          this.#global(module, name);
          break;
        }
        case 0x52: // REDUCE
          this.#reduce();
          break;
        case 0x62: // BUILD
          // Attributes of an ordered dictionary (a module's version numbers) say nothing about its tensors.
          this.#pop();
          if (!(this.#top() instanceof Map)) {
            throw this.#bad("its pickle sets attributes of no dictionary");
          }
          break;
        case 0x51: // BINPERSID
          this.#push(this.#persistent(this.#pop()));
          break;
        default:
          throw this.#bad(
            `its pickle has the operation 0x${
              op.toString(16)
            }, which is refused`,
          );
      }
    }
  }

  /** `("storage", type, key, device, elements)`. */
  #persistent(id: Item): StorageRef {
    if (Array.isArray(id)) {
      const [kind, type, key, , count] = id;
      if (
        kind === "storage" && type instanceof Global &&
        Object.hasOwn(STORAGES, type.name) && typeof key === "string" &&
        isCount(count)
      ) return new StorageRef({ key, dtype: STORAGES[type.name], count });
    }
    throw this.#bad("its pickle refers to something that is no storage");
  }

  #reduce(): void {
    const args = this.#pop();
    const callee = this.#pop();
    if (!(callee instanceof Global) || !Array.isArray(args)) {
      throw this.#bad("its pickle calls something that is no function");
    }
    this.#push(this.#call(callee.name, args));
  }

  #call(callee: string, args: readonly Item[]): Item {
    if (callee === DICT && args.length === 0) return this.#dict();
    if (callee === PARAMETER && args[0] instanceof TorchTensor) return args[0];
    if (callee === TENSOR) {
      const [ref, offset, shape, stride] = args;
      if (
        ref instanceof StorageRef && isCount(offset) && isSizes(shape) &&
        isSizes(stride) && stride.length === shape.length
      ) return new TorchTensor(ref.storage, offset, shape, stride);
    }
    throw this.#bad(`its pickle calls ${quoted(callee)} in an unknown way`);
  }
}

function isValue(item: Item): item is PickleValue {
  return !(item instanceof Global || item instanceof Mark ||
    item instanceof StorageRef);
}

function isCount(value: Item): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isSizes(value: Item): value is number[] {
  return Array.isArray(value) && value.length <= 64 && value.every(isCount);
}
