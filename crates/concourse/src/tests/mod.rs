//! Documents, and what is said about them.

use std::fmt::Write as _;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::*;
use crate::load::{Text, parse, variables};
use crate::vars::Vars;

mod fields;
mod robust;
mod steps;
mod variables;
mod warnings;

thread_local! {
    static FIELDS: RefCell<BTreeMap<&'static str, BTreeSet<&'static str>>> = RefCell::default();
}

/// Notes which fields the decoder asks for.
pub fn record(what: &'static str, asked: &[&'static str]) {
    FIELDS.with_borrow_mut(|fields| fields.entry(what).or_default().extend(asked));
}

fn read(text: &str, vars: Vars) -> Result<Checked, Vec<Diagnostic>> {
    parse(Text { given: "ci.yml", text, directory: Some(Path::new(".")) }, vars, &[], None)
}

fn problems(text: &str) -> String {
    match read(text, Vars::default()) {
        Ok(_) => "no problems".to_owned(),
        Err(diagnostics) => diagnostics.iter().fold(String::new(), |mut text, diagnostic| {
            _ = writeln!(text, "{diagnostic}");
            text
        }),
    }
}

fn vars(pairs: &[(&str, &str)]) -> Vars {
    let vars = pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    variables(&VarOptions { vars, ..VarOptions::default() }).unwrap()
}

/// Warnings and notices, one a line, each warning with its line in the document.
fn remarks(text: &str) -> String {
    let checked = read(text, Vars::default()).map_err(|problems| format!("{problems:?}")).unwrap();
    let warning = |warning: &Diagnostic| {
        let line = warning.place.as_ref().map_or(0, |place| place.line);
        format!("{line}: {}", warning.message)
    };
    let warnings = checked.warnings.iter().map(warning);
    let notices = checked.notices.iter().cloned();
    warnings.chain(notices).collect::<Vec<_>>().join("\n")
}

/// What the plan has of the only step of a job.
fn step(step: &str) -> serde_json::Value {
    let rest = "resources: [{ name: r, type: mock }]\nprototypes: [{ name: p, type: mock }]";
    let text = format!("jobs: [{{ name: a, plan: [{step}] }}]\n{rest}");
    json(&text, &Vars::default())["jobs"][0]["plan"][0].take()
}

fn json(text: &str, vars: &Vars) -> serde_json::Value {
    let checked = read(text, vars.clone()).map_err(|problems| format!("{problems:?}")).unwrap();
    serde_json::to_value(checked.plan).unwrap()
}

#[test]
fn every_problem_is_told_at_once() {
    let text = "\
jobs:
- name: build
  plan:
  - task: compile
    timeout: soon
    config:
      imgae: busybox
      run: { args: [a] }
  - get: sorce
    passed: [biuld]
  - tsk: x
- name: build
  plan: []
  plan: []
";
    insta::assert_snapshot!(problems(text));
}

#[test]
fn tabs_and_circles_are_found() {
    insta::assert_snapshot!(problems("jobs:\n\t- name: a\n"));
    insta::assert_snapshot!(problems(
        "resources: [{ name: r, type: mock }]\njobs:\n- { name: a, plan: [{ get: r, passed: [b] }] }\n- { name: b, plan: [{ get: r, passed: [a] }] }\n"
    ));
}

#[test]
fn variables_keep_their_type_and_have_fields_and_defaults() {
    let mut vars = vars(&[("times", "3"), ("db.user", "ada")]);
    let mut none = Problems::default();
    vars.add_all(&crate::read::read("db: { host: pg, port: 5432 }", &mut none).unwrap()).unwrap();
    let plan = json(
        "jobs: [{ name: a, plan: [{ task: t, across: [{ var: later, values: [1] }], attempts: ((times)), config: { run: { path: sh, \
         args: ['((db.user))@((db.host)):((db.port))', '((none || x))', '((.:later))', '$((1 + 2))'] } } }] }]",
        &vars,
    );
    let task = &plan["jobs"][0]["plan"][0];
    assert_eq!(task["attempts"], 3);
    assert_eq!(
        task["config"]["run"]["args"],
        serde_json::json!(["ada@pg:5432", "x", "((.:later))", "$((1 + 2))"])
    );
}

#[test]
fn a_value_of_a_variable_is_not_repeated() {
    for field in
        ["attempts: ((secret))", "timeout: ((secret))", "file: , config: { platform: ((secret)) }"]
    {
        let text = format!("jobs: [{{ name: a, plan: [{{ task: t, file: r/t, {field} }}] }}]");
        let said = match read(&text, vars(&[("secret", "hunter2")])) {
            Err(problems) => format!("{problems:?}"),
            Ok(checked) => {
                let refused = checked.plan.jobs[0].plan[0].refused.clone().expect("a reason");
                format!("{:?} {refused}", checked.warnings)
            }
        };
        assert!(!said.contains("hunter2"), "{said}");
    }
}

#[test]
fn merge_keys_and_aliases_are_resolved() {
    let plan = json(
        "resources: [{ name: r, type: mock, source: &s { a: 1, b: 2 } }, { name: q, type: mock, source: { <<: *s, b: 3 } }]\njobs: [{ name: a, plan: [] }]",
        &Vars::default(),
    );
    assert_eq!(plan["resources"][1]["source"], serde_json::json!({ "b": 3, "a": 1 }));
}

#[test]
fn the_schema_is_current() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../typings/pipeline.schema.json");
    let text = schema();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(file, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), text);
}

#[test]
fn a_key_is_found_twice_among_many() {
    let fields: String = (0..40).map(|n| format!("  f{n}: 1\n")).collect();
    let text = format!("jobs: []\nx:\n{fields}  f3: 2\n  f39: 2\n");
    let remarks = remarks(&text);
    assert!(remarks.contains("duplicate key `f3`"), "{remarks}");
    assert!(remarks.contains("duplicate key `f39`"), "{remarks}");
}
