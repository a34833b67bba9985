//! What Concourse accepts, and what it becomes in the plan.

use serde_json::json;

use super::*;

#[test]
fn steps_mean_what_they_mean_in_concourse() {
    for (written, expected) in [
        (
            "{ set_pipeline: self, file: r/p.yml, vars: { a: 0755, b: 1.10 }, var_files: [r/v.yml], team: t, instance_vars: { i: 1 } }",
            json!({ "set_pipeline": "self", "file": "r/p.yml", "vars": { "a": "0755", "b": 1.10 },
                "var_files": ["r/v.yml"], "team": "t", "instance_vars": { "i": 1 } }),
        ),
        (
            "{ run: greet, type: p, params: { a: b }, timeout: 1m }",
            json!({ "run": "greet", "type": "p", "timeout": 60000,
                "refused": "prototypes cannot be run: write a task that does the same" }),
        ),
        ("{ in_parallel: { limit: 0, steps: [] } }", json!({ "in_parallel": { "steps": [] } })),
        ("{ in_parallel: { limit: 2.0 } }", json!({ "in_parallel": { "steps": [], "limit": 2 } })),
        ("{ get: r, trigger: yes, tags: [a] }", json!({ "get": "r" })),
        (
            "{ get: r, version: { ref: 1.10, n: 7 } }",
            json!({ "get": "r", "version": { "ref": "1.10", "n": "7" } }),
        ),
        ("{ get: r, version: oldest }", json!({ "get": "r" })),
        ("{ put: r, inputs: [' r ', b] }", json!({ "put": "r", "inputs": ["r", "b"] })),
        ("{ put: r, inputs: some }", json!({ "put": "r", "inputs": [] })),
        ("{ get: r, timeout: 100us }", json!({ "get": "r", "timeout": 1 })),
        ("{ get: r, timeout: 1500us }", json!({ "get": "r", "timeout": 2 })),
        ("{ get: r, timeout: 0s }", json!({ "get": "r", "timeout": 1 })),
        (
            "{ get: r, timeout: soon }",
            json!({ "get": "r", "refused": "expected a duration such as `90s` or `1h30m`, got `soon`" }),
        ),
        (
            "{ load_var: v, file: r/v, format: toml }",
            json!({ "load_var": "v", "file": "r/v",
                "refused": "expected `json`, `yaml`, `yml`, `trim`, `raw` as `format`, got `toml`" }),
        ),
        (
            "{ across: [{ var: v, values: 5, max_in_flight: 0 }], do: [] }",
            json!({ "do": [], "refused": "the values of a variable of `across` are no list" }),
        ),
        (
            "{ across: [{ var: v, values: [5], max_in_flight: 0 }], do: [] }",
            json!({ "across": [{ "var": "v", "values": [5], "max_in_flight": "all" }], "do": [] }),
        ),
        (
            "{ across: [{ var: v, values: [null, 0755, 9007199254740993] }], do: [] }",
            json!({ "across": [{ "var": "v", "values": [null, "0755", 9007199254740993_u64] }], "do": [] }),
        ),
        (
            "{ task: t, file: r/t.yml, config: , hermetic: on }",
            json!({ "task": "t", "file": "r/t.yml", "hermetic": true }),
        ),
    ] {
        assert_eq!(step(written), expected, "{written}");
    }
}

