/**
 * QA-LoRA in adapter files: size of the groups of inputs that are pooled before A, and their pooling.
 *
 * loqa sums the inputs of a group, so that `ΔW[o, j] = scaling * (B A)[o, floor(j / group)]` (Xu et al., 2309.14717,
 * algorithm 1). PEFT takes their mean times the number of groups, the paper's own repository their mean; factors of
 * these are converted on reading and writing, so that everybody computes the same.
 *
 * PEFT's `use_qalora` and `qalora_group_size` say that a file is PEFT's. It wants the group to divide the inputs of every
 * module, so adapters of other layers are none of PEFT's: their `peft_type` says so ({@linkcode OWN_TYPE}, at which PEFT
 * stops), loqa's own field has the rest, `"loqa": {"qalora_group_size": 32, "pooling": "sum"}`, and factors are not
 * converted. On layers other than GPTQ's PEFT leaves `use_qalora` alone, and stops at the shapes of A. The files of the paper's repository say nothing; they can be read
 * when somebody writes `"loqa": {"qalora_group_size": 32, "pooling": "average"}` into their `adapter_config.json`, or
 * gives the reader these groups.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";
import { isObject } from "../files/json.ts";
import type { JsonObject } from "../files/json.ts";

/** Pooling of a group's inputs: their sum, their mean, or their mean times the number of groups. */
export type Pooling = "sum" | "average" | "peft";

/** The groups of a QA-LoRA adapter file. */
export interface QaloraGroups {
  /** Inputs of a group. */
  readonly group: number;
  /** Pooling for the file's factors. */
  readonly pooling: Pooling;
}

/** Contents of loqa's own field of `adapter_config.json`. */
export interface OwnField {
  /** Fingerprint of the quantised weights that the adapter belongs to. */
  readonly base?: string;
  /** Groups that PEFT's fields cannot express. */
  readonly groups?: QaloraGroups;
}

/** Name of loqa's own field. */
const FIELD = "loqa";

/** `peft_type` of an adapter that PEFT has no layers for; its error quotes these words. */
export const OWN_TYPE =
  "QALORA of loqa (read by loqa alone; for other tools: loqa merge, then loqa export)";

/** PEFT's default of `qalora_group_size`. */
const PEFT_GROUP = 16;

/** Groups as written for layers with these numbers of inputs: PEFT's way where PEFT can have it. */
export function qaloraGroups(
  group: number,
  widths: readonly number[],
): QaloraGroups {
  const fits = widths.every((width) => width % group === 0);
  return { group, pooling: fits ? "peft" : "sum" };
}

/**
 * Factor of a file's A, `[rank, columns]`, to pool by sums: 1 for sums, `1 / group` for means, `in / group²` with
 * `in = columns * group` for PEFT's.
 */
export function poolingFactor(
  { group, pooling }: QaloraGroups,
  columns: number,
): number {
  return { sum: 1, average: 1 / group, peft: columns / group }[pooling];
}

/** The fields of `adapter_config.json` for QA-LoRA and the base; empty where there is neither. */
export function qaloraFields({ base, groups }: OwnField): JsonObject {
  const peft = groups?.pooling === "peft";
  const own = {
    ...(base !== undefined && { base }),
    ...(groups && !peft && {
      qalora_group_size: groups.group,
      pooling: groups.pooling,
    }),
  };
  return {
    ...(groups && !peft && { peft_type: OWN_TYPE }),
    ...(peft && {
      qalora_group_size: groups.group,
      use_qalora: true,
    }),
    ...(Object.keys(own).length > 0 && { [FIELD]: own }),
  };
}

/**
 * Reads the fields of {@linkcode qaloraFields}, or PEFT's.
 *
 * @param where Name of the file in errors.
 * @throws {SyntaxError} If a field has a value that it cannot have, or PEFT's and loqa's contradict each other.
 */
export function readQaloraFields(config: JsonObject, where: string): OwnField {
  const bad = (key: string, wanted: string, got: unknown): never => {
    throw new FormatError(
      `Cannot read ${quoted(where)}: ${key}: wanted ${wanted}, got ${
        quoted(JSON.stringify(got) ?? "nothing")
      }`,
    );
  };
  const size = (key: string, value: unknown): number =>
    typeof value === "number" && Number.isSafeInteger(value) && value >= 1
      ? value
      : bad(key, "a whole number >= 1", value);
  const own = config[FIELD] ?? {};
  if (!isObject(own)) return bad(FIELD, "an object", own);
  const { base, pooling, qalora_group_size: group } = own;
  if (base !== undefined && typeof base !== "string") {
    bad(`${FIELD}.base`, "a text", base);
  }
  const peft = config.use_qalora ?? false;
  if (typeof peft !== "boolean") bad("use_qalora", "true or false", peft);
  let groups: QaloraGroups | undefined;
  if (peft) {
    if (pooling !== undefined) {
      bad(`${FIELD}.pooling`, "nothing beside use_qalora", pooling);
    }
    const value = config.qalora_group_size ?? PEFT_GROUP;
    groups = { group: size("qalora_group_size", value), pooling: "peft" };
  } else if (pooling === "sum" || pooling === "average") {
    groups = { group: size(`${FIELD}.qalora_group_size`, group), pooling };
  } else if (pooling !== undefined || group !== undefined) {
    bad(`${FIELD}.pooling`, '"sum" or "average"', pooling);
  }
  return {
    ...(base !== undefined && { base: base as string }),
    ...(groups && { groups }),
  };
}
