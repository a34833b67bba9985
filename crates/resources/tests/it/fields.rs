//! The table of fields, and the page that shows it.

use std::fmt::Write;

use serde_json::json;

use crate::world::World;
use resources::{Field, Place, Shape, Support, check_fields, fields, names};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/resources.md");

fn table(title: &str, fields: &[Field]) -> String {
    let mut text = format!("| {title} | | |\n|---|---|---|\n");
    for Field { name, shape, support, about, .. } in fields {
        let shape = match shape {
            Shape::Text => "text",
            Shape::Flag => "flag",
            Shape::Number => "number",
            Shape::List => "list",
            Shape::Any => "",
        };
        let about = match support {
            Support::Supported => (*about).to_owned(),
            Support::NoMeaning(why) => format!("changes nothing: {why}"),
            Support::Refused(why) => format!("refused: {why}"),
        };
        writeln!(text, "| `{name}` | {shape} | {about} |").unwrap();
    }
    text
}

/// To write the page anew: `CI_WRITE_DOCS=1 cargo test --release -p resources`.
#[test]
fn the_page_shows_all_fields() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let mut expected = page.clone();
    for kind in names() {
        let known = fields(kind).unwrap();
        let (begin, end) =
            (format!("<!-- fields of {kind} -->\n"), format!("<!-- end of {kind} -->\n"));
        let from =
            expected.find(&begin).unwrap_or_else(|| panic!("the page has no `{}`", begin.trim()));
        let to = expected.find(&end).unwrap();
        let tables: Vec<String> = [
            ("source", known.source),
            ("params of `get`", known.get_params),
            ("params of `put`", known.put_params),
        ]
        .into_iter()
        .filter(|(_, fields)| !fields.is_empty())
        .map(|(title, fields)| table(title, fields))
        .collect();
        expected.replace_range(from + begin.len()..to, &format!("\n{}\n", tables.join("\n")));
    }
    if std::env::var_os("CI_WRITE_DOCS").is_some() {
        std::fs::write(PAGE, &expected).unwrap();
    }
    assert!(
        std::env::var_os("CI_WRITE_DOCS").is_some() || page == expected,
        "the page is out of date"
    );
}

#[test]
fn problems_are_found_before_a_run() {
    let source =
        json!({ "uri": "https://example.com/r", "brnach": "x", "depht": 1, "private_key": ["x"] });
    let found: Vec<(Place, Option<String>, bool)> = check_fields("git", Some(&source), None, None)
        .into_iter()
        .map(|problem| (problem.place, problem.field, problem.is_notice))
        .collect();
    let at = |name: &str| (Place::Source, Some(name.to_owned()), false);
    assert_eq!(found, [at("brnach"), at("depht"), at("private_key")]);
    // Values that are not known yet are no problem, and neither is what is not given.
    let source = json!({ "uri": "((uri))", "version_depth": "((depth))" });
    assert_eq!(check_fields("git", Some(&source), None, None), []);
    let (source, put) = (
        json!({ "uri": "/r" }),
        json!({ "repository": "r", "merge": true, "rebase": true, "branch": "b" }),
    );
    let found = check_fields("git", Some(&source), None, Some(&put));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].place, found[0].is_notice), (Place::PutParams, false));
    let found = check_fields("git", Some(&source), Some(&json!({ "debug": true })), None);
    assert_eq!((found.len(), found[0].is_notice), (1, true));
}

#[test]
fn requests_that_are_none_are_refused() {
    let world = World::new();
    world
        .run("gti", "check", None, &json!({}))
        .fails_with("no resource type `gti` is built in, did you mean `git`?");
    world.run("mock", "look", None, &json!({})).fails_with("no action `look`");
    world.run("mock", "check", None, &json!("x")).fails_with("the request is not valid");
    world
        .run("mock", "check", None, &json!({ "source": [] }))
        .fails_with("the source of `mock` are no mapping");
    world
        .run("mock", "in", None, &json!({ "version": { "version": "1" } }))
        .fails_with("`in` needs a directory");
}
