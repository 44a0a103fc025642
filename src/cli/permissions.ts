/**
 * Permissions that verbs need: the flags of `deno run`, printed by `--help` and where one is missing.
 *
 * @module
 */

/** The variable that says where a GPU's drivers keep their sockets. */
export const DRIVERS = "--allow-env=XDG_RUNTIME_DIR";
/** Variables that models of the hub are looked for by. */
const HUB_VARIABLES = [
  ...["HF_TOKEN", "HF_ENDPOINT", "LOQA_CACHE"],
  ...["HOME", "USERPROFILE", "XDG_CACHE_HOME"],
];

/** Flags of verbs that read only; without {@linkcode DRIVERS} a driver may complain on stderr, no more. */
export const READS: readonly string[] = ["--allow-read", DRIVERS];
/** Flags of verbs that write too. */
export const WRITES: readonly string[] = [
  "--allow-read",
  "--allow-write",
  DRIVERS,
];

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

/** True if `error` or what caused it is a missing permission. */
export function lacksPermission(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    if (at instanceof Deno.errors.NotCapable) return true;
  }
  return false;
}

/** Flags of `deno run`: a verb's own, and those of the hub's models where one of `args` names such a model. */
export function flagsOf(
  permissions: readonly string[],
  args: readonly string[] = [],
): string {
  const hub = args.some((arg) => arg.includes("hf:"));
  return [...new Set([...permissions, ...hub ? HUB_PERMISSIONS : []])]
    .join(" ");
}

/** Lines about them for `--help`. */
export function permissionHelp(permissions: readonly string[]): string {
  return `Permissions: deno run ${flagsOf(permissions)}
For models of the hub also: ${HUB_PERMISSIONS.join(" ")}`;
}
