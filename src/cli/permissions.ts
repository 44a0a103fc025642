/**
 * Permissions that each verb needs: the flags of `deno run`, printed by `--help` and where one is missing.
 *
 * @module
 */

/** Variables of the environment that are looked at: where a GPU's drivers keep their sockets, and the hub's. */
const DRIVERS = "--allow-env=XDG_RUNTIME_DIR";
const HUB_VARIABLES = [
  ...["HF_TOKEN", "HF_ENDPOINT", "LOQA_CACHE"],
  ...["HOME", "USERPROFILE", "XDG_CACHE_HOME"],
];

/** Who reads only, and who writes too; without {@linkcode DRIVERS} a driver may complain on stderr, no more. */
const READS = ["--allow-read", DRIVERS] as const;
const WRITES = ["--allow-read", "--allow-write", DRIVERS] as const;

/** Least flags of `deno run` by verb. */
export const PERMISSIONS: Readonly<Record<string, readonly string[]>> = {
  init: WRITES,
  train: WRITES,
  merge: WRITES,
  eval: READS,
  generate: READS,
  export: ["--allow-read", "--allow-write"],
  data: ["--allow-read"],
  inspect: ["--allow-read"],
  plan: ["--allow-read"],
  bench: [DRIVERS],
};

/** Further permissions for a model of the hub (`hf:owner/name`). */
export const HUB_PERMISSIONS: readonly string[] = [
  "--allow-net",
  "--allow-write",
  `--allow-env=${HUB_VARIABLES.join(",")}`,
];

/** Permissions of all verbs together, the hub's models too. */
export const ALL_PERMISSIONS: readonly string[] = [
  "--allow-read",
  "--allow-write",
  "--allow-net",
  [DRIVERS, ...HUB_VARIABLES].join(","),
];

/** Whether `error` or what caused it is a missing permission. */
export function lacksPermission(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof Deno.errors.NotCapable) return true;
  }
  return false;
}

/** The flags of a verb, with those of the hub's models where one of `args` names such a model. */
export function flagsOf(verb: string, args: readonly string[] = []): string {
  const hub = args.some((arg) => arg.includes("hf:"));
  const flags = [...PERMISSIONS[verb], ...hub ? HUB_PERMISSIONS : []];
  return [...new Set(flags)].join(" ");
}

/** Lines about them for `--help`. */
export function permissionHelp(verb: string): string {
  return `Permissions: deno run ${flagsOf(verb)}
For models of the hub also: ${HUB_PERMISSIONS.join(" ")}`;
}
