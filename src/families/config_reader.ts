/**
 * Reads the values of a `config.json` with errors that name the model, the key and the value found.
 *
 * @module
 */

import { FormatError, KindError } from "../errors.ts";
import type { Activation } from "../device/contract/activation.ts";

/** A parsed `config.json`. */
export type ConfigJson = Readonly<Record<string, unknown>>;

/** Activations by the names that configs have for them. */
const ACTIVATION_NAMES: Readonly<Record<string, Activation>> = {
  gelu: "gelu",
  "gelu_new": "gelu_tanh",
  "gelu_pytorch_tanh": "gelu_tanh",
  relu: "relu",
  tanh: "tanh",
};

/** A config under the name of its model. */
export class ConfigReader {
  readonly #config: ConfigJson;
  readonly #where: string;
  readonly #file: string;
  readonly #purpose: string;

  /** @param where Name of the model in errors; `file`: name of the config in them; `purpose`: the action in them. */
  constructor(
    config: ConfigJson,
    where: string,
    { file = "config.json", purpose = "run the model" }: {
      file?: string;
      purpose?: string;
    } = {},
  ) {
    this.#config = config;
    this.#where = where;
    this.#file = file;
    this.#purpose = purpose;
  }

  /** This config with values of keys that it has not; a key that is null it has. */
  with(defaults: ConfigJson = {}): ConfigReader {
    const own = Object.entries(this.#config).filter(([, value]) =>
      value !== undefined
    );
    const config = { ...defaults, ...Object.fromEntries(own) };
    return new ConfigReader(config, this.#where, {
      file: this.#file,
      purpose: this.#purpose,
    });
  }

  /** The value of a key; undefined where there is none or null. */
  get(key: string): unknown {
    return this.#config[key] ?? undefined;
  }

  /** Refuses a setting of the model. @throws {TypeError} Always. */
  refuse(what: string): never {
    throw new KindError(`Cannot ${this.#purpose} ${this.#where}: ${what}`);
  }

  /** The model type. @throws {TypeError} If it is none of `types`. */
  type<T extends string>(types: readonly T[]): T {
    const type = this.get("model_type");
    if (types.includes(type as T)) return type as T;
    return this.refuse(
      `wanted a model_type of ${types.join(", ")}, got ${shown(type)}`,
    );
  }

  /** A number from `least` on. @throws {SyntaxError} If it is missing, no number or less. */
  number(key: string, fallback?: number, least: number = 0): number {
    const value = this.get(key) ?? fallback;
    if (typeof value === "number" && value >= least) return value;
    return this.#wrong(key, `a number >= ${least}`, value);
  }

  /** A whole number from `least` (1) on. @throws {SyntaxError} If it is missing, no whole number or less. */
  whole(key: string, fallback?: number, least: number = 1): number {
    const value = this.get(key) ?? fallback;
    if (Number.isInteger(value) && (value as number) >= least) {
      return value as number;
    }
    return this.#wrong(key, `a whole number >= ${least}`, value);
  }

  /** A boolean. @throws {SyntaxError} If it is neither true nor false. */
  flag(key: string, fallback: boolean): boolean {
    const value = this.get(key) ?? fallback;
    return typeof value === "boolean"
      ? value
      : this.#wrong(key, "true or false", value);
  }

  /** Token ids: one, some, or none. @throws {SyntaxError} If they are no token ids. */
  tokens(key: string): number[] {
    const value = this.get(key) ?? [];
    const ids = Array.isArray(value) ? value : [value];
    return ids.every((id) => Number.isInteger(id) && id >= 0)
      ? ids
      : this.#wrong(key, "one or more token ids", value);
  }

  /** An activation. @throws {TypeError} If it is one that is not known here. */
  activation(key: string, fallback: string): Activation {
    const value = this.get(key) ?? fallback;
    const found = typeof value === "string" &&
        Object.hasOwn(ACTIVATION_NAMES, value)
      ? ACTIVATION_NAMES[value]
      : undefined;
    return found ?? this.refuse(
      `${key} ${shown(value)} is not one of ${
        Object.keys(ACTIVATION_NAMES).join(", ")
      }`,
    );
  }

  #wrong(key: string, wanted: string, value: unknown): never {
    throw new FormatError(
      `Cannot ${this.#purpose} ${this.#where}: ${this.#file} wants ${wanted} for ${key}, got ${
        shown(value)
      }`,
    );
  }
}

function shown(value: unknown): string {
  return JSON.stringify(value) ?? "none";
}
