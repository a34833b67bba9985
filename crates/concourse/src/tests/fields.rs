//! The list of fields in docs/yaml.md is what the decoder knows, and has all that Concourse has.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

type Lists = BTreeMap<String, BTreeSet<String>>;

/// A pipeline with every kind of mapping, so that the decoder asks for all fields.
const EVERYTHING: &str = "\
jobs:
- name: a
  build_log_retention: {}
  assert: { execution: [] }
  plan:
  - { task: t, container_limits: {}, assert: {}, config: { image_resource: {}, inputs: [{ name: r }], outputs: [{ name: o }], caches: [{ path: c }], run: {} } }
  - { get: r }
  - { put: r }
  - { in_parallel: { steps: [] }, across: [{ var: v, values: [] }] }
  - { do: [] }
  - { try: [] }
  - { load_var: v, file: r/v }
  - { set_pipeline: p, file: r/p }
  - { run: m, type: p }
resources: [{ name: r, type: mock }]
resource_types: [{ name: ty, type: mock }]
prototypes: [{ name: p, type: mock }]
groups: [{ name: g, jobs: [a] }]
display: {}
var_sources:
- { name: d, type: dummy, config: {} }
- { name: e, type: env, config: {} }
";

/// The fields of Concourse 8.3, from the tags in its `atc/config.go`, `job_config.go`, `steps.go`, `task.go` and
/// `container_limits.go`.
const CONCOURSE: &str = "\
a pipeline: groups var_sources resources resource_types prototypes jobs display user_data
a group: name jobs resources
a source of variables: name type config
a resource: name old_name public webhook_token type source check_every check_timeout tags version icon expose_build_created_by
a resource type: name type source defaults privileged check_every tags params
a prototype: name type source defaults privileged check_every tags params
`display`: background_image background_filter
a job: name old_name public disable_manual_trigger disable_reruns serial interruptible serial_groups max_in_flight tags build_logs_to_retain build_log_retention on_success on_failure on_abort on_error ensure plan
`build_log_retention`: builds minimum_succeeded_builds days
any step: across fail_fast attempts timeout on_success on_failure on_abort on_error ensure tags
a `get` step: get resource version params passed trigger
a `put` step: put resource params inputs get_params no_get
a `task` step: task privileged hermetic file container_limits config params vars input_mapping output_mapping image
a `run` step: run type params privileged container_limits
a `set_pipeline` step: set_pipeline file team vars var_files instance_vars
a `load_var` step: load_var file format reveal
a `try` step: try
a `do` step: do
an `in_parallel` step: in_parallel
`in_parallel`: steps limit fail_fast
a variable of `across`: var values max_in_flight
a task's `config`: platform rootfs_uri image_resource container_limits params run inputs outputs caches
an `image_resource`: name type source version params tags
`run`: path args dir user
an input: name path optional
an output: name path
a cache: path ttl
`container_limits`: cpu memory
";

/// The states that a field can have.
const STATES: [&str; 5] =
    ["supported", "ignored", "ignored with a notice", "refused when reached", "ours"];

/// The rows of the list: what, state and fields.
fn rows() -> Vec<(String, String, Vec<String>)> {
    let docs = include_str!("../../../../docs/yaml.md");
    let (_, list) = docs.split_once("<!-- fields -->\n").expect("the list begins");
    let (list, _) = list.split_once("<!-- end of fields -->").expect("the list ends");
    let cells = |line: &str| -> Option<(String, String, Vec<String>)> {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [what, state, fields] = cells.as_slice() else { return None };
        let fields = fields.split(", ").map(|field| field.trim_matches('`').to_owned());
        Some(((*what).to_owned(), (*state).to_owned(), fields.collect()))
    };
    list.lines().filter(|line| line.starts_with("| ")).skip(1).filter_map(cells).collect()
}

fn lists<'a>(rows: impl Iterator<Item = (&'a str, &'a String)>) -> Lists {
    let mut lists = Lists::new();
    for (what, field) in rows {
        lists.entry(what.to_owned()).or_default().insert(field.clone());
    }
    lists
}

#[test]
fn the_documented_fields_are_those_of_the_decoder() {
    let rows = rows();
    for (what, state, _) in &rows {
        assert!(STATES.contains(&state.as_str()), "{what}: {state}");
    }
    let all = rows
        .iter()
        .flat_map(|(what, _, fields)| fields.iter().map(move |one| (what.as_str(), one)));
    let mut documented = lists(all);
    let any = documented.remove("any step").expect("what any step has");
    for (what, fields) in &mut documented {
        if what.ends_with("` step") {
            fields.extend(any.iter().cloned());
        }
    }
    FIELDS.take();
    if let Err(problems) = read(EVERYTHING, Vars::default()) {
        panic!("{problems:?}");
    }
    let decoded: Lists = FIELDS.with_borrow(|fields| {
        let texts = |names: &BTreeSet<&str>| names.iter().map(|name| (*name).to_owned()).collect();
        fields.iter().map(|(what, names)| ((*what).to_owned(), texts(names))).collect()
    });
    assert_eq!(documented, decoded);
}

#[test]
fn the_documented_fields_are_those_of_concourse_and_ours() {
    let rows = rows();
    let theirs = rows.iter().filter(|(_, state, _)| state != "ours");
    let documented = lists(
        theirs.flat_map(|(what, _, fields)| fields.iter().map(move |one| (what.as_str(), one))),
    );
    let concourse: Lists = CONCOURSE
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(what, fields)| (what.to_owned(), fields.split(' ').map(str::to_owned).collect()))
        .collect();
    assert_eq!(documented, concourse);
}
