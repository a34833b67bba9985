//! What Concourse refuses, and what is probably a mistake.

use super::*;

#[test]
fn looseness_is_told() {
    let text = "\
job: []
resources: [{ name: r, type: mock }, { name: q, type: mock }, { name: unused, type: mock }]
groups: [{ name: g, jobs: [one] }]
jobs:
- name: one
  plan:
  - { get: r }
  - { get: r }
  - task: t
    image: r
    config: { image_resource: { source: { repository: a }, x: 1 }, run: { path: a, pth: b, args: [80, true] }, inputs: [{ name: none }] }
- { name: two, plan: [{ put: 7, resource: r }] }
- { name: three, plan: [{ get: q, passed: [two] }], serial: true, serial: false }
- { name: four, serial_groups: [1] }
- { name: five, plan: [{ task: '((.:nothing))', config: { platform: windows } }] }
---
more: documents
";
    insta::assert_snapshot!(remarks(text));
}

#[test]
fn documents_without_a_mistake_have_no_warnings() {
    let text = "\
resources: [{ name: r, type: mock }]
jobs:
- name: one
  plan:
  - { get: r }
  - load_var: v
    file: r/version
  - task: 't-((.:v)) ((.:r.ref))'
    config:
      platform: linux
      image_resource: { type: registry-image, source: { repository: a } }
      inputs: [{ name: r }]
      run: { path: a }
- { name: two, plan: [{ get: r, passed: [one] }] }
";
    assert_eq!(remarks(text), "");
}

#[test]
fn templates_that_are_pipelines_are_told() {
    let text = "#@ x\njobs: [{ name: a, plan: [{ task: t, config: { platform: linux, params: { a: (( grab b )) } } }] }]";
    assert_eq!(remarks(text), "`#@ x` in line 1 is of ytt, and stays as it is");
    let text = text.replace("#@ x", "");
    assert_eq!(remarks(&text), "`(( grab b ))` in line 2 is of spruce, and stays as it is");
}
