import assert from "node:assert/strict";
import { parsePattern, patternCost } from "../../src/pattern.ts";
import { wholeMatcher } from "../../src/pattern_match.ts";
import { Random } from "../../src/tensor/random.ts";

const PATTERNS = [
  ...["", "a", "ab", "a|b", "a*", "a+b", "a?b?", "(a|b)*b", "(?:ab)+", "a{2}"],
  ...["a{1,3}b", "a{2,}", "[ab]c", "[^a]+", ".*", "\\w+\\.b", "^a.b$", "a\\bb"],
  ...["(?!.*c).*b", "(?=.*b)a.*", "(a|(b|c)){2}", "(|a)b", "()*a", "(a*)*b"],
  ...["((a?)*b){2}", "a.{0,2}?c", "[a\\-c]+", "[\\]a]b", "(?P<n>a)b", "\\Bb"],
  ...["a{,2}b", "a{b", "\\.+", "(a$|b)", "(^a|b)+"],
];

Deno.test("wholeMatcher() matches what the engine does", () => {
  const random = new Random(1);
  for (const pattern of PATTERNS) {
    const match = wholeMatcher(pattern);
    // Python's names and braces, in JavaScript's words.
    const own = pattern.replace("?P<", "?<").replace("{,2}", "{0,2}");
    const engine = new RegExp(`^(?:${own})$`);
    for (let i = 0; i < 300; i++) {
      const text = Array.from(
        { length: Math.floor(random.uniform() * 7) },
        () => "abc.-]"[Math.floor(random.uniform() * 6)],
      ).join("");
      assert.equal(match(text), engine.test(text), `${pattern} on "${text}"`);
    }
  }
});

const TOKENIZERS = [
  String
    .raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  String
    .raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}`,
  String.raw`(?=(\d{3})+(?!\d))`,
];

Deno.test("patternCost() passes what tokenizers have", () => {
  for (const pattern of TOKENIZERS) {
    const { ways, degree } = patternCost(parsePattern(pattern));
    assert.ok(ways <= 100 && degree <= 2, `${pattern}: ${ways}, ${degree}`);
  }
});

Deno.test("patternCost() knows what can take exponential time", () => {
  for (
    const pattern of [
      ...["(a|a){40}b", "(a+){1,40}b", "(?:a|a)".repeat(40), "a?".repeat(40)],
      ...[
        "a*".repeat(9),
        "(a+)+b",
        "(a|aa)*b",
        "(?:a?){30}b",
        "((a{1,9}){9}){9}",
      ],
      ...["(?=(a|a){40}b)c", "[[](a|a){40}b]", "(a?b?)*c"],
    ]
  ) {
    const { ways, degree } = patternCost(parsePattern(pattern));
    assert.ok(ways > 1000 || degree > 3, `${pattern}: ${ways}, ${degree}`);
  }
});

Deno.test("parsePattern() survives whatever it is given", () => {
  const random = new Random(2);
  const parts = ["(", ")", "[", "]", "{", "}", "*", "+", "?", "|", "\\", "a"]
    .concat(["(?", "^", "$", ",", "1", ".", "-", "<", "=", "!", ":"]);
  for (let i = 0; i < 3000; i++) {
    const text = Array.from(
      { length: 1 + Math.floor(random.uniform() * 20) },
      () => parts[Math.floor(random.uniform() * parts.length)],
    ).join("");
    try {
      patternCost(parsePattern(text));
      wholeMatcher(text)("aaa");
    } catch (error) {
      assert.ok(error instanceof Error);
      assert.match(error.message, /^(it|its|a repeat|.* is no set) ?/s, text);
    }
  }
  assert.throws(() => parsePattern("(".repeat(1e5)), /nested too deeply/);
});
