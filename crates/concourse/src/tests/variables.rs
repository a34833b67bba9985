//! Variables: with and without values, from sources, and in keys.

use serde_json::json;

use super::*;

fn missing(text: &str) -> Vec<String> {
    let checked = read(text, Vars::default()).map_err(|problems| format!("{problems:?}")).unwrap();
    let shown: Vec<String> = checked.missing_vars().iter().map(MissingVar::shown).collect();
    assert_eq!(checked.to_json().is_ok(), shown.is_empty(), "a plan that must not run");
    assert_eq!(checked.missing_notice().is_some(), !shown.is_empty());
    shown
}

#[test]
fn a_variable_without_a_value_is_told_once_with_its_places() {
    let text = "\
resources: [{ name: r, type: mock, source: { uri: ((uri)) } }]
jobs:
- name: ((job))
  plan:
  - get: r
    timeout: ((time))
  - task: t
    config:
      platform: linux
      run:
        path: sh
        args:
        - -c
        - |
          echo $(( n ))

          echo ((word)) ((other))
          echo ((word))
          echo ((word))
";
    assert_eq!(
        missing(text),
        [
            "`uri` (line 1)",
            "`job` (line 3)",
            "`time` (line 6)",
            "`word` (lines 17, 18, 19)",
            "`other` (line 17)"
        ]
    );
    let checked = read(text, Vars::default()).unwrap_or_else(|problems| panic!("{problems:?}"));
    let diagnostics = checked.require_vars().unwrap_err();
    insta::assert_snapshot!(diagnostics[3].to_string(), @r"
    error: the variable `word` has no value
      --> ci.yml:17:16
       |
    17 |           echo ((word)) ((other))
       |                ^
    help: give it one with `--var word=…`, `--vars-file` or `--secret word`, or a default: `((word || …))`; it also stands in the lines 18, 19
    ");
}

#[test]
fn what_a_variable_will_be_is_no_error() {
    for part in [
        "plan: ((steps))",
        "plan: [((step))]",
        "plan: [], max_in_flight: ((n)), serial: ((flag)), serial_groups: ((list))",
        "plan: [{ task: t, file: r/t, attempts: ((n)), timeout: ((t)), privileged: ((p)), params: ((map)) }]",
        "plan: [{ task: ((t)), config: ((config)) }]",
        "plan: [{ task: t, config: { platform: ((p)), image_resource: ((i)), run: ((r)), caches: ((c)) } }]",
        "plan: [{ task: t, config: { platform: linux, image_resource: { source: ((s)) }, inputs: [{ name: ((i)) }], container_limits: { cpu: ((c)), memory: ((m)) } } }]",
        "plan: [{ in_parallel: ((steps)) }, { in_parallel: { limit: ((n)), steps: ((s)) } }, { try: ((s)) }, { do: ((s)) }]",
        "plan: [{ get: ((r)), passed: [((j))], version: ((v)) }, { put: ((r)), inputs: ((i)) }]",
        "plan: [{ across: [{ var: v, values: ((l)), max_in_flight: ((m)) }], do: [] }]",
        "plan: [{ load_var: v, file: ((f)), format: ((g)) }]",
        "plan: [{ get: r, timeout: x((t))y }]",
    ] {
        let text = format!("jobs: [{{ name: a, {part} }}]\nresources: [{{ name: r, type: mock }}]");
        assert_ne!(missing(&text), [""; 0], "{part}");
    }
}

#[test]
fn only_what_a_run_needs_has_to_have_a_value() {
    let text = "\
x: { y: ((anchor)) }
groups: [{ name: ((group)), jobs: ['*'] }]
resource_types:
- { name: used, type: registry-image, source: { repository: ((image)) } }
- { name: unused, type: registry-image, source: { repository: ((no-image)) } }
resources:
- { name: r, type: used, source: { uri: ((uri)) } }
- { name: q, type: unused, source: { uri: ((no-uri)) } }
jobs:
- { name: one, plan: [{ get: r }, { task: t, file: r/((file)) }] }
- { name: two, plan: [{ get: q, passed: [one] }, { task: t, file: q/((no-file)) }] }
";
    let names = |job: Option<&str>| {
        let mut checked =
            read(text, Vars::default()).unwrap_or_else(|problems| panic!("{problems:?}"));
        let selection = Selection { job: job.map(str::to_owned), ..Selection::default() };
        checked.select(&selection).unwrap();
        checked.missing_vars().into_iter().map(|var| var.name).collect::<Vec<_>>()
    };
    assert_eq!(names(Some("one")), ["image", "uri", "file"]);
    assert_eq!(names(None), ["image", "no-image", "uri", "no-uri", "file", "no-file"]);
    assert_eq!(missing(text).first().map(String::as_str), Some("`group` (line 2)"));
}

#[test]
fn sources_have_values() {
    let text = "\
var_sources:
- { name: second, type: dummy, config: { vars: { whole: ((first:db)) } } }
- { name: first, type: dummy, config: { vars: { db: { user: ada, 'p.t': 5432 }, 'a/b': x } } }
- { name: here, type: env, config: { prefix: MY_ } }
- { name: vault, type: vault, config: { url: ((vault-url)) } }
jobs:
- name: a
  plan:
  - task: t
    config:
      platform: linux
      params:
        A: ((first:db.user))
        B: ((first:db.\"p.t\"))
        C: ((second:whole.user))-((first:a/b))
        D: ((here:TOKEN))
        ((first:a/b)): key
";
    let plan = json(text, &vars(&[("MY_TOKEN", "t")]));
    assert_eq!(
        plan["jobs"][0]["plan"][0]["config"]["params"],
        json!({ "A": "ada", "B": "5432", "C": "ada-x", "D": "t", "x": "key" })
    );
    // Nothing of the environment is the pipeline's to read, unless the command line names it.
    let text = text.replace("TOKEN", "PATH");
    assert_eq!(missing(&text), ["`here:PATH` (line 16)"]);
    let text = &*text.replace("        D: ((here:PATH))\n", "        D: d\n");
    let with = |value: &str| text.replace("key", value);
    assert_eq!(missing(&with("((vault:some/path.field))")), ["`vault:some/path.field` (line 17)"]);
    assert_eq!(missing(&with("((none:a))")), ["`none:a` (line 17)"]);
    for (value, expected) in [
        (
            "((vault:a))",
            "the variable `vault:a` comes from a source of the type `vault`, which is not read here",
        ),
        (
            "((none:a))",
            "the variable `none:a` names the source `none`, which `var_sources` does not have",
        ),
        ("((first:b))", "the variable `first:b` has no value"),
    ] {
        let checked =
            read(&with(value), Vars::default()).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(checked.require_vars().unwrap_err()[0].message, expected);
    }
    let given = read(&with("((vault:a.b))"), vars(&[("vault:a.b", "given")]));
    assert!(given.is_ok_and(|checked| checked.to_json().is_ok_and(|json| json.contains("given"))));
}

#[test]
fn sources_that_cannot_be_read_are_problems() {
    for (source, expected) in [
        ("{ name: a, type: none }", "unknown source of variables `none`"),
        (
            "{ name: a, type: file, config: { path: /nowhere/x.yml } }",
            "cannot read `/nowhere/x.yml`",
        ),
        (
            "{ name: a, type: dummy, config: { vars: { x: ((a:y)) } } }",
            "sources of variables that need each other",
        ),
        ("{ name: a, type: dummy, config: { vars: [] } }", "expected `vars` as a mapping"),
    ] {
        let found = problems(&format!("var_sources: [{source}]\njobs: []"));
        assert!(found.contains(expected), "{source}: {found}");
    }
}

#[test]
fn variables_stand_in_keys_and_reach_files() {
    let text = "\
jobs:
- name: a
  plan:
  - task: t
    file: r/t.yml
    params: { ((key)): 1, ((.:local)): 2, ((key || x)): 3 }
    input_mapping: { ((.:local)): b }
";
    let plan = json(text, &vars(&[("key", "NAME"), ("n", "0755"), ("d.e", "1")]));
    let task = &plan["jobs"][0]["plan"][0];
    assert_eq!(task["params"], json!({ "NAME": "3", "((.:local))": "2" }));
    assert_eq!(plan["vars"], json!({ "d.e": 1, "key": "NAME", "n": "0755" }));
    let without_file = text.replace("file: r/t.yml", "config: { platform: linux }");
    assert_eq!(json(&without_file, &vars(&[("key", "x")])).get("vars"), None);
}

#[test]
fn a_key_of_a_variable_is_not_repeated() {
    let text = "jobs: [{ name: a, ((secret)): 1, plan: [{ ((secret)): 1 }] }]";
    let Err(problems) = read(text, vars(&[("secret", "hunter2")])) else { panic!("not refused") };
    assert!(!format!("{problems:?}").contains("hunter2"), "{problems:?}");
}

#[test]
fn wrong_references_are_problems() {
    for (reference, expected) in [
        ("((a..b))", "`((a..b))` is no variable: it has a part without a name"),
        ("((a.))", "`((a.))` is no variable: it has a part without a name"),
        ("((.:a..b))", "`((.:a..b))` is no variable: it has a part without a name"),
        ("((db.none))", "the variable `db.none` has no value: there is no field `none`"),
    ] {
        let text = format!("jobs: [{{ name: 'x{reference}', plan: [] }}]");
        let mut given = Vars::default();
        let mut none = Problems::default();
        given.add_all(&crate::read::read("db: { host: pg }", &mut none).unwrap()).unwrap();
        let Err(problems) = read(&text, given) else { panic!("accepted: {reference}") };
        assert_eq!(problems[0].message, expected);
    }
}

#[test]
fn a_stranger_s_pipeline_reads_nothing_of_this_machine() {
    let text = "\
var_sources: [{ name: e, type: env }, { name: f, type: file, config: { path: Cargo.toml } }]
jobs: [{ name: a-((e:PATH))-((f:x))-((v))-((w)), plan: [] }]";
    let checked =
        check_text("p.yml", text, &[("vars", "{\"v\": 1.10}"), ("file", "v: 2\nw: 0755")]);
    let checked = checked.unwrap_or_else(|problems| panic!("{problems:?}"));
    assert_eq!(checked.plan.jobs[0].name, "a-((e:PATH))-((f:x))-1.10-0755");
    let names: Vec<String> = checked.missing_vars().into_iter().map(|var| var.name).collect();
    assert_eq!(names, ["e:PATH", "f:x"]);
    assert!(check_text("p.yml", "jobs: []", &[("vars", "[]")]).is_err());
}
