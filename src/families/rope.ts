/**
 * Rotary position embeddings, as a config scales them.
 *
 * @module
 */

import type { ConfigJson, ConfigReader } from "./config_reader.ts";

/** RoPE scaling: from positions to angles. */
export type RopeScaling =
  | { readonly type: "default" }
  /** Positions divided by `factor` (position interpolation, 2306.15595). */
  | { readonly type: "linear"; readonly factor: number }
  /** Long wavelengths divided by `factor`, short ones unchanged, a ramp between (Llama 3.1). */
  | {
    readonly type: "llama3";
    readonly factor: number;
    readonly lowFreqFactor: number;
    readonly highFreqFactor: number;
    readonly originalLength: number;
  };

/** Rotary position settings of a config. */
export interface RopeConfig {
  /** RoPE theta: base of the frequencies of the rotary position embedding. */
  readonly ropeTheta: number;
  /** RoPE scaling. */
  readonly ropeScaling: RopeScaling;
}

/**
 * Reads the rotary position settings of a config.
 *
 * @throws {TypeError} If they ask for a scaling that is not run, or are malformed.
 */
export function readRope(read: ConfigReader): RopeConfig {
  const given = ropeEntry(read);
  const theta = given.rope_theta ?? read.get("rope_theta") ?? 10000;
  if (typeof theta !== "number" || !(theta > 0)) {
    return read.refuse(`rope_theta is ${JSON.stringify(theta)}`);
  }
  const partial = given.partial_rotary_factor ??
    read.get("partial_rotary_factor");
  if (partial !== undefined && partial !== null && partial !== 1) {
    read.refuse(`partial_rotary_factor is ${partial}`);
  }
  return { ropeTheta: theta, ropeScaling: readScaling(read, given) };
}

function readScaling(read: ConfigReader, given: ConfigJson): RopeScaling {
  const part = (key: string): number => {
    const value = given[key];
    return typeof value === "number" && value > 0 ? value : read.refuse(
      `rope scaling wants a number > 0 for ${key}, got ${
        JSON.stringify(value) ?? "none"
      }`,
    );
  };
  const type: unknown = given.rope_type ?? given.type ?? "default";
  switch (type) {
    case "default":
      return { type: "default" };
    case "linear":
      return { type: "linear", factor: part("factor") };
    case "llama3":
      return {
        type: "llama3",
        factor: part("factor"),
        lowFreqFactor: part("low_freq_factor"),
        highFreqFactor: part("high_freq_factor"),
        originalLength: given.original_max_position_embeddings === undefined
          ? read.whole("max_position_embeddings")
          : part("original_max_position_embeddings"),
      };
    default:
      return read.refuse(
        `rope scaling ${
          JSON.stringify(type)
        } is not one of default, linear, llama3, which is all that runs here ("loqa init" writes the model for Python all the same)`,
      );
  }
}

/**
 * Rotary position settings of a config: newer files have all in rope_parameters, older ones the scaling alone, in
 * rope_scaling. Where both are there, transformers takes rope_scaling; if they differ it is an error.
 */
function ropeEntry(read: ConfigReader): ConfigJson {
  const [old, now] = ["rope_scaling", "rope_parameters"].map((key) => {
    const value = read.get(key);
    if (value === undefined) return undefined;
    if (typeof value === "object" && !Array.isArray(value)) {
      return Object.keys(value!).length > 0 ? value as ConfigJson : undefined;
    }
    return read.refuse(`${key} is ${JSON.stringify(value)}, wanted an object`);
  });
  if (old && now) {
    const meant = ({ type, ...entry }: ConfigJson) => {
      const all: ConfigJson = {
        ...entry,
        "rope_type": entry.rope_type ?? type ?? "default",
        "rope_theta": entry.rope_theta ?? read.get("rope_theta") ?? 10000,
      };
      return JSON.stringify(
        Object.entries(all).filter(([, value]) => value !== null).sort(),
      );
    };
    if (meant(old) !== meant(now)) {
      read.refuse(
        `its config.json has rope_scaling ${
          JSON.stringify(old)
        } and rope_parameters ${
          JSON.stringify(now)
        }, which disagree (transformers takes rope_scaling); delete the one that is wrong`,
      );
    }
  }
  return old ?? now ?? {};
}