#[test]
fn configs_of_tasks_mean_what_they_mean_in_concourse() {
    for (written, expected) in [
        ("{ platform: linux }", json!({ "run": {} })),
        (
            "{ platform: linux, run: { args: [1.10, a, true] } }",
            json!({ "run": { "args": ["1.10", "a", "true"] } }),
        ),
        (
            "{ platform: linux, params: { a: 0755, b: 1.10, c: 12345678901234567890, d: 9007199254740993, e: , f: [1.0, 0755] } }",
            json!({ "run": {}, "params": { "a": "0755", "b": "1.10", "c": "12345678901234567890",
                "d": "9007199254740993", "e": "", "f": "[1.0,\"0755\"]" } }),
        ),
        (
            "{ platform: linux, image_resource: { type: registry-image, source: { repository: a, tag: 1.10 }, tags: [w] } }",
            json!({ "run": {}, "image": "a:1.10" }),
        ),
        (
            "{ platform: linux, image_resource: { type: registry-image, source: { repository: a, tag: b }, version: { digest: 'sha256:c' } } }",
            json!({ "run": {}, "image": "a@sha256:c" }),
        ),
        (
            "{ platform: linux, image_resource: { type: mock, source: { mirror_self: true }, params: { a: 1 }, version: { v: 1 } } }",
            json!({ "run": {}, "image_resource": { "type": "mock", "source": { "mirror_self": true },
                "params": { "a": 1 }, "version": { "v": "1" } } }),
        ),
        (
            "{ platform: linux, image_resource: { type: registry-image, source: {} } }",
            json!({ "run": {}, "image_resource": { "type": "registry-image" } }),
        ),
        (
            "{ platform: linux, rootfs_uri: 'docker:///busybox#1' }",
            json!({ "run": {}, "image": "busybox:1" }),
        ),
        (
            "{ platform: linux, caches: [{ path: /var/cache/m2, ttl: 1h }, { path: a }, {}] }",
            json!({ "run": {}, "caches": [{ "path": "/var/cache/m2" }, { "path": "a" }] }),
        ),
        (
            "{ platform: linux, inputs: [{ name: r, path: . }, { name: b, path: a }, { name: c, path: ./a }], outputs: [{ name: o, path: . }] }",
            json!({ "run": {}, "inputs": [{ "name": "r", "path": "." }, { "name": "b", "path": "a" }, { "name": "c", "path": "./a" }],
                "outputs": [{ "name": "o", "path": "." }] }),
        ),
        (
            "{ platform: linux, container_limits: { cpu: 0, memory: 0 } }",
            json!({ "run": {}, "container_limits": {} }),
        ),
        (
            "{ platform: linux, container_limits: { cpu: 512.5, memory: 1gb } }",
            json!({ "run": {}, "container_limits": { "cpu": 512, "memory": 1_u64 << 30 } }),
        ),
    ] {
        let made = step(&format!("{{ task: t, config: {written} }}"));
        assert_eq!(made["config"], expected, "{written}");
        assert_eq!(made.get("refused"), None, "{written}");
    }
}

#[test]
fn what_cannot_be_run_is_refused_by_its_step() {
    for (config, reason) in [
        (
            "{ platform: windows }",
            "tasks of the platform `windows` cannot be run: only `linux` can",
        ),
        (
            "{ platform: linux, inputs: [{ name: a, path: ../b }] }",
            "the path `../b` leads out of the working directory",
        ),
        (
            "{ platform: linux, caches: [{ path: a/../../b }] }",
            "the path `a/../../b` leads out of the working directory",
        ),
        (
            "{ platform: linux, rootfs_uri: /var/fs }",
            "the file system `/var/fs` is not on this machine: name an image",
        ),
    ] {
        let step = step(&format!("{{ task: t, config: {config}, on_error: {{ get: r }} }}"));
        assert_eq!(step["refused"], reason, "{config}");
        // Its hooks run.
        assert_eq!(step["on_error"], json!({ "get": "r" }), "{config}");
    }
}

