/**
 * QA-LoRA in adapter files: how large the groups of inputs are that are pooled before A, and how they are pooled.
 *
 * loqa sums the inputs of a group, so that `ΔW[o, j] = scaling * (B A)[o, floor(j / group)]` (Xu et al., 2309.14717,
 * algorithm 1). PEFT takes their mean times the number of groups, the paper's own repository their mean; factors of these
 * are converted on reading and writing, so that everybody computes the same.
 *
 * PEFT's `use_qalora` and `qalora_group_size` say that a file is PEFT's. It wants the group to divide the inputs of every
 * module, so adapters of other layers are none of PEFT's: their `peft_type` says so ({@linkcode OWN_TYPE}, at which PEFT
 * stops), loqa's own field has the rest, `"loqa": {"qalora_group_size": 32, "pooling": "sum"}`, and factors are not
 * converted. On layers other than GPTQ's PEFT leaves `use_qalora` alone, and stops at the shapes of A. The files of the paper's repository say nothing; they can be read
 * when somebody writes `"loqa": {"qalora_group_size": 32, "pooling": "average"}` into their `adapter_config.json`, or
 * tells the reader.
 *
 * @module
 */

import { FormatError } from "../../errors.ts";
import { quoted } from "../files/errors.ts";
import { isObject } from "../files/json.ts";
import type { JsonObject } from "../files/json.ts";

/** What becomes of the inputs of a group: their sum, their mean, or their mean times the number of groups. */
export type Pooling = "sum" | "average" | "peft";

/** The groups of a QA-LoRA adapter file. */
export interface QaloraGroups {
  /** Inputs of a group. */
  readonly group: number;
  /** How the file's factors want them pooled. */
  readonly pooling: Pooling;
}

/** What loqa's own field of `adapter_config.json` holds. */
export interface OwnField {
  /** Fingerprint of the quantised weights that the adapter belongs to. */
  readonly base?: string;
  /** Groups that PEFT's fields cannot tell of. */
  readonly groups?: QaloraGroups;
}

/** Name of loqa's own field. */
const FIELD = "loqa";

/** `peft_type` of an adapter that PEFT has no layers for; its error tells these words. */
export const OWN_TYPE =
  "QALORA of loqa (read by loqa alone; for other tools: loqa merge, then loqa export)";

/** PEFT's default of `qalora_group_size`. */
const PEFT_GROUP = 16;

/** How an adapter of layers with these numbers of inputs is written: PEFT's way where PEFT can have it. */
export function qaloraGroups(
  group: number,
  widths: readonly number[],
): QaloraGroups {
  const fits = widths.every((width) => width % group === 0);
  return { group, pooling: fits ? "peft" : "sum" };
}

/**
 * What a file's A, `[rank, columns]`, is multiplied with to pool by sums: 1 for sums, `1 / group` for means, `in / group²`
 * with `in = columns * group` for PEFT's.
 */
export function poolingFactor(
  { group, pooling }: QaloraGroups,
  columns: number,
): number {
  return { sum: 1, average: 1 / group, peft: columns / group }[pooling];
}

/** The fields of `adapter_config.json` that tell of QA-LoRA and of the base; empty where there is nothing to tell. */
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
 * Reads what {@linkcode qaloraFields} wrote, or PEFT.
 *
 * @param where What errors call the file.
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
