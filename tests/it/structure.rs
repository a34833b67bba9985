//! What the packages of the workspace may depend on.

use std::collections::BTreeSet;
use std::process::Command;

/// The names of all packages that building and running `package` takes.
fn dependencies(package: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--locked", "--prefix", "none", "--format", "{p}"])
        .args(["--edges", "normal,build", "--package", package])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    lines.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

/// The packages in `crates/`.
fn crates() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/crates");
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn no_crate_links_v8_or_a_compiler() {
    let crates = crates();
    assert!(!crates.is_empty());
    for name in &crates {
        let found = dependencies(name);
        assert!(found.contains(name), "{name}: {found:?}");
        let heavy = |name: &&String| {
            ["ci", "v8", "serde_v8"].contains(&name.as_str())
                || name.starts_with("deno_")
                || name.starts_with("swc_")
        };
        assert_eq!(
            found.iter().filter(heavy).collect::<Vec<_>>(),
            <[&String; 0]>::default(),
            "{name}"
        );
    }
}

#[test]
fn the_program_is_made_of_all_crates() {
    let found = dependencies("ci");
    assert!(crates().iter().all(|name| found.contains(name)), "{found:?}");
}
