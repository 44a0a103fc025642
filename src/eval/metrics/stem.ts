/**
 * Porter's stemmer with the extensions of NLTK, which google's rouge-score stems by.
 *
 * Own code: npm's stemmer 2.0.1 and natural 8.1.1 are Porter's algorithm without NLTK's changes, and give 112 and 149
 * of the 3000 words of tests/golden/metrics other stems. NLTK's changes are irregular forms, `ies` and `ied` of four
 * letters, `y` after a consonant only, `alli` twice, `fulli`, `logi`.
 *
 * @module
 */

const IRREGULAR: ReadonlyMap<string, string> = new Map([
  ["sky", "sky"],
  ["skies", "sky"],
  ["dying", "die"],
  ["lying", "lie"],
  ["tying", "tie"],
  ["news", "news"],
  ["innings", "inning"],
  ["inning", "inning"],
  ["outings", "outing"],
  ["outing", "outing"],
  ["cannings", "canning"],
  ["canning", "canning"],
  ["howe", "howe"],
  ["proceed", "proceed"],
  ["exceed", "exceed"],
  ["succeed", "succeed"],
]);

/** Endings and their replacements; only the first that fits is tried. */
type Rules = readonly (readonly [ending: string, instead: string])[];

const STEP_2: Rules = [
  ["ational", "ate"],
  ["tional", "tion"],
  ["enci", "ence"],
  ["anci", "ance"],
  ["izer", "ize"],
  ["bli", "ble"],
  ["alli", "al"],
  ["entli", "ent"],
  ["eli", "e"],
  ["ousli", "ous"],
  ["ization", "ize"],
  ["ation", "ate"],
  ["ator", "ate"],
  ["alism", "al"],
  ["iveness", "ive"],
  ["fulness", "ful"],
  ["ousness", "ous"],
  ["aliti", "al"],
  ["iviti", "ive"],
  ["biliti", "ble"],
  ["fulli", "ful"],
];

const STEP_3: Rules = [
  ["icate", "ic"],
  ["ative", ""],
  ["alize", "al"],
  ["iciti", "ic"],
  ["ical", "ic"],
  ["ful", ""],
  ["ness", ""],
];

const STEP_4: Rules = [
  ..."al ance ence er ic able ible ant ement ment ent".split(" "),
  "ion",
  ..."ou ism ate iti ous ive ize".split(" "),
].map((ending) => [ending, ""] as const);

/** For each letter, true for a consonant: no vowel, and `y` only at the start or after a vowel. */
function consonants(word: string): boolean[] {
  const flags: boolean[] = [];
  for (const [i, letter] of [...word].entries()) {
    flags.push(
      letter === "y" ? i === 0 || !flags[i - 1] : !"aeiou".includes(letter),
    );
  }
  return flags;
}

/** Porter's m: the number of times that a consonant follows a vowel. */
function measure(stem: string): number {
  const flags = consonants(stem);
  return flags.filter((flag, i) => i > 0 && flag && !flags[i - 1]).length;
}

/** Consonant, vowel, consonant at the end, the last no w, x or y; or a word of a vowel and a consonant. */
function endsShort(word: string): boolean {
  const flags = consonants(word);
  const [a, b, c] = flags.slice(-3);
  if (flags.length === 2) return !a && b;
  return flags.length >= 3 && a && !b && c && !/[wxy]$/.test(word);
}

function cut(word: string, ending: string): string | undefined {
  return word.endsWith(ending)
    ? word.slice(0, word.length - ending.length)
    : undefined;
}

function apply(word: string, rules: Rules, least: number): string {
  for (const [ending, instead] of rules) {
    const stem = cut(word, ending);
    if (stem === undefined) continue;
    const fits = measure(stem) >= least &&
      (ending !== "ion" || /[st]$/.test(stem));
    return fits ? stem + instead : word;
  }
  return word;
}

function plural(word: string): string {
  if (word.length === 4 && word.endsWith("ies")) return word.slice(0, -1);
  if (/(ss|i)es$/.test(word)) return word.slice(0, -2);
  return /[^s]s$|^s$/.test(word) ? word.slice(0, -1) : word;
}

function past(word: string): string {
  if (word.endsWith("ied")) return word.slice(0, word.length === 4 ? -1 : -2);
  const agreed = cut(word, "eed");
  if (agreed !== undefined) return measure(agreed) > 0 ? `${agreed}ee` : word;
  const stem = ["ed", "ing"].map((ending) => cut(word, ending)).find((stem) =>
    stem !== undefined && consonants(stem).includes(false)
  );
  if (stem === undefined) return word;
  if (/(at|bl|iz)$/.test(stem)) return `${stem}e`;
  if (/(.)\1$/.test(stem) && consonants(stem).at(-1)) {
    return /[lsz]$/.test(stem) ? stem : stem.slice(0, -1);
  }
  return measure(stem) === 1 && endsShort(stem) ? `${stem}e` : stem;
}

function finalY(word: string): string {
  const stem = cut(word, "y");
  return stem !== undefined && stem.length > 1 && consonants(stem).at(-1)
    ? `${stem}i`
    : word;
}

function derived(word: string): string {
  const twice = cut(word, "alli");
  if (twice !== undefined && measure(twice) > 0) return derived(`${twice}al`);
  const made = apply(word, STEP_2, 1);
  // Of "logi" the l counts to the stem.
  return made === word && word.endsWith("logi") &&
      measure(word.slice(0, -3)) > 0
    ? word.slice(0, -1)
    : made;
}

function finalE(word: string): string {
  const stem = cut(word, "e");
  if (stem === undefined) return word;
  const m = measure(stem);
  return m > 1 || (m === 1 && !endsShort(stem)) ? stem : word;
}

/** The stem of a word in lower case. */
export function porterStem(word: string): string {
  const known = IRREGULAR.get(word);
  if (known !== undefined) return known;
  if (word.length <= 2) return word;
  let stem = derived(finalY(past(plural(word))));
  stem = finalE(apply(apply(stem, STEP_3, 1), STEP_4, 2));
  return stem.endsWith("ll") && measure(stem.slice(0, -1)) > 1
    ? stem.slice(0, -1)
    : stem;
}
