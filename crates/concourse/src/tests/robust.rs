//! No document brings the program down.

use proptest::prelude::*;

use super::*;

/// Pieces of pipelines, right and wrong.
const PIECES: [&str; 58] = [
    "jobs:",
    "plan:",
    "- ",
    "name: a",
    "get: r",
    "put: r",
    "task: t",
    "config:",
    "run:",
    "path: x",
    "args: [a]",
    "params:",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\n",
    "\n  ",
    "\n    ",
    "\n- ",
    "\n  - ",
    ": ",
    "((a))",
    "((a.b))",
    "((.:x))",
    "((v:a))",
    "((a..b))",
    "((",
    "))",
    "{{a}}",
    "&x ",
    "*x",
    "<<: *x",
    "var_sources:",
    "type: dummy",
    "across:",
    "var: v",
    "values: [1]",
    "timeout: 1µs",
    "max_in_flight: -9223372036854775809",
    "limit: 1e400",
    "in_parallel:",
    "do:",
    "try:",
    "ensure:",
    "passed: ['[', '*']",
    "groups:",
    "version: {ref: 1}",
    "é",
    "\u{2028}",
    "\t",
    "|\n",
    ">\n",
    "'",
    "\"",
    "---\n",
    "null",
];

proptest! {
    #![proptest_config(ProptestConfig::default())]

    #[test]
    fn any_document_is_accepted_or_refused(
        pieces in proptest::collection::vec(proptest::sample::select(&PIECES[..]), 0..60)
    ) {
        let text: String = pieces.concat();
        for given in [&[][..], &[("a", "1"), ("a.b", "x"), ("v:a", "{")]] {
            match read(&text, vars(given)) {
                Ok(mut checked) => {
                    _ = checked.to_json();
                    _ = checked.missing_notice();
                    _ = checked.select(&Selection::default());
                }
                Err(problems) => prop_assert!(!problems.is_empty()),
            }
        }
    }
}

#[test]
fn limits_hold_with_variables_in_keys_and_deep_documents() {
    let long = "x".repeat(1024 * 1024);
    let keys: String = (0..100).map(|n| format!("k{n}-((long)): 1, ")).collect();
    let text = format!("jobs: [{{ name: a, plan: [{{ task: t, params: {{ {keys} }} }}] }}]");
    let Err(problems) = read(&text, vars(&[("long", &long)])) else { panic!("accepted") };
    assert!(problems.iter().any(|one| one.message.contains("with its variables the document has")));
    let deep = format!("jobs: {}{}", "[".repeat(5000), "]".repeat(5000));
    let said = super::problems(&deep);
    assert!(said.contains("nested more than 100 levels"), "{said}");
    let many: String = (0..10_001).map(|n| format!("((v{n}))")).collect();
    let text = format!("jobs: [{{ name: '{many}', plan: [] }}]");
    assert!(super::problems(&text).contains("more than 10000 variables have no value"));
}