#[test]
fn parts_of_a_pipeline_mean_what_they_mean_in_concourse() {
    let text = "\
anchors: { x: &x { platform: linux } }
x-more: 1
groups: [{ name: g, jobs: ['lvl-*', last], resources: [r] }]
display: { background_image: a, background_filter: b }
user_data: [1, { a: b }]
prototypes: [{ name: p, type: registry-image, source: {}, params: {}, privileged: true, defaults: {}, check_every: 1m, tags: [a] }]
resource_types: [{ name: ty, type: registry-image, source: { repository: a }, params: { x: 1 }, tags: [a] }]
resources:
- { name: r, type: ty, old_name: q, version: { ref: 5 }, public: true, webhook_token: 7, tags: [b], check_every: never,
    check_timeout: 1m, icon: git, expose_build_created_by: on }
jobs:
- name: lvl-1
  old_name: one
  max_in_flight: 0
  disable_reruns: true
  build_logs_to_retain: 3
  tags: [a]
  plan: [{ get: r }, { task: t, config: *x }]
- { name: lvl-2, plan: [{ get: r }], build_log_retention: { builds: 1, days: 2, minimum_succeeded_builds: 1 } }
- { name: last, plan: [{ get: r, passed: ['lvl-?'] }] }
- { name: 7, plan: [{ get: r, passed: [last] }] }
";
    let plan = json(&format!("max_in_flight: 0\n{text}"), &Vars::default());
    assert_eq!(plan["jobs"][2]["plan"][0]["passed"], json!(["lvl-1", "lvl-2"]));
    assert_eq!(plan["jobs"][2]["passed"], json!(["lvl-1", "lvl-2"]));
    assert_eq!(plan["jobs"][3]["name"], "7");
    assert_eq!(plan["jobs"][0]["max_in_flight"], json!(null));
    assert_eq!(plan["max_in_flight"], json!(null));
    assert_eq!(plan["resources"][0]["version"], json!({ "ref": "5" }));
    assert_eq!(plan["resource_types"][0]["params"], json!({ "x": 1 }));
    insta::assert_snapshot!(remarks(text), @r"
    21: the job `7` is in no group
    `tags` are ignored: there is one worker
    `build_log_retention` is ignored: there is no history of builds
    `display` is ignored: there is no web page
    ");
}

#[test]
fn old_forms_are_named_as_what_they_are() {
    for (text, expected) in [
        (
            "jobs: [{ name: a, plan: [{ aggregate: [{ get: r }] }] }]",
            "`aggregate` was removed in Concourse 7",
        ),
        (
            "jobs: [{ name: {{old}}, plan: [] }]",
            "`{{old}}` is how variables were written until Concourse 5",
        ),
        (
            "jobs:\n- (( append ))\n- { name: (( grab meta.name )), pln: [] }",
            "`ci.yml` is a template of spruce: `(( append ))` in line 2",
        ),
        (
            "#@ load(\"a\")\njobs:\n#@ for x in y:\n- name: #@ x\n",
            "`ci.yml` is a template of ytt: `#@ load(\"a\")` in line 1",
        ),
    ] {
        let Err(problems) = read(text, Vars::default()) else { panic!("accepted: {text}") };
        let messages: Vec<&str> = problems.iter().map(|problem| &*problem.message).collect();
        assert_eq!(messages, [expected], "{text}");
        assert!(problems[0].help.is_some(), "{text}");
    }
}

#[test]
fn merges_go_from_top_to_bottom() {
    let text = "\
x: &x { name: merged, serial: true }
y: &y { name: other }
jobs:
- { name: before, <<: *x, plan: [] }
- { <<: *x, name: after, plan: [] }
- { <<: [*x, *y], plan: [] , name: z }
- { <<: [*y, *x], plan: [] }
";
    let plan = json(text, &Vars::default());
    let names: Vec<_> = (0..4).map(|at| plan["jobs"][at]["name"].clone()).collect();
    assert_eq!(names, ["merged", "after", "z", "other"]);
    assert!(remarks(text).contains("4: `<<` replaces the field `name` that stands before it"));
}

#[test]
fn a_job_runs_whatever_is_wrong_with_others() {
    let text = "\
jobs:
- { name: build-a, plan: [{ task: t, config: { platform: linux, run: { path: x } } }] }
- { name: build-b, plan: [{ get: r }] }
- { name: broken, plan: [{ tusk: t }, { get: nothing }] }
- { name: deploy, plan: [{ in_parallel: [{ get: r, passed: [build-*] }] }] }
resources: [{ name: r, type: mock }]
";
    let load = |job: Option<&str>| {
        let document = Text { given: "ci.yml", text, directory: None };
        let checked = crate::load::parse(document, Vars::default(), &[], job);
        checked.map(|checked| checked.plan.jobs.into_iter().map(|job| job.name).collect::<Vec<_>>())
    };
    assert_eq!(load(Some("deploy")).unwrap(), ["build-a", "build-b", "deploy"]);
    assert_eq!(load(Some("build-a")).unwrap(), ["build-a"]);
    assert!(load(Some("broken")).is_err());
    assert!(load(Some("nothing")).is_err());
    assert!(load(None).is_err());
}
