// `YAML.parse` reads scalars by the core schema of YAML 1.2.
export const pipeline = async () => {
  const values = [
    "1_000", "1000", "+12", "-12", "010", "0o17", "0x1F", "-0x1F", "0b1", "1e3", "1.", ".5", "-.5", "1.5e-3",
    "1e", "e1", ".", "-", "+", "1:30", "2024-01-01", ".inf", "+.Inf", "-.INF", "inf", "Infinity", ".nan",
    ".NaN", "NaN", "~", "null", "Null", "nULL", "", "true", "TRUE", "tRUE", "yes", "on", "No", "9007199254740991",
    "9007199254740992", "12345678901234567890123", "-9007199254740993", "0xFFFFFFFFFFFFFFFFFF", "'1'", '"~"',
    "!!str 1", "!!int 7", "!!float 7", "!!null ''", "!custom 1", "'a\\tb'", "|\n  a\n  b", ">\n  a\n  b",
  ];
  for (const text of values) {
    console.log(JSON.stringify(text), YAML.parse(text));
  }
  console.log(YAML.parse("~: 1\nnull: 2\n".slice(0, 5)), YAML.parse("true: 1\n3.10: 2\n0x10: 3\n'': 4\n? a\n: b"));
  console.log(YAML.parse("a: &x {b: 1}\nc: *x\nd: {<<: *x, e: 2}\nf: {<<: [{b: 3}, *x], g: 4}"));
  console.log(Object.keys(YAML.parse('"__proto__": 1') as object), YAML.parse("- [1, [2, {a: []}]]\n- {}"));
  console.log(YAML.parse("a:\t1\nb: # c\n  - \t2\n"), YAML.parse("{\n\ta: 1\n}"), YAML.parse("# nothing"));
  const wrong = [
    "\ta: 1", "a:\n\tb: 1", "a:\n \t- 1", "a: 1\n\t", "[1, 2", "a: 1\na: 2", "~: 1\nnull: 2", "{[a]: 1}", "? {a: 1}\n: 2",
    "a: *b", "&a [*a]", "--- 1\n--- 2", "!!int x", "<<: 1", "a: b: c", "'open", "[".repeat(200_000),
    "- ".repeat(200_000), "{a: ".repeat(200_000),
  ];
  for (const text of wrong) {
    try {
      console.log(JSON.stringify(text.slice(0, 20)), YAML.parse(text));
    } catch (error) {
      console.log(JSON.stringify(text.slice(0, 20)), String(error));
    }
  }
};
